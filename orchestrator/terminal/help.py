"""Help that lists what can be named: what is built in, what is installed, and what ``--plugin`` beside it registers.

An option's help says where a list goes, as in "Architectures: {archs}.", and the command is one of ``ListingCommand``.
"""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.markup import escape
from typer.core import TyperCommand

from orchestrator.recipes.methods import METHODS
from tickets import TRANSFERS
from workers.data import data_set_names
from workers.models import ARCHITECTURES
from workers.plugins import PluginError, load_plugins
from workers.probing.probes import PROBES
from workers.pruning.criteria import CRITERIA

ALWAYS_TRAINED = ("dense", "retrain")


class ListingCommand(TyperCommand):
    """A command with lists in its help, which are made once the plugins that are named anywhere beside it are there."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if not ctx.resilient_parsing and any(word in ctx.help_option_names for word in args):
            given = self.make_context(ctx.info_name, [*args], resilient_parsing=True).params
            try:
                load_plugins(given.get("plugin") or ())
            except PluginError as error:
                raise typer.BadParameter(str(error)) from error
            known = _known()
            for parameter in self.params:
                said = getattr(parameter, "help", None)
                if said:
                    parameter.help = said.format_map(known)  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)


def _known() -> dict[str, str]:
    """What can be named now, by the word for it in a help's text."""
    return {
        "datasets": _listed(data_set_names()),
        "archs": _listed(ARCHITECTURES),
        "methods": ", ".join(METHODS),
        "criteria": _listed(CRITERIA),
        "transfers": _listed(name for name in TRANSFERS if name not in ALWAYS_TRAINED),
        "probes": _listed(PROBES),
    }


def _listed(names: Iterable[str]) -> str:
    return escape(", ".join(sorted(names)))
