"""Help that lists names: the built-in ones, the installed ones, and those that ``--plugin`` beside ``--help`` adds.

An option's help says where a list goes, as in "Architectures: {archs}."; its command is a ``ListingCommand``.
"""

from __future__ import annotations

from typing import Any

import typer

from orchestrator.recipes.methods import METHODS
from tickets import TRANSFERS
from workers.data import data_set_names
from workers.models import architecture_names
from workers.plugins import PluginError, load_plugins
from workers.probing.probes import PROBES
from workers.pruning.criteria import CRITERIA
from workers.terminal.help import Command

ALWAYS_TRAINED = {"dense", "retrain"}


class ListingCommand(Command):
    """A command whose help lists names. The plugins that the command line names are imported before."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing and any(word in ctx.help_option_names for word in args):
            values = self.make_context(ctx.info_name, [*args], resilient_parsing=True).params
            try:
                load_plugins(values.get("plugin") or ())
            except PluginError as error:
                raise typer.BadParameter(str(error)) from error
            lists = {
                "datasets": ", ".join(sorted(data_set_names())),
                "archs": ", ".join(architecture_names()),
                "methods": ", ".join(METHODS),
                "criteria": ", ".join(sorted(CRITERIA)),
                "transfers": ", ".join(sorted(TRANSFERS.keys() - ALWAYS_TRAINED)),
                "probes": ", ".join(sorted(PROBES)),
            }
            for parameter in self.params:
                if getattr(parameter, "help", None):
                    parameter.help = parameter.help.format_map(lists)
        return super().parse_args(ctx, args)
