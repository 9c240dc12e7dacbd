"""Show a running sweep: a live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.planning.plan import Node, Plan, describe
from orchestrator.scheduling.queue import ReadyQueue, State
from orchestrator.scheduling.rank import cost_epochs
from workers.terminal.console import Console, visible
from workers.terminal.numbers import duration
from workers.terminal.tables import UncutTable

LATEST = 4
NOTICES = 3
LEAST_RUNNING = 3
BAR_WIDTH = 24
ETA_INTERVAL_S, COUNTS_INTERVAL_S = 1.0, 0.4
SPARING = 50
Value = TypeVar("Value")
COLUMNS = (State.DONE, State.RUNNING, State.CACHED, State.FAILED, State.BLOCKED)


class ProgressPanel:
    """Shows the state of a sweep.

    Args:
        capacity: returns how many stages can run at a time now, for the ETA.
    """

    def __init__(
        self, console: Console, plan: Plan, queue: ReadyQueue, rank: Mapping[str, float], capacity: Callable[[], int]
    ) -> None:
        self._console, self._plan, self._queue, self._rank = console, plan, queue, rank
        self._capacity = capacity
        self._latest: deque[str] = deque(maxlen=LATEST)
        self._running: dict[str, Mapping[str, Any]] = {}
        self._s_per_epoch: dict[tuple[str, ...], list[float]] = {}
        self._notices: deque[str] = deque(maxlen=NOTICES)
        self._live: Live | None = None
        self._began_s = time.monotonic()
        self._eta = Recent(self.eta_s, ETA_INTERVAL_S)
        self._counts = Recent(self._count, COUNTS_INTERVAL_S)

    def __enter__(self) -> ProgressPanel:
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._panel, refresh_per_second=2)
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._eta.expire()  # the last frame stays on the screen
            self._counts.expire()
            self._live.__exit__(*error)
            self._live = None

    def measured(self, node: Node, seconds: float) -> None:
        """Learn the duration of a stage for the ETA."""
        self._s_per_epoch.setdefault(_speed_class(node), []).append(seconds / cost_epochs(node.stage))

    def started(self, node: Node) -> None:
        """Show a submitted stage."""
        self._running[node.key] = {}

    def moved(self, node: Node, progress: Mapping[str, Any]) -> None:
        """Show the progress of a running stage."""
        self._running[node.key] = progress

    def ended(self, node: Node, seconds: float, results: Mapping[str, Any]) -> None:
        """Show a committed stage."""
        self._running.pop(node.key, None)
        self.measured(node, seconds)
        self._print(f"done     {node.name}  {headline(results)}({seconds:.1f} s)")

    def failed(self, node: Node, reason: str) -> None:
        """Show a failed attempt, or one whose machine was lost, among the notices."""
        self._running.pop(node.key, None)
        self._notices.append(f"failed   {node.name}  {reason}")
        self._print(f"failed   {node.name}  {reason}", latest=False)

    def adopted(self, node: Node, results: Mapping[str, Any]) -> None:
        """Show a stage that another driver committed."""
        self._running.pop(node.key, None)
        self._print(f"found    {node.name}  {headline(results)}(by another sweep)")

    def interrupted(self, node: Node) -> None:
        """Show a stage that stopped on request."""
        self._running.pop(node.key, None)
        self._print(f"stopped  {node.name}  (the next sweep continues it)")

    def notice(self, text: str) -> None:
        """Show a sentence about the whole sweep."""
        if text in self._notices:
            self._notices.remove(text)
        self._notices.append(text)
        if self._live is None:
            self._console.print(text)

    def eta_s(self) -> float | None:
        """Estimate the seconds to the end: the larger of the critical path and of all work divided by the capacity.

        None while no stage has been measured.
        """
        open_states = (State.WAITING, State.READY, State.RUNNING)
        remaining = [node for node in self._plan if self._queue.state[node.key] in open_states]
        if not remaining:
            return 0.0
        means = {kind: sum(values) / len(values) for kind, values in self._s_per_epoch.items()}
        if not means:
            return None
        typical = sum(means.values()) / len(means)  # for stages of which none has ended yet
        rate = {node.key: means.get(_speed_class(node), typical) for node in remaining}
        work = sum(cost_epochs(node.stage) * rate[node.key] for node in remaining) / self._capacity()
        return max([work, *(self._rank[node.key] * rate[node.key] for node in remaining)])

    def _finished(self) -> int:
        return self._queue.counts[State.DONE] + self._queue.counts[State.CACHED]

    def _percent(self) -> int:
        return math.floor(100 * self._finished() / max(1, len(self._plan)))

    def _elapsed(self) -> str:
        return duration(time.monotonic() - self._began_s)

    def _print(self, line: str, *, latest: bool = True) -> None:
        if latest:
            self._latest.append(line)
        if self._live is None:
            finished = self._finished()
            if finished == len(self._plan):
                self._eta.expire()
            eta_s = self._eta.value()
            remaining = f", about {duration(eta_s)} left" if eta_s else ""
            counts = f"[{finished}/{len(self._plan)}, {self._percent()} %, {self._elapsed()} elapsed{remaining}]"
            self._console.print(f"{counts} {line}", soft_wrap=True)

    def _count(self) -> dict[str, Counter[State]]:
        """Count the stages by ``describe`` and state."""
        counts: dict[str, Counter[State]] = {}
        for node in self._plan:
            counts.setdefault(describe(node), Counter())[self._queue.state[node.key]] += 1
        return counts

    def _panel(self) -> RenderableType:
        table, counts = UncutTable(["stage"], [*(state.value for state in COLUMNS), "of"]), self._counts.value()
        for kind, states in counts.items():
            table.add(kind, *(str(states[state] or "·") for state in COLUMNS), str(sum(states.values())))
        notices = [Text(visible(text), style="yellow") for text in [*self._notices]]
        latest = [Text(visible(f"  {line}")) for line in [*self._latest]]
        running = [self._describe_running(key, progress) for key, progress in [*self._running.items()]]
        width = self._console.width
        wrapped = sum(len(text.wrap(self._console, width)) for text in [*notices, *latest])
        fixed_lines = wrapped + len(counts) + 4
        shown = max(LEAST_RUNNING, self._console.height - fixed_lines)
        if len(running) > shown:
            running = [*running[: shown - 1], f"and {len(running) - shown + 1} more"]
        lines = [Text(visible(f"  running  {line}")) for line in running]
        return Group(*notices, self._bar(), table, *lines, *latest)

    def _bar(self) -> RenderableType:
        """A bar of the finished stages, with percent, elapsed time and ETA."""
        total, eta = max(1, len(self._plan)), self._eta.value()
        left = "measuring…" if eta is None else f"about {duration(eta)} left" if eta else "finished"
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=total, completed=self._finished(), width=BAR_WIDTH),
            Text(f"{self._percent()} %, {self._elapsed()} elapsed, {left}", style="bold"),
        )
        return row

    def _describe_running(self, key: str, progress: Mapping[str, Any]) -> str:
        name = self._plan.nodes[key].name
        epoch, epochs, percent = (progress.get(field) for field in ("epoch", "epochs", "accuracy_percent"))
        if epoch is None or epochs is None or percent is None:
            return name
        return f"{name}  epoch {epoch}/{epochs}  {percent:.1f} %"


class Recent(Generic[Value]):
    """A value that is computed again now and then, because it goes over all stages: at most every ``interval_s``.

    Of the time that passes, computing takes at most one part in ``SPARING``, however many stages there are.
    """

    def __init__(self, compute: Callable[[], Value], interval_s: float) -> None:
        self._compute, self._interval_s = compute, interval_s
        self._value, self._due_s = list[Value](), 0.0

    def expire(self) -> None:
        """Compute the value at the next call."""
        self._value = []

    def value(self) -> Value:
        """Return the value, which may be old."""
        began_s = time.monotonic()
        if not self._value or began_s >= self._due_s:
            self._value = [self._compute()]
            took_s = time.monotonic() - began_s
            self._due_s = began_s + max(self._interval_s, SPARING * took_s)
        return self._value[0]


class Stopwatch:
    """Tells when an interval has passed."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last = time.monotonic()

    def restart(self) -> None:
        """Begin a new interval."""
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the interval has passed; if so, begin the next one."""
        if time.monotonic() - self._last < self._interval_s:
            return False
        self._last = time.monotonic()
        return True


def headline(results: Mapping[str, Any]) -> str:
    """Return the main result of a stage as text."""
    for name, text in (
        ("test_accuracy_percent", "test {:.2f} %  "),
        ("barrier_points", "barrier {:.2f} points  "),
        ("validation_accuracy_percent", "validation {:.2f} %  "),
    ):
        if results.get(name) is not None:
            return text.format(results[name])
    return ""


def _speed_class(node: Node) -> tuple[str, ...]:
    """Stages of one class take about the same time per epoch."""
    return (node.labels.dataset, node.labels.architecture, node.stage.kind)
