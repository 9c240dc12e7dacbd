"""``winning-sign tickets``: shows, compares, converts, verifies and publishes tickets of this and other projects."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box

from analysis.page.publishing import zoo_commands
from tickets import formats
from tickets.errors import TicketError
from tickets.files.zoo.places import NoTicketError, in_zoo, is_zoo
from tickets.files.zoo.places import faults as zoo_faults
from tickets.formats.format import Hints
from tickets.formats.names import BUILT_IN
from tickets.formats.source import NeedsHintError
from tickets.inspection import faults, summary
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.help import GLOSSARY
from workers.terminal.tables import UncutTable, print_table

app = new_app()
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…", help="Tickets in any format, also of zoos, as zoo:FOLDER/NAME.", show_default=False
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file or folder.")]
DIFF_COLUMNS = {
    "common": "common",
    "overlap %": "overlap_percent",
    "chance": "chance_overlap_percent",
    "agreement %": "agreement_percent",
    "chance ": "chance_agreement_percent",
    "flipped": "flipped",
}
FORMAT_NAMES = ", ".join(formats.FORMATS)
MAP_NAMES = ", ".join(BUILT_IN)


@app.callback(no_args_is_help=True, epilog=f"python -m tickets is the same as winning-sign tickets.\n{GLOSSARY}")
def tickets() -> None:
    """Show, compare, convert, verify and publish tickets.

    A ticket is a signed mask with its provenance: which weights of a trained network survive pruning, and their signs.
    """


@add_command(
    app,
    """
winning-sign tickets show ticket.parquet
winning-sign tickets show --json model_level_9.pt
""",
)
def show(files: Files, json_: AsJson = False) -> None:
    """Print the provenance and the density of each ticket, in all and layer by layer."""
    with one_sentence(TicketError, OSError):
        descriptions = [{"file": str(path), **_description(path)} for path in files]
    if json_:
        print_json(descriptions)
        return
    out = console()
    for ticket in descriptions:
        provenance = ", ".join(
            f"{name} {'unknown' if value is None else value}" for name, value in ticket["provenance"].items()
        )
        out.print(f"{ticket['file']}: {ticket['format']}\n{provenance}")
        density = _cell(ticket["density"])
        out.print(f"{ticket['alive']} of {ticket['weights']} prunable weights survive: density {density}")
        table = UncutTable(["tensor", "shape", "role"], ["alive", "density", "positive"], box=box.SIMPLE_HEAD)
        for t in ticket["tensors"]:
            shape = "x".join(map(str, t["shape"]))
            table.add(t["name"], shape, t["role"], *(_cell(t[name]) for name in ("alive", "density", "positive_share")))
        print_table(out, table)


@add_command(
    app,
    """
winning-sign tickets diff round07.parquet round15.parquet
winning-sign tickets diff aws.parquet lrr.parquet other.pth.tar --figure compared.html
""",
)
def diff(
    files: Files,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the comparison as an offline HTML file.")
    ] = None,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """Compare the masks and signs of every two tickets, in all and layer by layer.

    Overlap: weights that survive in both tickets, as a share of the weights that survive in either. Agreement: equal
    signs, as a share of the common survivors with a sign in both. Chance: the expected value for independent masks and
    signs with the same density and share of positive signs per layer. "all layers" leaves out layers that are prunable
    in only one of the two tickets.
    """
    from analysis import compare, figures  # pandas and plotly, which the other commands do without

    names = [str(path) for path in files]
    with one_sentence(TicketError, OSError):
        if len(set(names)) < max(len(names), 2):
            raise TicketError("a comparison needs two different tickets; name at least two files")
        by_name = {name: formats.read(name) for name in names}
        try:
            comparison = compare(by_name)
        except ValueError as error:
            raise TicketError(str(error)) from error
        if figure is not None:
            drawing = figures.comparison_figure(comparison)
            formats.placed(figure, lambda place: drawing.write_html(place, include_plotlyjs=True), force=force)
    rows = comparison.astype(object).where(comparison.notna(), None).to_dict("records")
    if json_:
        print_json(rows)
        return
    out = console()
    for pair, group in groupby(rows, key=lambda row: (row["ticket"], row["other_ticket"])):
        layers = list(group)
        out.print(f"{pair[0]} and {pair[1]}")
        table = UncutTable(["layer"], list(DIFF_COLUMNS), box=box.SIMPLE_HEAD)
        for row in layers:
            table.add(row["tensor"] or "all layers", *(_cell(row[name]) for name in DIFF_COLUMNS.values()))
        print_table(out, table)
        if left_out := [row["tensor"] for row in layers if not row["in_total"]]:
            out.print(f'Not in "all layers", because only one ticket prunes them: {", ".join(left_out)}\n')


@add_command(
    app,
    """
