"""The spot notice: what each cloud's metadata service says, that the Ray node drains, and what a sweep does then.

The last two tests start Ray.
"""

from __future__ import annotations

import http.server
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spot_notice import Cloud, Notice, NoticeError, drain_command, read_notice
from orchestrator.store import Store
from orchestrator.store.events import read_events
from tests.clusters.heads import program
from tests.support.small_sweeps import ONE_ROUND, options, prepare
from tests.support.sweep_processes import Hold, assert_same_results, finish, in_process, kill_all, start, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=20)]

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
WITHOUT_TOKEN = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False))
spot = cluster.add_node(num_cpus=1)
print("ready", cluster.address, spot.node_id, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


class Metadata(http.server.ThreadingHTTPServer):
    """A metadata service on loopback; a test may change its answers at any time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.says: dict[str, str] = {}
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        self.answer(self.server.says.get(self.path) if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else None)

    def do_GET(self) -> None:
        known = self.headers["X-aws-ec2-metadata-token"] == "a-token" or self.headers["Metadata-Flavor"] == "Google"
        self.answer(self.server.says.get(self.path), 404 if known else 401)

    def answer(self, text: str | None, otherwise: int = 404) -> None:
        self.server.asked.append(self.path)
        self.send_response(otherwise if text is None or otherwise == 401 else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    server.says["/latest/api/token"] = "a-token"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def told(at: datetime) -> str:
    return f'{{"action": "terminate", "time": "{at:%Y-%m-%dT%H:%M:%SZ}"}}'


def test_the_aws_notice_has_the_time_of_termination(metadata: Metadata) -> None:
    assert read_notice(Cloud.AWS, metadata.url, False, NOW) is None
    metadata.says["/latest/meta-data/spot/instance-action"] = told(NOW + timedelta(seconds=119))
    assert read_notice(Cloud.AWS, metadata.url, False, NOW) == Notice("AWS: terminate at 2026-05-04T12:01:59Z", 119)
    late = read_notice(Cloud.AWS, metadata.url, False, NOW + timedelta(minutes=9))
    assert late is not None
    assert late.remaining_s == 0


def test_aws_advice_is_followed_on_request_only(metadata: Metadata) -> None:
    metadata.says["/latest/meta-data/events/recommendations/rebalance"] = '{"noticeTime": "2026-05-04T12:00:00Z"}'
    assert read_notice(Cloud.AWS, metadata.url, False, NOW) is None
    advised = read_notice(Cloud.AWS, metadata.url, True, NOW)
    assert advised == Notice("AWS: an interruption has become likely", None)


@pytest.mark.parametrize(("says", "notice"), [("FALSE", None), ("TRUE", Notice("GCP: preempted", 30))])
def test_gcp_gives_notice_of_preemption(metadata: Metadata, says: str, notice: Notice | None) -> None:
    metadata.says["/computeMetadata/v1/instance/preempted"] = says
    assert read_notice(Cloud.GCP, metadata.url, False, NOW) == notice


@pytest.mark.parametrize("action", ["{", "{}", '{"action": "stop", "time": "soon"}', "[]"])
def test_a_malformed_answer_raises_notice_error(metadata: Metadata, action: str) -> None:
    metadata.says["/latest/meta-data/spot/instance-action"] = action
    with pytest.raises(NoticeError, match=metadata.url):
        read_notice(Cloud.AWS, metadata.url, False, NOW)


def test_a_machine_of_another_cloud_raises_notice_error(metadata: Metadata) -> None:
    metadata.says.clear()
    with pytest.raises(NoticeError, match="is this a machine of AWS"):
        read_notice(Cloud.AWS, metadata.url, False, NOW)
    metadata.server_close()
    with pytest.raises(NoticeError):
        read_notice(Cloud.GCP, "http://127.0.0.1:9", False, NOW)


def test_advice_has_no_deadline() -> None:
    assert "--deadline-remaining-seconds" not in drain_command(Notice("AWS", None), "auto", None)
    assert "--node-id" not in drain_command(Notice("AWS", None), "auto", None)


def test_help_says_what_it_does() -> None:
    shown = subprocess.run([sys.executable, "-m", "orchestrator.spot_notice", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert "drains the Ray node of this machine once" in " ".join(shown.stdout.split())


@pytest.fixture
def cluster() -> Iterator[tuple[str, str]]:
    """Address of a cluster of two nodes, and the second node's id."""
    with program(CLUSTER, WITHOUT_TOKEN) as (address, node):
        yield address, node


DRAINING = """
import sys, ray
from ray._private.state import state
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(*(f"{node} {deadline}" for node, deadline in state.get_draining_nodes().items()))
"""


def test_the_notice_drains_this_node_once_with_its_deadline(metadata: Metadata, cluster: tuple[str, str]) -> None:
    address, node = cluster
    # an endless task holds the node: one that is idle would be gone as soon as it drains
    command = [sys.executable, "-m", "orchestrator.spot_notice", "aws", "--endpoint", metadata.url, "--interval", "0.2"]
    watcher = subprocess.Popen(
        [*command, "--address", address, "--node-id", node], env=WITHOUT_TOKEN, stdout=subprocess.PIPE, text=True
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, address, node], env=WITHOUT_TOKEN, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        while metadata.asked.count("/latest/meta-data/spot/instance-action") < 3:
            time.sleep(0.05)
        assert watcher.poll() is None
        goes = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=120)
        metadata.says["/latest/meta-data/spot/instance-action"] = told(goes)
        printed, _ = watcher.communicate(timeout=60)
        assert watcher.returncode == 0, printed
        assert "drains" in printed
        draining = subprocess.run(
            [sys.executable, "-c", DRAINING, address], env=WITHOUT_TOKEN, capture_output=True, text=True
        )
        (line,) = draining.stdout.splitlines()
        drained, deadline_ms = line.split()
        assert drained == node
        assert abs(int(deadline_ms) / 1000 - goes.timestamp()) < 10
    finally:
        for process in (watcher, holder):
            process.kill()
            process.communicate()


