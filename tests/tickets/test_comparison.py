"""Comparisons of tickets in memory, against numbers counted by hand and against a store's comparisons."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
import tickets
from analysis.figures import comparison_figure
from analysis.signs import bits
from analysis.signs.tickets_compared import COLUMNS
from tests.tickets.networks import PROVENANCE, network, networks, random_masks, ticket_of
from tickets import Role, SignedTensor, Ticket


def ticket(**layers: tuple[list[int], list[int]]) -> Ticket:
    """A ticket of layers given by name as (signs, positions of surviving zeros)."""
    tensors = {}
    for name, (signs, zeros) in layers.items():
        sign = torch.tensor(signs, dtype=torch.int8)
        mask = sign != 0
        mask[zeros] = True
        tensors[f"{name}.weight"] = SignedTensor(Role.PRUNABLE, sign, mask)
    head = torch.tensor([1, -1], dtype=torch.int8)
    return Ticket({**tensors, "head.weight": SignedTensor(Role.CLASSIFIER, head, head != 0)}, PROVENANCE)


def row(frame: pd.DataFrame, tensor: str | None) -> dict[str, object]:
    [record] = frame[frame["tensor"].isna() if tensor is None else frame["tensor"] == tensor].to_dict("records")
    return {str(name): value for name, value in record.items()}


def test_counts_and_chance_are_as_counted_by_hand() -> None:
    frame = analysis.compare(
        {
            "one": ticket(a=([1, 1, 1, -1], []), b=([-1, -1, 0, 0], [])),
            "two": ticket(a=([1, 1, -1, 1], []), b=([-1, 0, -1, 0], [])),
        }
    )
    assert tuple(frame.columns) == COLUMNS
    assert frame["tensor"].tolist()[1:] == ["a.weight", "b.weight"]  # never the classifier
    a, b, total = row(frame, "a.weight"), row(frame, "b.weight"), row(frame, None)
    assert (a["common"], a["union"], a["signed"], a["equal"], a["flipped"]) == (4, 4, 4, 2, 2)
    # shares of plus 3/4 and 3/4: 9/16 + 1/16 equal by chance
    assert a["chance_agreement_percent"] == pytest.approx(62.5)
    assert (a["agreement_percent"], a["flipped_percent"], a["overlap_percent"]) == (50.0, 50.0, 100.0)
    assert (b["common"], b["union"], b["signed"], b["equal"]) == (1, 3, 1, 1)
    # 2 * 2 / 4 = 1 in common by chance, of 2 + 2 - 1
    assert b["chance_overlap_percent"] == pytest.approx(100 / 3)
    assert (total["common"], total["union"], total["signed"], total["equal"]) == (5, 7, 5, 3)
    # a: 2.5 equal by chance; b: one minus in both, so 1; in common 4 + 1 of 6 + 6 - 5
    assert total["chance_agreement_percent"] == pytest.approx(100 * 3.5 / 5)
    assert total["chance_overlap_percent"] == pytest.approx(100 * 5 / 7)
    assert (total["density"], total["other_density"]) == (0.75, 0.75)


def test_a_surviving_zero_is_alive_and_has_no_sign() -> None:
    layer = row(analysis.compare({"one": ticket(a=([1, 0, -1, 0], [1])), "two": ticket(a=([1, 1, 0, 0], [2]))}), None)
    assert (layer["common"], layer["union"], layer["signed"], layer["equal"], layer["flipped"]) == (3, 3, 1, 1, 0)


def test_a_share_of_no_weights_is_missing() -> None:
    layer = row(analysis.compare({"one": ticket(a=([1, 0], [])), "two": ticket(a=([0, 1], []))}), "a.weight")
    assert layer["overlap_percent"] == 0
    assert np.isnan([layer["agreement_percent"], layer["chance_agreement_percent"], layer["flipped_percent"]]).all()


def test_every_two_are_compared_in_their_order_and_layers_in_the_networks() -> None:
    each = {name: ticket(z=([1, -1], []), a=([1, 1], [])) for name in ("c", "a", "b")}
    frame = analysis.compare(each)
    pairs = frame[["ticket", "other_ticket"]].drop_duplicates().values.tolist()
    assert pairs == [["c", "a"], ["c", "b"], ["a", "b"]]
    assert frame["tensor"].tolist()[4:6] == ["z.weight", "a.weight"]
    assert (frame["agreement_percent"] == 100).all()


def test_the_order_of_tensors_does_not_matter() -> None:
    one, two = ticket(a=([1, -1], []), b=([1, 0], [])), ticket(b=([1, 0], []), a=([1, -1], []))
    frame = analysis.compare({"one": one, "two": two})
    assert (frame["agreement_percent"] == 100).all()
    assert (frame["overlap_percent"] == 100).all()


def test_tickets_of_different_networks_are_named() -> None:
    one = ticket(a=([1], []))
    with pytest.raises(ValueError, match=r"x and y are not of one network: y has no a\.weight; nearest: aa"):
        analysis.compare({"x": one, "y": ticket(aa=([1], []))})
    with pytest.raises(ValueError, match=r"y and x are not of one network: x has no b\.weight"):
        analysis.compare({"x": one, "y": ticket(a=([1], []), b=([1], []))})
    with pytest.raises(ValueError, match=r"a\.weight has shape \(1,\) and \(2,\)"):
        analysis.compare({"x": one, "y": ticket(a=([1, 1], []))})
    with pytest.raises(ValueError, match="at least two tickets"):
        analysis.compare({"x": one})


def with_pruned_head(one: Ticket, signs: list[int]) -> Ticket:
    """The ticket with its classifier pruned too, as other projects do."""
    sign = torch.tensor(signs, dtype=torch.int8)
    return replace(one, tensors={**one.tensors, "head.weight": SignedTensor(Role.PRUNABLE, sign, sign != 0)})


def test_a_layer_prunable_in_one_ticket_only_is_dense_in_the_other_and_in_no_total() -> None:
    ours, other = ticket(a=([1, 1, 0, 0], [])), ticket(a=([1, 0, -1, 0], []))
    theirs = with_pruned_head(ours, [0, -1])
    frame = analysis.compare({"ours": ours, "theirs": theirs, "other": other})
    for pair in (("ours", "theirs"), ("theirs", "other")):
        rows = frame[(frame["ticket"] == pair[0]) & (frame["other_ticket"] == pair[1])]
        assert rows[["tensor", "in_total"]].values.tolist()[1:] == [["a.weight", True], ["head.weight", False]]
        head, total = row(rows, "head.weight"), row(rows, None)
        assert (head["common"], head["union"], head["signed"], head["equal"]) == (1, 2, 1, 1)
        assert head["overlap_percent"] == head["chance_overlap_percent"] == 50
        assert (total["in_total"], total["weights"], total["density"], total["other_density"]) == (True, 4, 0.5, 0.5)
    # where neither prunes it, it is no layer, whoever else is compared
    alone = analysis.compare({"ours": ours, "other": other})
    rows = frame[(frame["ticket"] == "ours") & (frame["other_ticket"] == "other")].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, alone)


def test_a_tensor_missing_from_one_of_three_tickets_is_named() -> None:
    ours = ticket(a=([1, 1], []))
    theirs = with_pruned_head(ours, [0, -1])
    headless = replace(ours, tensors={"a.weight": ours.tensors["a.weight"]})
    with pytest.raises(ValueError, match=r"theirs and headless are not of one network: headless has no head\.weight"):
        analysis.compare({"ours": ours, "theirs": theirs, "headless": headless})
    dense = replace(ours.tensors["a.weight"], role=Role.CLASSIFIER)
    with pytest.raises(ValueError, match="ours and head have no prunable layer in common"):
        analysis.compare({"ours": ours, "head": replace(theirs, tensors={**theirs.tensors, "a.weight": dense})})


@settings(max_examples=20)
@given(networks(), st.sampled_from(["", "net.", "a.b."]), st.sampled_from(["", "model.", "module."]))
def test_a_common_prefix_of_all_names_is_no_difference(drawn: Ticket, one: str, other: str) -> None:
    first, second = (
        replace(drawn, tensors={prefix + name: tensor for name, tensor in drawn.tensors.items()})
        for prefix in (one, other)
    )
    same = analysis.compare({"x": first, "y": first})
    pd.testing.assert_frame_equal(analysis.compare({"x": first, "y": second}), same)


@settings(max_examples=20)
@given(networks())
def test_a_ticket_in_memory_has_the_bits_of_its_file(tmp_path_factory: pytest.TempPathFactory, drawn: Ticket) -> None:
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    tickets.save(drawn, path)
    [total] = analysis.compare({"a": drawn, "b": drawn}).query("tensor.isna()").to_dict("records")
    stored = bits.read_ticket(path)
    expected = pd.DataFrame(bits.compare(stored, stored), columns=list(bits.COUNTS))[
        np.array(stored.roles) == "prunable"
    ].sum()
    assert total["common"] == expected["common"]
    assert total["signed"] == expected["both_positive"] + expected["both_negative"]
    assert total["weights"] == expected["weights"]


def random_tickets(count: int) -> dict[str, Ticket]:
    torch.manual_seed(0)
    by_name = {}
    for number in range(count):
        model = network()
        by_name[f"<b>{number}"] = ticket_of(model, random_masks(model))
    return by_name


@pytest.mark.parametrize(("count", "lines", "maps"), [(2, 4, 0), (3, 12, 2), (5, 0, 2)])
def test_the_figure_draws_the_frames_numbers(count: int, lines: int, maps: int) -> None:
    frame = analysis.compare(random_tickets(count))
    figure = comparison_figure(frame)
    scatters = [trace for trace in figure.data if trace.type == "scatter"]
    heats = [trace for trace in figure.data if trace.type == "heatmap"]
    assert (len(scatters), len(heats)) == (lines, maps)
    pair = frame[(frame["ticket"] == "<b>0") & (frame["other_ticket"] == "<b>1")]
    layers = pair[pair["tensor"].notna()]
    if lines:
        assert list(scatters[0].x) == ["0.weight", "2.weight", "5.weight"]
        assert list(scatters[0].y) == layers["overlap_percent"].tolist()
        assert list(scatters[1].y) == layers["chance_overlap_percent"].tolist()
    if maps:
        grid = np.array(heats[1].z, float)
        assert grid[0, 1] == grid[1, 0] == pair["agreement_percent"].iloc[0]
        assert np.isnan(grid.diagonal()).all()
        assert len(list(combinations(range(count), 2))) * 2 == np.isfinite(grid).sum()
        assert next(iter(heats[0].x)) == "&lt;b&gt;0"
    assert "<b>0 and <b>1 share" in figure.layout.meta["summary"]


def test_a_report_does_not_load_pytorch() -> None:
    code = "import sys, analysis; print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
