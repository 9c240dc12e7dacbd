"""``winning-sign``: one command with a sub-command for each job. ``python -m orchestrator`` is the same.

A sub-command is imported when it is called, so that help and completion need neither torch nor Ray.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from workers.terminal.help import GLOSSARY, Command, Group

RUN, WATCH, MEND = "Run", "Watch", "Mend"
# the module of a sub-command, and its heading and line in the help of winning-sign
SUB_COMMANDS = {
    "sweep": ("orchestrator.sweep", RUN, "Compare pruning methods and write one HTML report."),
    "search": ("orchestrator.search", RUN, "Tune a recipe for a data set and architecture."),
    "landscape": ("orchestrator.landscape", RUN, "Measure the error landscape through three trainings."),
    "run": ("workers.run", RUN, "Compute one stage alone, in this process."),
    "status": ("orchestrator.status", WATCH, "Show the drivers, progress and failures of a store."),
    "why": ("orchestrator.why", WATCH, "Explain why a stage ran, waits, failed or is blocked."),
    "logs": ("orchestrator.logs", WATCH, "Print the log of a stage."),
    "export": ("orchestrator.export", WATCH, "Write metrics for TensorBoard, MLflow or Weights & Biases."),
    "report": ("analysis.report", WATCH, "Write the report of one store or several, its tables, or a crate."),
    "serve": ("analysis.serve", WATCH, "Show the report of one store or several in the browser while sweeps run."),
    "judge": ("analysis.judge", WATCH, "Say what the results of one store or several show, and how sure it is."),
    "checks": ("analysis.checks", WATCH, "Check the method's rules on the results of one store or several."),
    "tickets": ("tickets.__main__", WATCH, "Show, compare, convert, verify and publish tickets."),
    "cancel": ("orchestrator.cancel", MEND, "Stop sweeps or single stages after a checkpoint."),
    "verify": ("orchestrator.verify", MEND, "Check all files of a store and quarantine the broken ones."),
    "gc": ("orchestrator.gc", MEND, "List files that a store no longer needs, and remove them."),
    "unlock": ("orchestrator.unlock", MEND, "Remove the leases of dead drivers."),
    "spot-notice": ("orchestrator.spot_notice", MEND, "Drain a spot machine that the cloud takes back."),
}


class LazyCommand(Command):
    """Stands for a sub-command until it is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        app = import_module(SUB_COMMANDS[str(self.name)][0]).app
        return typer.main.get_command(app).make_context(info_name, args, parent, **extra)


class SubCommands(Group):
    """All sub-commands, none of them imported."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for name, (_, heading, help_line) in SUB_COMMANDS.items():
            self.commands[name] = LazyCommand(name, help=help_line, rich_help_panel=heading)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"winning-sign {version('winning-sign')}")
        except PackageNotFoundError:
            typer.echo("winning-sign (not installed: run from its source)")
        raise typer.Exit


EXAMPLES = f"""Examples
  winning-sign sweep --datasets mnist1d --seeds 3
  winning-sign status sweeps
  winning-sign sweep --help

python -m orchestrator is the same as winning-sign.
{GLOSSARY}"""
app = typer.Typer(cls=SubCommands, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(epilog=EXAMPLES, no_args_is_help=True)
def winning_sign(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find lottery tickets, transfer them to random initialisations and probe the barriers between the solutions.

    A sweep computes a comparison of pruning methods stage by stage into a store, a folder or bucket. The other commands
    read or mend a store. COMMAND --help explains each of them.
    """


def main() -> None:
    """Run ``winning-sign``."""
    app()


if __name__ == "__main__":
    main()