HOLDER = """
import sys, time, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
@ray.remote(num_cpus=1)
class Held:
    def here(self):
        return True
held = Held.options(scheduling_strategy=NodeAffinitySchedulingStrategy(sys.argv[2], soft=False)).remote()
ray.get(held.here.remote())
print("held", flush=True)
time.sleep(300)
"""


# one spot node is gone as soon as it has nothing to do; the other has to wait for an actor of somebody else's
SPOTS = """
import sys, ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False))
spots = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1, resources={"another's": 1})]
ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
@ray.remote(num_cpus=0, resources={"another's": 1})
class Held:
    def here(self):
        return True
held = Held.remote()
ray.get(held.here.remote())
print("ready", cluster.address, *(spot.node_id for spot in spots), flush=True)
sys.stdin.read()
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.long
def test_stages_on_draining_nodes_resume_on_other_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # three networks are trained at first; a node that drains may take as long as the test
    recipe = {**ONE_ROUND, "seeds": 2, "probe_rounds": []}
    folder, store, alone = prepare(tmp_path / "made", **recipe), tmp_path / "store", tmp_path / "alone"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    code, output = in_process(*options(folder, alone, "--backend", "inline", "--device", "cpu"))
    assert code == 0, output
    hold = Hold.at(tmp_path / "held", store, records=0)

    def attempts() -> dict[str, dict[str, Any]]:
        """Read each attempt's progress file, by the attempt's folder."""
        files = store.glob("stages/*/*/attempts/*/progress.json")
        return {str(path.parent.relative_to(store)): json.loads(path.read_text()) for path in files}

    def seen(event: str) -> list[dict[str, Any]]:
        return [row for row in read_events(Store(store).storage) if row["event"] == event]

    with program(SPOTS, dict(os.environ)) as (address, *spots):
        joining = ["--backend", "ray", "--address", address, "--device", "cpu", "--plugin", hold.plugin]
        sweep = start(*options(folder, store, *joining))
        try:
            wait_for(lambda: sum(attempt["beats"] > 1 for attempt in attempts().values()) == 3, sweep)
            first = attempts()
            moved = {path: attempt["node"] for path, attempt in first.items() if attempt["node"] in spots}
            assert sorted(moved.values()) == sorted(spots)
            for spot in spots:
                subprocess.run(drain_command(Notice("taken back", 600), address, spot), check=True)
            wait_for(lambda: len(seen("draining")) == 2, sweep)
            hold.let_go()
            code, output = finish(sweep)
        finally:
            kill_all(sweep)
    assert code == 0, output
    assert_same_results(alone, store)
    assert len(Store(store).records()) == len(Store(alone).records())

    undisturbed = {path.parts[-4]: json.loads(path.read_text()) for path in alone.rglob("attempts/1/progress.json")}
    last = attempts()
    for path in moved:  # each stopped in its only epoch, and the other node took its batches up there
        again, whole = last[path.removesuffix("1") + "2"], undisturbed[Path(path).parts[-3]]
        assert "interrupted" in (store / path / "log.txt").read_text()
        assert "epoch" not in last[path]
        assert again["beats"] < whole["beats"] <= last[path]["beats"] + again["beats"]
        assert json.loads((store / path / "failure.json").read_text())["cause"] == "preemption"
    assert output.count("it had made progress, and resumes") == len(seen("failed")) == 2  # no retry is counted
    assert {attempt["node"] for path, attempt in last.items() if path not in moved}.isdisjoint(spots)
    # a node that is left has one core: nothing is sent to wait for those that drain
    under_way, warned = set[str](), 0
    for event in read_events(Store(store).storage):
        warned += event["event"] == "draining"
        if event["event"] == "started":
            assert warned < 2 or not under_way, event
            under_way.add(event["key"])
        elif event["event"] in ("done", "failed"):
            under_way.remove(event["key"])
