"""What a person sees of a running sweep: a live panel, or plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.planning.plan import Node, Plan, describe
from orchestrator.scheduling.queue import ReadyQueue, State
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.terminal.units import duration
from workers.terminal.console import Console, visible

LATEST = 4
ETA_INTERVAL_S = 1.0
COLUMNS = (State.DONE, State.RUNNING, State.CACHED, State.FAILED, State.BLOCKED)


class ProgressPanel:
    """The state of a sweep as text.

    Args:
        room: tells how many stages run at a time now, for the ETA.
    """

    def __init__(
        self, console: Console, plan: Plan, queue: ReadyQueue, rank: Mapping[str, float], room: Callable[[], int]
    ) -> None:
        self._console, self._plan, self._queue, self._rank = console, plan, queue, rank
        self._room = room
        self._latest: deque[str] = deque(maxlen=LATEST)
        self._running: dict[str, Mapping[str, Any]] = {}
        self._spent: dict[tuple[str, ...], list[float]] = {}
        self._notice = ""
        self._live: Live | None = None
        self._eta_s: float | None = None  # of the lines: found anew for each, it would cost the most of a short stage
        self._eta_due = Stopwatch(ETA_INTERVAL_S)

    def __enter__(self) -> ProgressPanel:
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._panel, refresh_per_second=2)
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)
            self._live = None

    def started(self, node: Node) -> None:
        """A stage was submitted."""
        self._running[node.key] = {}

    def moved(self, node: Node, progress: Mapping[str, Any]) -> None:
        """How far a running stage is."""
        self._running[node.key] = progress

    def ended(self, node: Node, seconds: float, results: Mapping[str, Any]) -> None:
        """A stage was committed."""
        self._running.pop(node.key, None)
        self._spent.setdefault(_sort(node), []).append(seconds / cost_epochs(node.stage))
        self._say(f"done     {node.name}  {headline(results)}({seconds:.1f} s)")

    def failed(self, node: Node, reason: str) -> None:
        """An attempt ended badly."""
        self._running.pop(node.key, None)
        self._say(f"failed   {node.name}  {reason}")

    def adopted(self, node: Node, results: Mapping[str, Any]) -> None:
        """Another driver committed a stage."""
        self._running.pop(node.key, None)
        self._say(f"found    {node.name}  {headline(results)}(by another sweep)")

    def interrupted(self, node: Node) -> None:
        """A stage stopped after checkpointing."""
        self._running.pop(node.key, None)
        self._say(f"stopped  {node.name}  (checkpointed)")

    def notice(self, text: str) -> None:
        """Something that concerns the whole sweep."""
        self._notice = text
        if self._live is None:
            self._console.print(text, highlight=False, markup=False)

    def eta_s(self) -> float | None:
        """Seconds to the end: the larger of the critical path and of all work over the room; None at the start."""
        rates = {sort: sum(values) / len(values) for sort, values in self._spent.items()}
        if not rates:
            return None
        typical = sum(rates.values()) / len(rates)  # for a sort of stage of which none has ended yet
        open_states = (State.WAITING, State.READY, State.RUNNING)
        left = [node for node in self._plan if self._queue.state[node.key] in open_states]
        rate = {node.key: rates.get(_sort(node), typical) for node in left}
        work = sum(cost_epochs(node.stage) * rate[node.key] for node in left) / self._room()
        return max([work, *(self._rank[node.key] * rate[node.key] for node in left)])

    def _say(self, line: str) -> None:
        self._latest.append(line)
        if self._live is None:
            finished = self._queue.counts[State.DONE] + self._queue.counts[State.CACHED]
            if self._eta_s is None or self._eta_due.due():
                self._eta_s = self.eta_s()
            eta = self._eta_s
            left = f", about {duration(eta)} left" if eta else ""
            counted = f"[{finished}/{len(self._plan)}{left}]"
            self._console.print(f"{counted} {line}", highlight=False, markup=False, soft_wrap=True)

    def _panel(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        table.add_column("stage")
        for state in COLUMNS:
            table.add_column(state.value, justify="right")
        table.add_column("of", justify="right")
        counts: dict[str, Counter[State]] = {}
        for node in self._plan:
            counts.setdefault(describe(node), Counter())[self._queue.state[node.key]] += 1
        for kind, states in counts.items():
            table.add_row(kind, *(_number(states[state]) for state in COLUMNS), str(sum(states.values())))
        eta = self.eta_s()
        head = Text(f"about {duration(eta)} left" if eta else "measuring…", style="bold")
        running = [
            Text(visible(f"  running  {self._describe_running(key, progress)}"))
            for key, progress in [*self._running.items()]
        ]
        latest = [Text(visible(f"  {line}")) for line in [*self._latest]]
        notice = [Text(visible(self._notice), style="yellow")] if self._notice else []
        return Group(table, head, *running, *latest, *notice)

    def _describe_running(self, key: str, progress: Mapping[str, Any]) -> str:
        name = self._plan.nodes[key].name
        if "epoch" not in progress:
            return name
        return f"{name}  epoch {progress['epoch']}/{progress['epochs']}  {progress['accuracy_percent']:.1f} %"


class Stopwatch:
    """Says when an interval has passed, at first after one interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last = time.monotonic()

    def restart(self) -> None:
        """Begin a new interval."""
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the interval has passed since this last said so."""
        if time.monotonic() - self._last < self._interval_s:
            return False
        self._last = time.monotonic()
        return True


def headline(results: Mapping[str, Any]) -> str:
    """The one number of a stage that a person looks for."""
    for name, text in (
        ("test_accuracy_percent", "test {:.2f} %  "),
        ("barrier_points", "barrier {:.2f} points  "),
        ("validation_accuracy_percent", "validation {:.2f} %  "),
    ):
        if results.get(name) is not None:
            return text.format(results[name])
    return ""


def _sort(node: Node) -> tuple[str, ...]:
    """What makes two stages take about the same time per epoch."""
    return (node.labels.dataset, node.labels.architecture, node.stage.kind)


def _number(count: int) -> str:
    return str(count) if count else "·"
