"""Zoos pushed to a hub and loaded from it, with huggingface_hub, against a server that speaks the hub's interface.

Every process has the address of that server before it imports huggingface_hub, and may reach loopback only.
"""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tickets
from tests.support.hubs.forked_commands import LOAD, Commands, forked_commands
from tests.support.hubs.model_hub import TOKEN, ModelHub

pytestmark = pytest.mark.slow(seconds=30)

NAME = "someone/zoo"
PLACE = f"hub:{NAME}/aws/chain1/round02"


@dataclass
class User:
    """Somebody at another machine, with a home of their own."""

    commands: Commands
    hub: ModelHub
    home: Path

    def run(self, *words: object, stdin: str = os.devnull, **environment: str) -> tuple[int, str, str]:
        """Run ``winning-sign tickets``; return the exit code, stdout and stderr."""
        ours = {"HF_ENDPOINT": self.hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        return self.commands.run(list(map(str, words)), self.home, {**ours, **environment}, stdin)

    def load(self, place: str, **environment: str) -> str:
        """Load a ticket; return its stage's key, or the error."""
        status, out, errors = self.run(LOAD, place, **environment)
        assert status == 0, errors
        return out.strip()


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with forked_commands() as started:
        yield started


@pytest.fixture
def user(commands: Commands, hub: ModelHub, tmp_path: Path) -> User:
    return User(commands, hub, tmp_path / "user")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_pushed_zoo_is_loaded_elsewhere_checked_cached_and_offline(
    user: User, hub: ModelHub, zoo: Path, tmp_path: Path
) -> None:
    status, out, errors = user.run("push", zoo, NAME, "--yes")
    assert status == 0, errors
    assert "Warning" not in errors
    [_, first] = hub.repos[NAME].commits
    assert {path: content for path, content in first[1].items() if path != ".gitattributes"} == files(zoo)
    assert not hub.repos[NAME].private
    assert f"Uploaded: {hub.url}/{NAME}/commit/{first[0]}" in out

    elsewhere, expected = (
        User(user.commands, hub, tmp_path / "elsewhere"),
        tickets.load(f"zoo:{zoo}/aws/chain1/round02"),
    )
    key = expected.provenance.stage_key
    assert elsewhere.load(PLACE, HF_TOKEN="") == key
    downloaded = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert {line.rpartition("/")[2] for line in downloaded} == {"SHA256SUMS", "index.parquet", "ticket.parquet"}
    asked = len(hub.asked)
    assert elsewhere.load(PLACE) == key
    assert not [line for line in hub.asked[asked:] if line.startswith("GET") and "/resolve/" in line]  # from the cache
    asked = len(hub.asked)
    assert elsewhere.load(PLACE, HF_HUB_OFFLINE="1") == key
    other = elsewhere.load(f"hub:{NAME}/lrr/chain1/round02", HF_HUB_OFFLINE="1")
    assert "lrr/chain1/round02/ticket.parquet is not in the cache" in other
    assert "HF_HUB_OFFLINE is set; load it once without" in other
    assert hub.asked[asked:] == []

    # a cached file that somebody changed
    [cached] = (elsewhere.home / "hf").rglob("snapshots/*/patterns/resnet1d/aws/chain1/round02/ticket.parquet")
    cached.resolve().write_bytes((zoo / "patterns/resnet1d/aws/chain2/round02/ticket.parquet").read_bytes())
    assert f"{cached} is not the file that hub:{NAME} lists: its SHA-256 differs" in elsewhere.load(PLACE)


def test_a_hub_that_serves_another_ticket_than_its_index_lists_is_refused(user: User, hub: ModelHub, zoo: Path) -> None:
    hub.create(NAME, files(zoo))
    path = "patterns/resnet1d/aws/{}/round02/ticket.parquet"
    hub.tampered[path.format("chain1")] = (zoo / path.format("chain2")).read_bytes()
    assert "its SHA-256 differs" in user.load(PLACE)


def test_a_commit_is_loaded_as_it_was(user: User, hub: ModelHub, zoo: Path) -> None:
    repo = hub.create(NAME, files(zoo))
    first = repo.commits[-1][0]
    repo.commit({"README.md": b"no zoo any more"})
    assert "the repository has no SHA256SUMS, so it is no whole zoo" in user.load(PLACE)
    place = f"hub:{NAME}@{first}/aws/chain1/round02"
    assert user.load(place) == tickets.load(f"zoo:{zoo}/aws/chain1/round02").provenance.stage_key
    assert "the repository has no such revision" in user.load(f"hub:{NAME}@v9/aws/chain1/round02")


@pytest.mark.parametrize(
    ("place", "environment", "sentence"),
    [
        ("hub:someone/none/x", {}, "has no such repository, or this login may not use it"),
        ("hub:nothing", {}, "hub:nothing names no repository; give hub:OWNER/REPOSITORY"),
        ("hub:a/b/c", {"HF_ENDPOINT": "{hub}/no-hub"}, "/no-hub does not answer as a hub does, and SHA256SUMS is not"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(user: User, place: str, environment: dict[str, str], sentence: str) -> None:
    said = user.load(place, **{name: value.format(hub=user.hub.url) for name, value in environment.items()})
    assert sentence in said
    assert "\n" not in said


def test_push_says_what_will_be_public_and_asks(user: User, hub: ModelHub, zoo: Path) -> None:
    status, out, errors = user.run("push", zoo, NAME)
    assert (status, hub.repos) == (2, {})
    assert "add --yes" in errors
    for path, content in files(zoo).items():
        assert f"{len(content):,} bytes  {path}\n" in out
    assert f"15 files, {sum(map(len, files(zoo).values())):,} bytes, to {hub.url}/{NAME} (new)" in out
    assert "PUBLIC: everybody can read it" in out
    for answer, uploaded in (("n", False), ("y", True)):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        status, out, errors = user.run("push", zoo, NAME, "--private", stdin=os.ttyname(theirs))
        os.close(ours)
        os.close(theirs)
        assert (status, NAME in hub.repos) == ((0, True) if uploaded else (1, False)), errors
        assert "private: only" in out
        assert ("Nothing was uploaded." in out) is not uploaded
    assert hub.repos[NAME].private


def test_a_later_push_replaces_the_zoo_and_keeps_what_is_not_of_it(user: User, hub: ModelHub, zoo: Path) -> None:
    old = "patterns/resnet1d/old/ticket.parquet"
    content = {**files(zoo), old: b"old", "figure.png": b"theirs"}
    content["SHA256SUMS"] += f"{'0' * 64}  {old}\n".encode()
    hub.create(NAME, content)
    status, out, errors = user.run("push", zoo, NAME, "--yes")
    assert status == 0, errors
    assert f"removed  {old}\n" in out
    assert hub.repos[NAME].files.keys() == {*files(zoo), ".gitattributes", "figure.png"}
    assert hub.repos[NAME].files["SHA256SUMS"] == files(zoo)["SHA256SUMS"]
    commits = len(hub.repos[NAME].commits)
    assert user.run("push", zoo, NAME, "--yes")[0] == 0  # nothing has changed
    assert len(hub.repos[NAME].commits) == commits


def test_push_refuses_what_it_should_not_do(user: User, hub: ModelHub, zoo: Path) -> None:
    hub.create("someone/model", {"model.safetensors": b"weights"})
    of_theirs = f"{'0' * 64}  model.safetensors\n".encode()
    hub.create("someone/sums", {"model.safetensors": b"weights", "SHA256SUMS": of_theirs})
    hub.create("someone/public", files(zoo))
    (zoo / "mine.txt").write_text("not in the checksums, so not pushed")
    for words, environment, sentence in (
        ((zoo, "someone/model"), {}, "hub:someone/model holds model.safetensors and no zoo"),
        ((zoo, "someone/sums"), {}, "hub:someone/sums holds SHA256SUMS and no zoo"),
        ((zoo, "someone/public", "--private"), {}, "hub:someone/public exists and is public"),
        ((zoo, "someone/new/x"), {}, "give OWNER/REPOSITORY alone"),
        ((zoo.parent, "someone/new"), {}, "is no zoo; make one with winning-sign tickets publish"),
        ((zoo, "someone/new"), {"HF_TOKEN": ""}, "log in with hf auth login"),
        ((zoo, "someone/new"), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set; unset it"),
    ):
        status, _, errors = user.run("push", *words, "--yes", **environment)
        assert (status, errors.count("\n")) == (2, 1), errors
        assert sentence in errors
    index = zoo / "index.parquet"
    index.write_bytes(index.read_bytes()[:-1])
    status, _, errors = user.run("push", zoo, "someone/new", "--yes")
    assert (status, "its SHA-256 differs" in errors) == (2, True)
    assert hub.repos.keys() == {"someone/model", "someone/sums", "someone/public"}
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())
