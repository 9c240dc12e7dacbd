"""The live panel and the lines of a running sweep."""

from __future__ import annotations

import io

from orchestrator.planning.plan import Plan
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.terminal.progress import ProgressPanel
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from workers.terminal.console import Console

HEIGHT = 24


class Screen:
    """A panel for a plan, and the text that it shows."""

    def __init__(self, plan: Plan, *, terminal: bool, cached: bool = False) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, width=80, height=HEIGHT, force_terminal=terminal, no_color=True)
        rank = upward_rank(plan)
        self.queue = ReadyQueue(plan, rank, plan.nodes if cached else [])
        self.panel = ProgressPanel(self.console, plan, self.queue, rank, lambda: 2)

    def lines(self) -> list[str]:
        self.console.print(self.panel._panel())
        return self.file.getvalue().splitlines()


def test_a_finished_panel_says_finished() -> None:
    first = Screen(plan_of(recipe()), terminal=True, cached=True).lines()[0]
    assert "100 %" in first
    assert "finished" in first
    assert "measuring" not in first


def test_the_last_line_of_a_finished_sweep_has_no_eta() -> None:
    plan = plan_of(recipe())
    screen = Screen(plan, terminal=False, cached=True)
    screen.panel.ended(next(iter(plan)), 2.0, {})
    assert screen.file.getvalue().startswith(f"[{len(plan)}/{len(plan)}] done ")


def test_many_running_stages_fit_the_terminal_and_are_counted() -> None:
    plan = plan_of(recipe())
    screen = Screen(plan, terminal=True)
    for node in plan:
        screen.panel.started(node)
    screen.panel.notice("Stopping.")
    screen.file.truncate(0)
    lines = screen.lines()
    assert len(lines) <= HEIGHT
    running = [line for line in lines if "running  " in line and "done" not in line]
    assert running[-1].strip() == f"running  and {len(plan) - len(running) + 1} more"
    assert "Stopping." in lines[0]