winning-sign tickets convert checkpoint.pth.tar ticket.parquet --dataset cifar100 --method aws --round 15
winning-sign tickets convert mask.pth ticket.parquet --weights model_ep160_it0.pth
winning-sign tickets convert ticket.parquet for-the-hub --to hub
""",
)
def convert(
    source: Annotated[Path, typer.Argument(help="A ticket in any format.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="New file or folder.", show_default=False)],
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="FORMAT", help=f"Format of SOURCE. Default: by content. One of {FORMAT_NAMES}."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="FORMAT", help="Format of TARGET. Default: by extension.")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="State dict with the signs, if SOURCE holds masks only.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help='The classifier, if SOURCE does not tell it; "none" if the ticket prunes every layer.',
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="KEY", help='Which state dict of a checkpoint to read, if it holds several, as in "ema".'),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="MAP",
            help="Translate the tensors' names by this map, from theirs to ours or back, whichever side SOURCE has: a "
            f"YAML file, or by name that of a network of the released code, {MAP_NAMES}; 'none' leaves all names as "
            "they are. Default: files of the released code are translated, in both directions.",
        ),
    ] = None,
    statistics: Annotated[
        bool | None,
        typer.Option(
            "--statistics/--no-statistics",
            help="Whether the target's normalization layers have running statistics, which a strict load_state_dict "
            "wants. Default: those that directly follow a convolution of the same width.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Data set, if SOURCE does not tell.")] = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="NAME", help="Architecture, if SOURCE does not tell.")
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="NAME", help="Pruning method, if SOURCE does not tell.")] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Preset, if SOURCE does not tell.")] = None,
    round_: Annotated[
        int | None, typer.Option("--round", metavar="N", min=0, help="Pruning round, if SOURCE does not tell.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a ticket in another format.

    The new file is read back and compared with the source before it takes its place. docs/exchange.md describes the
    formats.
    """
    provenance: dict[str, str | int | None] = {
        "dataset": dataset,
        "architecture": architecture,
        "method": method,
        "preset": preset,
        "round": round_,
    }
    with one_sentence(TicketError, OSError):
        given = {name: value for name, value in provenance.items() if value is not None}
        hints = Hints(weights, classifier, state, names, given)
        read = formats.read_with_format(source, from_, hints)
        keep_names = names if names == formats.AS_THEY_ARE else None
        written = formats.write(read.ticket, target, to, names=keep_names, statistics=statistics, force=force)
    out = console()
    out.print(f"{target}: {written.format.title}")
    for each in filter(None, (read.names, written.names)):
        out.print(f"Names: translated to {each.towards} by {each.title}.")
    if written.with_statistics:
        out.print(f"Running statistics: fresh, for {len(written.with_statistics)} normalization layers.")
    if not written.format.keeps_provenance:
        out.print(f"This format cannot hold: {written.format.cannot_hold}.")


@add_command(
    app,
    """
winning-sign tickets verify ticket.parquet for-the-hub
winning-sign tickets verify zoo
winning-sign tickets verify --json sweeps/stages/round/*/attempts/*/out/ticket.parquet
""",
)
def verify(files: Files, json_: AsJson = False) -> None:
    """Check that each ticket can be read and is consistent, and that each zoo holds the files that it lists.

    The exit code is 1 if a file is broken.
    """
    with one_sentence(TicketError, OSError):
        faults_by_file = {str(path): _faults(path) for path in files}
    if json_:
        print_json([{"file": file, "faults": faults} for file, faults in faults_by_file.items()])
    else:
        out = console()
        for file, file_faults in faults_by_file.items():
            for fault in file_faults:
                out.print(f"broken: {fault if fault.startswith(file) else f'{file}: {fault}'}")
        broken = sum(bool(file_faults) for file_faults in faults_by_file.values())
        count = len(faults_by_file)
        out.print(f"{count} {'file' if count == 1 else 'files'}: {broken or 'nothing'} broken")
    raise typer.Exit(1 if any(faults_by_file.values()) else 0)


add_command(app, zoo_commands.PUBLISH_EXAMPLES)(zoo_commands.publish)
add_command(app, zoo_commands.PUSH_EXAMPLES)(zoo_commands.push)


def _description(path: Path) -> dict[str, Any]:
    ticket_format, ticket, _ = formats.read_with_format(path)
    return {"format": ticket_format.name, "provenance": asdict(ticket.provenance), **summary(ticket)}


def _faults(path: Path) -> list[str]:
    if is_zoo(path):
        return zoo_faults(path)
    if not in_zoo(path) and not path.exists():
        raise TicketError(f"{path} does not exist; name an existing ticket")
    try:
        return faults(formats.read(path))
    except NeedsHintError as error:
        raise TicketError(f"{error}: convert it first") from error
    except NoTicketError:
        raise
    except TicketError as error:
        return [str(error)]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    app(prog_name="python -m tickets")
