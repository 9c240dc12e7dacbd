"""The live page's server, tested from outside: its answers, its refusals, and how it starts and ends."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.serve import EXAMPLES
from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from tests.analysis.conftest import SyntheticStore
from tests.support.serving import PATIENCE_S, Served, command, serving

pytestmark = pytest.mark.slow(seconds=35)

LATE, BAD = ("digits/late", "a" * 32), ("digits/bad", "b" * 32)
SECRET = "not for the page"
EVENTS = [
    {"time_unix_s": 1_700_000_100.0, "event": "started", "key": LATE[1], "name": LATE[0], "attempt": 1},
    {"time_unix_s": 1_700_000_101.5, "event": "failed", "key": BAD[1], "name": BAD[0], "error": "DivergedError: <NaN>"},
]


def write_events(root: Path, events: list[dict[str, Any]]) -> None:
    (root / "events").mkdir(exist_ok=True)
    (root / "events" / "driver.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.fixture(scope="module")
def served(finished_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """A server, and its store, that no test changes: one stage runs, one failed, and links lead out of the store."""
    place = tmp_path_factory.mktemp("served")
    store = SyntheticStore(place / "runs")
    shutil.copytree(finished_sweep, store.root)
    store.plan(LATE, BAD)
    store.failure(*BAD, "loss is not finite")
    log = next(store.root.glob("stages/train/digits-bad-*/attempts/1")) / "log.txt"
    log.write_text("<b>epoch 3</b>\n")
    write_events(store.root, EVENTS)
    (place / "secret.json").write_text(SECRET)
    (place / "beside").mkdir()
    (place / "beside" / "record.json").write_text(SECRET)
    (store.root / "stages" / "train" / "linked").symlink_to(place / "beside")
    stage = next(path.parent for path in store.root.glob("stages/train/*/record.json"))
    (stage / "out" / "linked.json").symlink_to(place / "secret.json")
    (stage / "out" / ".hidden.json").write_text(SECRET)
    (stage / "stage.json").write_text(SECRET)
    (store.root / "secret.json").write_text(SECRET)
    lease = HeldLease(Store(store.root).storage, ["sweep"])
    with serving(store.root, place / "cache") as running:
        running.settled()
        yield running, store.root
    lease.release()


def test_the_page_and_its_state(served: tuple[Served, Path]) -> None:
    server, _ = served
    page = server.ask("/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "digits · tiny · sound" in page.text
    state = server.state()
    assert f'data-version="{state["version"]}"' in page.text
    assert state["problem"] == ""
    assert state["progress"] == {"planned": 77, "done": 75, "running": 1, "waiting": 0, "blocked": 0, "failed": 1}
    assert re.fullmatch("About .* left, if the other stages end at the pace of the last 20.", state["left"]["text"])
    assert state["events"] == [
        {"time": "2023-11-14T22:15:00Z", "event": "started", "name": "digits/late"},
        {"time": "2023-11-14T22:15:01Z", "event": "failed", "name": "digits/bad", "error": "DivergedError: <NaN>"},
    ]


def test_every_answer_forbids_caching_and_other_origins(served: tuple[Served, Path]) -> None:
    server, _ = served
    for path in ("/", "/state.json", "/nothing", "/store/stages"):
        headers = server.ask(path, Origin="http://elsewhere.example").headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in headers if name.lower().startswith("access-control")]
    policy = server.ask("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_page_is_compressed_for_clients_that_accept_it(served: tuple[Served, Path]) -> None:
    server, _ = served
    packed = server.ask("/", Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == server.ask("/").body


def test_every_link_of_the_page_is_served(served: tuple[Served, Path]) -> None:
    server, root = served
    page = server.ask("/").text
    data = json.loads(re.search(r'id="stages">(.*?)</script>', page)[1])  # type: ignore[index]
    assert data["base"] == "store/stages"
    records = [path.relative_to(root) for path in root.glob("stages/*/*/record.json") if path.parent.name != "linked"]
    parquets = [path.relative_to(root) for path in root.glob("stages/*/*/out/*.parquet")]
    for path in (*records[::10], *parquets[::10]):
        reply = server.ask(f"/store/{path}")
        assert (reply.status, reply.body) == (200, (root / path).read_bytes())
        kind = "text/plain; charset=utf-8" if path.suffix == ".json" else "application/octet-stream"
        assert reply.headers["Content-Type"] == kind
        assert "sandbox" in reply.headers["Content-Security-Policy"]
    log = re.search(r'log: <a href="(.*?)"', page)[1]  # type: ignore[index]
    reply = server.ask(f"/{log}")
    assert (reply.status, reply.text) == (200, "<b>epoch 3</b>\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/store/../../etc/passwd",
        "/store/../secret.json",
        "/store/%2e%2e/secret.json",
        "/store/stages/train/%2e%2e/%2e%2e/record.json",
        "/store/stages/train/..%2f..%2f..%2f/secret.json",
        "/store/stages/%2e%2e/beside/record.json",
        "/store/stages/..%2fbeside/x/record.json",
        "/store/%252e%252e/secret.json",
        "/store//etc/passwd",
        "/store/%2fetc/passwd",
        "/store/stages/train/x/out/%2fetc%2fpasswd",
        "/store/stages/train/x/out/..%5c..%5csecret.json",
        "/store/stages/train/x%00/record.json",
        "/store/stages/train/%ff/record.json",
        "/store/stages/train/linked/record.json",
        "/store/stages/train/STAGE/out/linked.json",
        "/store/stages/train/STAGE/out/.hidden.json",
        "/store/stages/train/STAGE/out",
        "/store/stages/train/STAGE/stage.json",
        "/store/stages",
        "/store/",
        "/store",
        "/secret.json",
        "//etc/passwd",
        "/../../etc/passwd",
        "http://127.0.0.1/store/secret.json",
        "/index.html",
    ],
)
def test_no_other_path_is_served(served: tuple[Served, Path], path: str) -> None:
    server, root = served
    stage = next(root.glob("stages/train/*/out/.hidden.json")).parents[1].name
    reply = server.ask(path.replace("STAGE", stage))
    assert reply.status == 404
    assert SECRET not in reply.text
    assert "root:" not in reply.text
    assert server.ask(f"/store/stages/train/{stage}/record.json").status == 200  # the place itself is not at fault


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_no_other_method_is_answered(served: tuple[Served, Path], method: str) -> None:
    reply = served[0].ask("/", method)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"


def test_a_head_is_an_answer_without_its_content(served: tuple[Served, Path]) -> None:
    server, _ = served
    head, full = server.ask("/", "HEAD"), server.ask("/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(full.body))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),  # a tunnel's port is its own
        ("LOCALHOST", 200),
        ("[::1]:8700", 200),
        ("elsewhere.example", 421),
        ("127.0.0.1.elsewhere.example", 421),
        ("localhost.elsewhere.example:8700", 421),
        ("elsewhere.example@127.0.0.1.example", 421),
        ("192.168.1.1", 421),
        ("[", 421),
        ("", 421),
    ],
)
def test_the_server_answers_only_to_its_own_names(served: tuple[Served, Path], host: str, status: int) -> None:
    for path in ("/", "/state.json"):
        assert served[0].ask(path, Host=host).status == status


def test_a_request_must_name_one_host(served: tuple[Served, Path]) -> None:
    for lines in ("", "Host: 127.0.0.1\r\nHost: elsewhere.example\r\n"):
        with socket.create_connection(("127.0.0.1", served[0].port or 0), timeout=PATIENCE_S) as raw:
            raw.sendall(f"GET /state.json HTTP/1.1\r\n{lines}\r\n".encode())
            assert b" 421 " in raw.makefile("rb").readline()


def test_nonsense_is_refused_and_the_next_reader_is_served(served: tuple[Served, Path]) -> None:
    server, _ = served
    with socket.create_connection(("127.0.0.1", server.port or 0), timeout=PATIENCE_S) as raw:
        raw.sendall(b"\x00\xff nonsense\r\n\r\n")
        raw.recv(100)
    with socket.create_connection(("127.0.0.1", server.port or 0), timeout=PATIENCE_S) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")  # and goes away
    assert server.ask("/").status == 200


@pytest.mark.long  # test_served.py sees it in a browser
def test_a_new_stage_changes_the_version_and_the_page(sweep: SyntheticStore, tmp_path: Path) -> None:
    late = type(sweep)(tmp_path / "elsewhere").train("dense", 78.0, seed=9)  # its key is that of the same stage here
    sweep.plan(LATE, ("late", late))
    lease = HeldLease(Store(sweep.root).storage, ["sweep"])
    with serving(sweep.root, tmp_path / "cache") as server:
        before = server.settled()
        assert before["progress"] == {"planned": 77, "done": 75, "running": 0, "waiting": 2, "blocked": 0, "failed": 0}
        assert "ense training reaches 72.0" in server.ask("/").text
        write_events(sweep.root, EVENTS)
        news = server.until(lambda state: state["events"])
        assert news["version"] == before["version"]  # an event alone makes no new page
        assert news["progress"] == {"planned": 77, "done": 75, "running": 1, "waiting": 1, "blocked": 0, "failed": 0}
        sweep.train("dense", 78.0, seed=9)
        after = server.until(lambda state: state["version"] != before["version"])
        assert after["progress"] == {"planned": 77, "done": 76, "running": 1, "waiting": 0, "blocked": 0, "failed": 0}
        page = server.ask("/").text
        assert f'data-version="{after["version"]}"' in page
        assert "ense training reaches 73.5" in page  # (71 + 72 + 73 + 78) / 4
    lease.release()


@pytest.mark.long
def test_a_damaged_store_shows_a_notice_until_it_is_repaired(sweep: SyntheticStore, tmp_path: Path) -> None:
    record = next(sweep.root.glob("stages/train/*/record.json"))
    whole = record.read_text()
    record.write_text(whole[:100])
    with serving(sweep.root, tmp_path / "cache") as server:
        problem = server.until(lambda state: "no valid record" in state["problem"])["problem"]
        assert "orchestrator.verify" in problem
        reply = server.ask("/")
        assert reply.status == 503
        assert "no valid record" in reply.text
        assert "<script>alert" not in reply.text
        record.write_text(whole)
        mended = server.settled()
        assert mended["problem"] == ""
        assert server.ask("/").status == 200
        record.write_text(whole[:100])
        state = server.until(lambda state: "no valid record" in state["problem"])
        assert state["version"] == mended["version"]
        assert server.ask("/").status == 200  # what was known last
        record.write_text(whole)
        server.until(lambda state: not state["problem"])


def test_the_server_waits_for_a_store_without_a_sweep(store: SyntheticStore, tmp_path: Path) -> None:
    with serving(store.root, tmp_path / "cache") as server:
        server.until(lambda state: "does not exist" in state["problem"])
        reply = server.ask("/")
        assert reply.status == 503
        assert f"{store.root} does not exist" in reply.text
        assert not store.root.exists()
        store.root.mkdir()
        server.until(lambda state: "has no stages" in state["problem"])
        store.plan(LATE)
        state = server.until(lambda state: state["version"] and not state["problem"])
        assert state["progress"] == {"planned": 1, "done": 0, "running": 0, "waiting": 1, "blocked": 0, "failed": 0}
        assert "No stage is done yet." in server.ask("/").text


def test_several_stores_are_one_page_and_each_keeps_its_files(store: SyntheticStore, tmp_path: Path) -> None:
    mine, theirs = store, SyntheticStore(store.root / "theirs")  # a store may lie in another one's folder
    keys = [mine.train("dense", 70.0, seed=1), theirs.train("dense", 80.0, seed=2)]
    write_events(theirs.root, EVENTS)
    with serving(mine.root, tmp_path / "cache", str(theirs.root), str(mine.root)) as server:
        assert server.until(lambda state: state["version"])["events"][-1]["event"] == "failed"
        page = server.ask("/").text
        assert "ense training reaches 75.0" in page
        data = json.loads(re.search(r'id="stages">(.*?)</script>', page)[1])  # type: ignore[index]
        folders = data["columns"]["folder"]
        assert [folder.split("/stages/")[0] for folder in folders] == ["store/1", "store/2"]
        for folder, key in zip(folders, keys, strict=True):
            assert json.loads(server.ask(f"/{folder}/record.json").body)["key"] == key
            for elsewhere in (folder.removeprefix("store/1/").removeprefix("store/2/"), f"3/{folder[8:]}"):
                assert server.ask(f"/store/{elsewhere}/record.json").status == 404


def test_ctrl_c_stops_the_server_cleanly(sweep: SyntheticStore, tmp_path: Path) -> None:
    with serving(sweep.root, tmp_path / "cache") as server:  # its page is in the making
        assert server.interrupt() == (0, "")
    with serving(sweep.root, tmp_path / "cache") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/  \(Ctrl-C ends it\)\n", server.line)
        server.settled()
        with socket.create_connection(("127.0.0.1", server.port or 0)):  # a reader who says nothing holds nothing up
            assert server.interrupt() == (0, "")


def refused(*line: str) -> str:
    """What a server that does not begin says."""
    done = subprocess.run(command(*line), capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_server_that_cannot_start_gives_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is taken; give another with --port" in refused(str(tmp_path), "--port", port)
    assert "--host" in refused(str(tmp_path), "--port", "0", "--host", "203.0.113.1")
    assert "begins with one of s3://" in refused("ftp://store", "--port", "0")


def test_a_server_for_others_warns(sweep: SyntheticStore, tmp_path: Path) -> None:
    with serving(sweep.root, tmp_path / "cache", "--host", "0.0.0.0") as server:
        assert server.ask("/state.json", Host=f"{socket.gethostname()}:{server.port}").status == 200
        assert server.ask("/state.json", Host="192.168.1.1").status == 200  # an address is no name to rebind
        assert server.ask("/state.json", Host="elsewhere.example").status == 421
        code, output = server.interrupt()
    assert code == 0
    assert output.startswith("Warning: there is no password: everyone who reaches 0.0.0.0")


def test_help_has_examples_and_the_way_to_a_clusters_store() -> None:
    done = subprocess.run(command("--help"), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0
    for example in ("winning-sign serve sweeps --open", "-L 8700:127.0.0.1:8700 HEAD"):
        assert example in EXAMPLES
        assert example in done.stdout
