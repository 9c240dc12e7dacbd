"""A data set of a plugin whose function raises, exits or returns something else: one sentence with its place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.registries import registries_kept
from workers.data import Arrays, DataError, Source, data_set, find_source, open_data

LABELS = np.zeros(2, np.int64)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with registries_kept():
        yield


def failing(error: BaseException) -> Callable[..., Any]:
    def raises(*_: object) -> Any:
        raise error

    return raises


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (failing(SystemExit(3)), "SystemExit: 3"),
        (failing(IndexError("list index out of range")), "IndexError: list index out of range"),
        (failing(FileNotFoundError(2, "No such file", "x")), "its files cannot be read"),
        (failing(DataError("give --data-root")), "give --data-root"),
        (lambda *_: None, "returns a NoneType, and no Source"),
        (lambda *_: Source("x", 5, failing(KeyError())), "no Source with a text as fingerprint"),  # type: ignore[arg-type]
    ],
)
def test_a_function_that_finds_no_source(tmp_path: Path, function: Any, sentence: str) -> None:
    data_set("own", channels=1, num_classes=1)(function)
    with pytest.raises(DataError, match=sentence) as raised:
        find_source("own", None, tmp_path)
    assert "\n" not in str(raised.value)
    if "returns" in sentence or "Exit" in sentence:
        assert str(raised.value).startswith(f"own: {__file__}, ")


@pytest.mark.parametrize(
    ("decode", "sentence"),
    [
        (failing(SystemExit(3)), "SystemExit: 3"),
        (failing(KeyError("x")), "KeyError: 'x'"),
        (lambda: sys.exit(), "SystemExit:"),
        (lambda: None, "decode gives a NoneType; give Arrays of NumPy"),
        (lambda: Arrays([], LABELS, [], LABELS), "decode gives a Arrays; give Arrays of NumPy"),
    ],
)
def test_a_decoding_that_gives_no_arrays(tmp_path: Path, decode: Any, sentence: str) -> None:
    data_set("own", channels=1, num_classes=1)(lambda *_: Source("x", "own-1", decode))
    with pytest.raises(DataError, match=sentence):
        open_data("own", "own-1", None, tmp_path)
    assert not list(tmp_path.glob("own-own-1"))
