"""Requests to an autoscaler, and its answers; the autoscaler, Ray and the clock are simulated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray import autoscaler
from orchestrator.backends.ray.autoscaler import AutoscalerRequest


class Asked:
    """A placement group."""

    placed = False
    id = bytes(range(18))

    def wait(self, timeout_s: float) -> bool:
        return self.placed


class Played:
    """A cluster's GCS, with the groups that were asked for; its autoscaler looks at every third look of ours.

    Args:
        answers: whether there is an autoscaler.
        most: ranks of the widest group that it can bring.
    """

    def __init__(self, answers: bool = True, most: int = 8) -> None:
        self.asked: list[Asked] = []
        self.given_back: list[Asked] = []
        self.seconds = 0.0
        self._answers, self._most = answers, most
        self._widths: list[int] = []
        self._reply = GetClusterStatusReply()

    def placement_group(self, bundles: list[dict[str, float]], strategy: str) -> Asked:
        self.asked.append(Asked())
        self._widths.append(len(bundles))
        return self.asked[-1]

    def get_cluster_status(self, timeout_s: float) -> bytes:
        self._reply.cluster_resource_state.cluster_resource_state_version += 1
        version = self._reply.cluster_resource_state.cluster_resource_state_version
        if self._answers and version % 3 == 0:
            self._look(version)
        return self._reply.SerializeToString()

    def _look(self, version: int) -> None:
        state = self._reply.autoscaling_state
        state.last_seen_cluster_resource_state_version = version
        del state.infeasible_gang_resource_requests[:]
        for asked, width in zip(self.asked, self._widths, strict=True):
            if asked not in self.given_back and width > self._most:
                state.infeasible_gang_resource_requests.add(details=f"{asked.id.hex()}:PACK|PENDING")

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds


Play = Callable[..., Played]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def played(capacity: tuple[int, int] = (0, 0), answers: bool = True, most: int = 8) -> Played:
        """capacity: cores, and GPUs beside one, of the machines that run now."""
        cluster = Played(answers, most)
        monkeypatch.setattr(autoscaler, "placement_group", cluster.placement_group)
        monkeypatch.setattr(autoscaler, "remove_placement_group", cluster.given_back.append)
        monkeypatch.setattr(autoscaler, "count_devices", lambda: capacity)
        monkeypatch.setattr(autoscaler, "time", cluster)
        return cluster

    return played


@pytest.mark.parametrize(
    ("there", "busy", "asks"),
    [
        (0, 0, True),  # nothing has come yet, or all has gone
        (1, 1, True),  # machines have gone: two more than a probe's
        (2, 0, False),  # a gang can start
        (2, 2, True),
        (3, 2, True),
        (4, 4, False),  # the most
        (3, 3, False),  # one more would be allowed, and no gang could use it
    ],
)
def test_an_autoscaler_is_asked_for_a_gang_when_too_few_devices_are_free(
    there: int, busy: int, asks: bool, play: Play
) -> None:
    played = play()
    request = AutoscalerRequest(played, 2, 4, on_gpus=False)
    request.renew(there, busy)
    request.renew(there, busy)
    assert len(played.asked) == asks  # once, until it comes
    for one in played.asked:
        one.placed = True
    request.renew(4, 0)
    assert (played.given_back, len(played.asked)) == (played.asked, asks)  # a gang brings a placement group of its own


@pytest.mark.parametrize("on_gpus", [True, False])
def test_a_feasible_request_for_single_devices_is_withdrawn(on_gpus: bool, play: Play) -> None:
    played = play(most=1)
    AutoscalerRequest(played, 1, 4, on_gpus=on_gpus).check()
    assert played.given_back == played.asked
    assert played.seconds < 5


@pytest.mark.parametrize(
    ("ranks", "on_gpus", "capacity", "message"),
    [
        (1, True, (0, 0), "--scale-to 4: .* no machine with a GPU and a CPU; add one, or give --device cpu"),
        (1, True, (8, 0), "--scale-to 4: .* no machine with a GPU and a CPU"),
        (1, False, (0, 0), "--scale-to 4: .* no machine with a CPU; add one$"),
        (2, True, (8, 1), "--gpus-per-stage 2: .* do not allow for 2 times a GPU and a CPU at once"),
        (2, False, (1, 0), "--gpus-per-stage 2: .* do not allow for 2 times a CPU at once"),
    ],
)
def test_a_request_that_is_infeasible_for_the_autoscaler_is_refused(
    ranks: int, on_gpus: bool, capacity: tuple[int, int], message: str, play: Play
) -> None:
    played = play(capacity, most=0)
    request = AutoscalerRequest(played, ranks, 4, on_gpus=on_gpus)
    with pytest.raises(BackendError, match=message):
        request.check() if ranks == 1 else request.wait(1800)
    assert played.seconds < 5


def test_an_infeasible_request_that_fits_an_idle_cluster_is_accepted(play: Play) -> None:
    """The autoscaler also calls a request infeasible that fits its machines when they are idle."""
    AutoscalerRequest(play((1, 1), most=0), 1, 4, on_gpus=True).check()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_request_without_an_autoscaler_is_refused(ranks: int, play: Play) -> None:
    played = play((8, 0), answers=False)
    request = AutoscalerRequest(played, ranks, 4, on_gpus=False)
    with pytest.raises(BackendError, match=r"--scale-to 4: no autoscaler .* cluster; leave it out"):
        request.check() if ranks == 1 else request.wait(1800)
    assert played.seconds < 60
