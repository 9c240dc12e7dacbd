"""``winning-sign landscape``: measures the error landscape through three trainings of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from orchestrator.backends.base import BackendError
from orchestrator.operating.selection import find_stage
from orchestrator.operating.survey import StageStatus, Survey, survey
from orchestrator.planning.comparison import known_stages
from orchestrator.planning.landscape import plan_landscape
from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.limits import GridPoints, Margin
from orchestrator.recipes.resolution import unfit
from orchestrator.session.preparation import prepare_data_set
from orchestrator.session.run import Placement, find_cached, holding_lease, run_plan
from orchestrator.store import Store, StoreError
from orchestrator.terminal.arguments import checked_execution
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from orchestrator.terminal.options import ExecutionOptions
from workers.data import DataError
from workers.models import find_architecture
from workers.plugins import PluginError
from workers.stages import Landscape, Setting
from workers.stages.execution import Execution
from workers.stages.kinds import width
from workers.terminal.command import add_command, new_app, one_sentence
from workers.terminal.console import Console
from workers.terminal.help import HOW_MUCH
from workers.terminal.options import StorePath, option

EXAMPLES = """
winning-sign landscape sweeps mnist1d/resnet1d/aws/chain1/round10/retrain/seed1 \\
  mnist1d/resnet1d/aws/chain1/round10/signed/seed1 mnist1d/resnet1d/aws/chain1/round10/mask/seed1
"""
app = new_app()


def _training(which: str) -> typer.models.ArgumentInfo:
    return typer.Argument(
        metavar=f"NAME_{which}",
        help="Name of a training, a part or pattern of the name, or the first digits of its key.",
        show_default=False,
    )


@add_command(app, EXAMPLES)
def landscape(
    *,
    store: StorePath,
    a: Annotated[str, _training("A")],
    b: Annotated[str, _training("B")],
    c: Annotated[str, _training("C")],
    points: Annotated[int, option(HOW_MUCH, "Grid points per side, 2 to 501.", metavar="N")] = 15,
    margin: Annotated[
        float,
        option(
            HOW_MUCH,
            "How far the grid extends beyond the box around the trainings, as a share of its longer side, 0 to 100.",
            metavar="SHARE",
        ),
    ] = 0.25,
    execution: ExecutionOptions,
) -> None:
    """Measure the error landscape through three trainings.

    Evaluates the test error on a grid over the plane through three trainings of one data set, architecture and preset,
    and draws it in the report. Runs on this machine as one more stage of the store: the same command continues it after
    an interruption. Distances in the plane are distances between weights.
    """
    with one_sentence(RecipeError, DataError, BackendError, PluginError, *STORE_ERRORS):
        _check_grid(points, margin)
        how = checked_execution("inline", execution)
        opened, console = open_existing(store), Console(soft_wrap=False)
        surveyed = survey(opened)
        keys = [_find(surveyed, text) for text in (a, b, c)]
        stages = known_stages(surveyed.plans, opened.records({}))
        plan, node = plan_landscape(stages, surveyed.wanted, keys, points, margin)
        code = _run(plan, node, opened, how, console)
        left_out = [surveyed.stages[key].name for key in keys if key not in surveyed.wanted]
        if left_out:
            console.print(
                f"No current plan includes {', '.join(left_out)}: the report leaves the landscape out if newer results "
                f"supersede these trainings.",
                soft_wrap=True,
            )
    raise typer.Exit(code)


def _check_grid(points: int, margin: float) -> None:
    """Raise RecipeError unless a recipe could have this grid."""
    for option_name, kind, value in (("--points", GridPoints, points), ("--margin", Margin, margin)):
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise RecipeError(unfit({**error.errors()[0], "loc": (option_name,)})) from error


def _find(surveyed: Survey, text: str) -> str:
    """Return the key of a finished training.

    Raises:
        StoreError: no training, or several, fit the text, or the training is not finished.
    """
    key = find_stage(surveyed.stages, surveyed.wanted, text)
    if surveyed.state[key] is not StageStatus.DONE:
        raise StoreError(f"{surveyed.stages[key].name} is {surveyed.state[key]}; name finished trainings")
    return key


def _run(plan: Plan, node: Node, store: Store, execution: Execution, console: Console) -> int:
    with holding_lease(store) as lease:
        cached = find_cached(plan, store)
        left = [each for each in plan if each.key not in cached.keys]
        _check_can_run(left)
        if left:
            assert isinstance(node.stage, Landscape)
            _check_architecture(node.stage.setting)
            prepare_data_set(node.stage.setting.data, execution, console)
        return run_plan(plan, cached, store, lease, Placement(execution), console)


def _check_can_run(left: Sequence[Node]) -> None:
    """Raise BackendError if a stage needs several devices together."""
    wide = [node for node in left if width(node.stage) > 1]
    if wide:
        raise BackendError(
            f"{wide[0].name} must be computed again, by {width(wide[0].stage)} devices together, and this command runs "
            f"on one; name trainings whose weights the store has"
        )


def _check_architecture(setting: Setting) -> None:
    """Raise RecipeError unless this code has the architecture of the trainings, in their version."""
    model = setting.model
    try:
        version = find_architecture(model.name).version
    except ValueError as error:
        raise RecipeError(str(error)) from error
    if version != model.version:
        raise RecipeError(
            f"architecture {model.name} has version {version} now, and these trainings have version {model.version}; "
            f"repeat their sweep first"
        )


if __name__ == "__main__":
    app()
