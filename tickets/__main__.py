"""``python -m tickets``: shows, compares, converts and verifies tickets of this and other projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from orchestrator.terminal.command import AsJson, console, new_app, one_sentence, print_json
from tickets import formats
from tickets.errors import TicketError
from tickets.formats.format import Hints, NeedsHintError
from tickets.formats.placing import placed
from tickets.inspection import faults, summary

app = new_app()
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Tickets, in any format.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
DIFF_COLUMNS = {
    "common": "common",
    "overlap %": "overlap_percent",
    "chance": "chance_overlap_percent",
    "agreement %": "agreement_percent",
    "chance ": "chance_agreement_percent",
    "flipped": "flipped",
}
FORMAT_NAMES = ", ".join(formats.FORMATS)


@app.callback()
def tickets() -> None:
    """Shows, compares, converts and verifies tickets: signed masks with their provenance."""


@app.command(
    epilog="Examples:\n\n  python -m tickets show ticket.parquet\n\n  python -m tickets show --json model_level_9.pt"
)
def show(files: Files, json_: AsJson = False) -> None:
    """Where each ticket comes from, its density, and each layer's."""
    with one_sentence(TicketError):
        shown = [{"file": str(path), **_shown(path)} for path in files]
    if json_:
        print_json(shown)
        return
    for each in shown:
        out = console()
        told = ", ".join(
            f"{name} {'unknown' if value is None else value}" for name, value in each["provenance"].items()
        )
        out.print(f"{each['file']}: {each['format']}\n{told}")
        out.print(f"{each['alive']} of {each['weights']} prunable weights survive: density {_cell(each['density'])}")
        rows = [
            [t["name"], "x".join(map(str, t["shape"])), t["role"], str(t["alive"]), t["density"], t["positive_share"]]
            for t in each["tensors"]
        ]
        out.print(_table(["tensor", "shape", "role", "alive", "density", "positive"], rows, texts=3))


@app.command(
    epilog="Examples:\n\n  python -m tickets diff round07.parquet round15.parquet\n\n"
    "  python -m tickets diff aws.parquet lrr.parquet other.pth.tar --figure compared.html"
)
def diff(
    files: Files,
    figure: Annotated[Path | None, typer.Option(help="Draw it as well: an HTML file that works offline.")] = None,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """How far the masks and signs of every two tickets agree, against chance, in all and layer by layer.

    Overlap: common survivors of those of either. Agreement: equal signs among the common survivors that have one in
    both. Chance: of independent masks and signs with each layer's own densities and shares of plus. A layer that is
    prunable in one of two tickets only is dense in the other, and is left out of "all layers".
    """
    from analysis import compare, figures  # pandas and plotly, which the other commands do without

    names = [str(path) for path in files]
    with one_sentence(TicketError):
        if len(set(names)) < max(len(names), 2):
            raise TicketError("name two different tickets or more")
        read = {name: formats.read(name) for name in names}
        try:
            compared = compare(read)
        except ValueError as error:
            raise TicketError(str(error)) from error
        if figure is not None:
            drawn = figures.comparison_figure(compared)
            placed(figure, lambda place: drawn.write_html(place, include_plotlyjs=True), force=force)
    rows = compared.astype(object).where(compared.notna(), None).to_dict("records")
    if json_:
        print_json(rows)
        return
    for pair, own in groupby(rows, key=lambda row: (row["ticket"], row["other_ticket"])):
        console().print(f"{pair[0]} and {pair[1]}")
        layers = list(own)
        cells = [[row["tensor"] or "all layers", *(row[name] for name in DIFF_COLUMNS.values())] for row in layers]
        console().print(_table(["layer", *DIFF_COLUMNS], cells, texts=1))
        if apart := [row["tensor"] for row in layers if not row["in_total"]]:
            console().print(f"Not in all layers, since it is prunable in one of them only: {', '.join(apart)}\n")


@app.command(
    epilog=f"Formats: {FORMAT_NAMES} (docs/exchange.md).\n\nExamples:\n\n"
    "  python -m tickets convert checkpoint.pth.tar ticket.parquet --dataset cifar100 --method aws --round 15\n\n"
    "  python -m tickets convert mask.pth ticket.parquet --weights model_ep160_it0.pth\n\n"
    "  python -m tickets convert ticket.parquet for-the-hub --to hub"
)
def convert(
    source: Annotated[Path, typer.Argument(help="A ticket in any format.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The new file or folder.", show_default=False)],
    from_: Annotated[
        str | None, typer.Option("--from", help="The source's format; by default told by content.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="The target's format; by default told by its extension.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A state dict with the signs, for files with masks only.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(help='The classifier\'s layer, where it cannot be told; "none": every weight is pruned.'),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Provenance that the source does not tell.")] = None,
    architecture: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    method: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    preset: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    round_: Annotated[int | None, typer.Option("--round", min=0, help="Likewise: the pruning round.")] = None,
    force: Force = False,
) -> None:
    """Write a ticket in another format. What is written is read back and compared before it is put in place."""
    told: dict[str, str | int | None] = {
        "dataset": dataset,
        "architecture": architecture,
        "method": method,
        "preset": preset,
        "round": round_,
    }
    with one_sentence(TicketError):
        hints = Hints(weights, classifier, {name: value for name, value in told.items() if value is not None})
        written = formats.write(formats.read(source, from_, hints), target, to, force=force)
    console().print(f"{target}: {written.title}")
    if not written.keeps_provenance:
        console().print(f"It cannot hold: {written.cannot_hold}.")


@app.command(
    epilog="Examples:\n\n  python -m tickets verify ticket.parquet for-the-hub\n\n"
    "  python -m tickets verify --json sweeps/stages/round/*/attempts/*/out/ticket.parquet"
)
def verify(files: Files, json_: AsJson = False) -> None:
    """Read each file and check that it agrees with itself; the exit code is 1 if one does not."""
    with one_sentence(TicketError):
        found = {str(path): _faults(path) for path in files}
    if json_:
        print_json([{"file": file, "faults": each} for file, each in found.items()])
    else:
        for file, each in found.items():
            for fault in each:
                console().print(f"broken: {fault if fault.startswith(file) else f'{file}: {fault}'}")
        broken = sum(bool(each) for each in found.values())
        console().print(f"{len(found)} {'file' if len(found) == 1 else 'files'}: {broken or 'nothing'} broken")
    raise typer.Exit(1 if any(found.values()) else 0)


def _shown(path: Path) -> dict[str, Any]:
    found, ticket = formats.read_with_format(path)
    return {"format": found.name, "provenance": asdict(ticket.provenance), **summary(ticket)}


def _faults(path: Path) -> list[str]:
    if not path.exists():
        raise TicketError(f"{path}: there is no such file")
    try:
        return faults(formats.read(path))
    except NeedsHintError as error:
        raise TicketError(f"{error}: convert it first") from error
    except TicketError as error:
        return [str(error)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, texts: int) -> Table:
    """A plain table whose first columns are texts and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(
            head, justify="left" if number < texts else "right", overflow="fold" if not number else "ellipsis"
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    app(prog_name="python -m tickets")
