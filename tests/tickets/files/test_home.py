"""The home folder: where it is known, and the sentence where it is not, as in a container of an unknown user."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.signs.cache import Cache
from tickets.files.home import NoHomeError, expanded, user_cache
from workers.data import DataError, default_cache
from workers.storage import StorageError, open_storage


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)


def test_the_cache_lies_in_the_home_folder_or_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_cache() == Path("/home/user/.cache/winning-sign")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/else")
    assert user_cache() == Path("/home/user/else/winning-sign")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_each_user_of_it_says_so() -> None:
    with pytest.raises(NoHomeError, match="set HOME or XDG_CACHE_HOME"):
        user_cache()
    with pytest.raises(NoHomeError, match="~/x: there is no such home folder; give the whole path"):
        expanded("~/x")
    with pytest.raises(DataError, match="give --data-cache"):
        default_cache()
    cache = Cache("tickets")
    cache.put("name", 1)
    assert cache.get("name") is None


def test_a_store_may_begin_with_a_tilde_and_must_be_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    assert open_storage("~/x").root == open_storage(Path("~/x")).root == "/home/user/x"
    monkeypatch.setenv("HOME", "/home/us\udce9r")
    with pytest.raises(StorageError, match="not UTF-8"):
        open_storage("~/x")
