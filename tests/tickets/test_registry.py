"""Registries: one decorator, one lookup and one sentence for data sets, architectures, criteria, probes and signs."""

import pytest

from tickets.registry import Registered, Registry, UnknownNameError, unknown


def known_colours() -> Registry[Registered]:
    colours: Registry[Registered] = Registry("colour", Registered)

    @colours.register("red", version=2)
    def red() -> str:
        return "#f00"

    return colours


def test_a_registered_function_is_found_by_its_name_and_version() -> None:
    assert known_colours().find("red", 2).function() == "#f00"


@pytest.mark.parametrize(
    ("name", "version", "sentence"),
    [
        ("rad", 2, "no colour rad of version 2 is registered; did you mean red, or is its --plugin missing?"),
        ("blue", 1, "no colour blue of version 1 is registered; name its --plugin, or one of red"),
        ("red", 1, "no colour red of version 1 is registered, but version 2; name the --plugin that has version 1"),
    ],
)
def test_a_name_that_is_not_registered_is_refused_with_the_remedy(name: str, version: int, sentence: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        known_colours().find(name, version)
    assert str(error.value) == sentence


def test_the_nearest_names_are_shown_with_their_prefix() -> None:
    assert unknown("field", "lr", ["lrs", "momentum"], "optimizer.") == (
        "unknown field 'optimizer.lr'; did you mean optimizer.lrs?"
    )
    assert unknown("field", "x", ["b", "a"]) == "unknown field 'x'; known: a, b"
