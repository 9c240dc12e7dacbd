"""The live panel and the lines of a running sweep."""

from __future__ import annotations

import io
import re

import pytest

from orchestrator.planning.plan import Plan
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.terminal import progress
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
    assert re.match(rf"\[{len(plan)}/{len(plan)}, 100 %, [0-9.]+ s elapsed\] done ", screen.file.getvalue())


def test_plain_lines_say_what_the_panel_says() -> None:
    plan = plan_of(recipe())
    screen = Screen(plan, terminal=False)
    key = next(screen.queue.ready())
    screen.queue.start(key)
    screen.queue.done(key)
    screen.panel.ended(plan.nodes[key], 2.0, {})
    percent = 100 // len(plan)
    assert re.match(
        rf"\[1/{len(plan)}, {percent} %, [0-9.]+ s elapsed, about [0-9.]+ s left\] done ", screen.file.getvalue()
    )


def test_an_eta_is_known_from_the_start_if_stages_were_measured_before() -> None:
    plan = plan_of(recipe())
    screen = Screen(plan, terminal=True)
    assert screen.panel.eta_s() is None
    screen.panel.measured(next(iter(plan)), 2.0)
    assert (screen.panel.eta_s() or 0) > 0


def test_what_goes_over_all_stages_takes_two_percent_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])

    def compute() -> float:
        now_s[0] += 0.2
        return now_s[0]

    recent = progress.Recent(compute, 1.0)
    seen = []
    while now_s[0] < 100.0:
        seen.append(recent.value())
        now_s[0] += 0.01
    assert len(set(seen)) * 0.2 <= 0.02 * 100
    assert len(set(seen)) == 10
    recent.expire()
    assert recent.value() == now_s[0]  # the last one is current


def test_many_running_stages_fit_the_terminal_and_are_counted() -> None:
    plan = plan_of(recipe())
    screen = Screen(plan, terminal=True)
    for node in plan:
        screen.panel.started(node)
    screen.panel.notice("Stopping: running stages checkpoint, nothing new starts. Once more to exit at once.")
    lost = next(iter(plan))
    screen.panel.failed(lost, "WorkerCrashedError: its machine was lost  (tried again)")
    for node in list(plan)[1:6]:
        screen.panel.ended(node, 1.0, {})
    screen.file.truncate(0)
    lines = screen.lines()
    assert len(lines) <= HEIGHT
    running = [line for line in lines if "running  " in line and "done" not in line]
    assert running[-1].strip() == f"running  and {len(plan) - 6 - len(running) + 1} more"
    assert "Stopping: " in lines[0]
    assert f"failed   {lost.name}" in lines[2]
