"""Flips, agreement and chance of tickets of 3 to 6 weights, against numbers counted by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from analysis import Frames, load
from analysis.figures import density_by_layer, sign_agreement, sign_flips
from analysis.figures.signs.layers_by_round import short_names
from analysis.frames.columns import LABELS
from analysis.signs.cache import Cache
from orchestrator.store import StoreError
from orchestrator.store.record import Record

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

Signs = dict[str, list[int]]
FRAMES = ("tickets", "flips", "agreement")
LAYER = "layer.weight"


def add(store: SyntheticStore, signs: Signs | list[int], zeros: list[int] | None = None, **labels: Any) -> str:
    """Commit a ticket; a list is that of one layer."""
    signs = signs if isinstance(signs, dict) else {LAYER: signs}
    table = store.ticket(signs, zeros={LAYER: zeros or []})
    labels = {"method": "aws", "chain": 1, **labels}
    kind = "round" if labels["round"] else "pretrain"
    return store.stage(kind, labels, {"density": 0.8 ** labels["round"]}, files={"ticket.parquet": table})


def only(frame: pd.DataFrame, **where: object) -> dict[str, Any]:
    """Return the single row with these values."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    [row] = frame.to_dict("records")
    return {str(name): value for name, value in row.items()}


def ticket_files(store: SyntheticStore) -> list[Path]:
    return sorted(store.root.glob("stages/*/*/out/ticket.parquet"))


@pytest.fixture
def chain(store: SyntheticStore) -> SyntheticStore:
    """Two layers over rounds 0 to 2; of the common survivors 1 of 4 flips in round 1, and none in round 2."""
    add(store, {"a.weight": [1, -1, 1], "b.weight": [1, 1, -1]}, round=0)
    add(store, {"a.weight": [-1, -1, 1], "b.weight": [0, 1, 0]}, round=1)
    add(store, {"a.weight": [-1, 0, 1], "b.weight": [0, 0, 0]}, round=2)
    return store


def test_flips_are_counted_layer_by_layer_among_common_survivors(chain: SyntheticStore) -> None:
    frame = load(chain.root).flips
    found = frame[["round", "tensor", "common", "signed", "flipped"]].values.tolist()
    assert found == [
        [1, "a.weight", 3, 3, 1],
        [1, "b.weight", 1, 1, 0],
        [2, "a.weight", 2, 2, 0],
        [2, "b.weight", 0, 0, 0],
    ]
    assert frame["flipped_percent"].tolist() == pytest.approx([100 / 3, 0.0, 0.0, float("nan")], nan_ok=True)
    assert frame["density"].tolist() == pytest.approx([4 / 6, 4 / 6, 2 / 6, 2 / 6])
    assert frame["method"].tolist() == ["aws"] * 4


def test_rounds_are_compared_with_the_one_before_and_with_the_last(chain: SyntheticStore) -> None:
    frame = load(chain.root).agreement
    pairs = frame[["pair", "round", "other_round"]].values.tolist()
    assert sorted(pairs) == [
        ["rounds_last", 0, 2],
        ["rounds_last", 1, 2],
        ["rounds_previous", 1, 0],
        ["rounds_previous", 2, 1],
    ]
    row = only(frame, pair="rounds_previous", round=1)
    assert (row["common"], row["union"], row["signed"], row["equal"]) == (4, 6, 4, 3)
    assert (row["agreement_percent"], row["overlap_percent"]) == pytest.approx((75.0, 100 * 4 / 6))
    assert (row["density"], row["other_density"]) == pytest.approx((4 / 6, 1.0))


def test_chance_is_worked_out_in_each_layer_before_it_is_summed(store: SyntheticStore) -> None:
    add(store, {"a.weight": [1, 1, 1, -1], "b.weight": [-1, -1, 0, 0]}, chain=1, round=0)
    add(store, {"a.weight": [1, 1, -1, 1], "b.weight": [-1, 0, -1, 0]}, chain=2, round=0)
    row = only(load(store.root).agreement)
    assert (row["pair"], row["chain"], row["other_chain"]) == ("chains", 1, 2)
    assert (row["signed"], row["equal"]) == (5, 3)
    # a: shares of plus 3/4 and 3/4, so 4 * (9/16 + 1/16) = 2.5 equal by chance; b: one minus in both, so 1
    assert row["chance_agreement_percent"] == pytest.approx(100 * 3.5 / 5)
    assert (row["common"], row["union"]) == (5, 7)
    # a: all 4; b: 2 * 2 / 4 = 1 in common by chance; 5 of 6 + 6 - 5
    assert row["chance_overlap_percent"] == pytest.approx(100 * 5 / 7)


def test_a_surviving_zero_is_alive_and_has_no_sign(store: SyntheticStore) -> None:
    add(store, [1, 0, -1, 0], zeros=[1], round=0)
    add(store, [1, 1, 0, 0], zeros=[2], round=1)
    frames = load(store.root)
    row = only(frames.flips)
    assert (row["common"], row["signed"], row["flipped"], row["flipped_percent"]) == (3, 1, 0, 0.0)
    row = only(frames.agreement, pair="rounds_previous")
    assert (row["common"], row["union"], row["signed"], row["equal"]) == (3, 3, 1, 1)
    assert (row["density"], row["overlap_percent"]) == (0.75, 100.0)
    assert frames.tickets["surviving"].tolist() == [3, 3]


def test_only_prunable_layers_are_compared(store: SyntheticStore) -> None:
    for round_ in (0, 1):
        table = store.ticket({"conv": [1, 0], "head": [1 - 2 * round_, 1]})
        table = table.set_column(2, "role", [["prunable", "classifier"]])
        labels = {"method": "aws", "chain": 1, "round": round_}
        store.stage("round", labels, {}, files={"ticket.parquet": table})
    frames = load(store.root)
    assert frames.flips["tensor"].tolist() == ["conv"]
    assert frames.agreement["signed"].tolist() == [1, 1]
    assert frames.tickets["tensor"].tolist() == ["conv", "head"] * 2


def test_chains_and_methods_are_compared_at_the_same_round(store: SyntheticStore) -> None:
    for method in ("lrr", "aws"):
        for number in (1, 2, 3):
            for round_ in (0, 1):
                add(store, [1, 1, -1], method=method, chain=number, round=round_)
    frame = load(store.root).agreement
    assert frame["pair"].value_counts().to_dict() == {
        "chains": 12,  # 3 pairs of chains, 2 methods, 2 rounds
        "methods": 6,
        "rounds_previous": 6,
        "rounds_last": 6,
    }
    methods = frame[frame["pair"] == "methods"]
    assert set(zip(methods["method"], methods["other_method"], strict=True)) == {("aws", "lrr")}
    assert (methods["chain"] == methods["other_chain"]).all()
    chains = frame[frame["pair"] == "chains"]
    assert (chains["round"] == chains["other_round"]).all()
    assert (chains["chain"] < chains["other_chain"]).all()


def test_a_chain_on_its_way_has_no_pair_with_the_last_round(store: SyntheticStore) -> None:
    for number, last in ((1, 2), (2, 1)):
        for round_ in range(last + 1):
            add(store, [1, -1, 1], chain=number, round=round_)
    frame = load(store.root).agreement
    assert set(frame.loc[frame["pair"] == "rounds_last", "chain"]) == {1}


def test_superseded_tickets_are_counted_and_never_compared(store: SyntheticStore) -> None:
    for epochs, signs in ((1, [1, 1, 1]), (2, [1, 1, -1])):
        table = store.ticket({LAYER: signs})
        for round_ in (0, 1):
            kind = "round" if round_ else "pretrain"
            labels = {"method": "aws", "chain": 1, "round": round_}
            store.stage(kind, labels, {}, files={"ticket.parquet": table}, science={"epochs": epochs})
    frames = load(store.root)
    assert sorted(frames.tickets["superseded"]) == [False, False, True, True]
    assert set(frames.agreement["key"]) <= set(frames.stages.loc[~frames.stages["superseded"], "key"])
    assert frames.flips["flipped"].tolist() == [0]


def test_settings_are_never_compared(store: SyntheticStore) -> None:
    for dataset, length in (("digits", 3), ("letters", 4)):
        add(store, [1] * length, dataset=dataset, round=0, chain=len(dataset))
    assert load(store.root).agreement.empty


def test_compared_tickets_are_not_read_again(chain: SyntheticStore) -> None:
    first = load(chain.root)
    for path in ticket_files(chain):
        path.unlink()
    second = load(chain.root)
    for name in FRAMES:
        assert not getattr(first, name).empty
        assert_frame_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("damage", [b"", b"no digest", b"\xff\xfe\x00", None])
def test_a_damaged_cache_file_is_rebuilt(chain: SyntheticStore, tmp_path: Path, damage: bytes | None) -> None:
    first = load(chain.root)
    kept = [path for path in (tmp_path / "user-cache").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in kept}
    assert len(kept) == 3 + 4  # every ticket, and every pair
    for path in kept:
        whole = before[path].decode()
        path.write_bytes(whole.replace("0", "1").encode() if damage is None else damage)
    second = load(chain.root)
    for name in FRAMES:
        assert_frame_equal(getattr(first, name), getattr(second, name))
    assert {path: path.read_bytes() for path in kept} == before


def test_an_unwritable_cache_only_costs_time(
    chain: SyntheticStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(chain.root)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_frame_equal(load(chain.root).flips, first.flips)


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    cache = Cache("tickets", tmp_path)
    counts = [[1] * 8] * 2000

    def write_and_read(_: int) -> bool:
        cache.put("one two", counts)
        return cache.get("one two") == counts

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write_and_read, range(64)))
    assert len([path for path in cache.folder.rglob("*") if path.is_file()]) == 1


def test_two_machines_tickets_of_one_key_are_told_apart(store: SyntheticStore, tmp_path: Path) -> None:
    """The same stages on other hardware round differently: their keys are equal, and their tickets are not."""
    other = type(store)(tmp_path / "other")
    for where, flipped, content in ((store, 1, "aa"), (other, -1, "bb")):
        for round_, signs in enumerate(([1, 1, 1], [flipped, 1, 1])):
            add(where, signs, round=round_)
        for path in where.root.glob("stages/round/*/record.json"):
            record = Record.model_validate_json(path.read_text())
            files = {name: replace(file, blake2b=content) for name, file in record.files.items()}
            path.write_text(record.model_copy(update={"files": files}).sealed().model_dump_json())
    assert load(store.root).flips["flipped"].tolist() == [0]
    assert load(other.root).flips["flipped"].tolist() == [1]


def test_a_damaged_ticket_is_named(chain: SyntheticStore) -> None:
    ticket_files(chain)[0].write_bytes(b"PAR1 torn")
    with pytest.raises(StoreError, match=r"ticket\.parquet is no readable ticket"):
        load(chain.root)


def test_a_surviving_zero_beyond_the_end_is_no_ticket(store: SyntheticStore) -> None:
    add(store, [1, 0, 1], zeros=[3], round=0)
    with pytest.raises(StoreError, match="surviving_zeros names a position that does not exist"):
        load(store.root)


def test_networks_of_two_shapes_under_one_label_are_refused(store: SyntheticStore) -> None:
    add(store, [1, 1, 1], round=0)
    add(store, [1, 1, 1, 1], round=1)
    with pytest.raises(StoreError, match="cannot be compared: their tensors differ"):
        load(store.root)


def test_layers_longer_than_a_word_are_counted_whole(store: SyntheticStore) -> None:
    add(store, {"a": [1] * 65, "b": [], "c": [-1] * 64}, round=0)
    add(store, {"a": [1] * 64 + [-1], "b": [], "c": [1] + [-1] * 63}, round=1)
    frame = load(store.root).flips.set_index("tensor")
    assert frame["signed"].to_dict() == {"a": 65, "b": 0, "c": 64}
    assert frame["flipped"].to_dict() == {"a": 1, "b": 0, "c": 1}


def test_a_store_without_tickets_has_empty_frames_and_figures(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    frames = load(store.root)
    for name in FRAMES:
        frame = getattr(frames, name)
        assert frame.empty
        assert set(LABELS) <= set(frame.columns)
    assert {"tensor", "flipped", "flipped_percent"} <= set(frames.flips.columns)
    assert {"pair", "agreement_percent", "chance_overlap_percent"} <= set(frames.agreement.columns)
    for figure in (sign_flips(frames), sign_agreement(frames), density_by_layer(frames)):
        assert not figure.data
        assert figure.layout.meta["summary"]


def test_without_tickets_nothing_is_read(chain: SyntheticStore) -> None:
    for path in ticket_files(chain):
        path.unlink()
    frames = load(chain.root, tickets=False)
    assert all(getattr(frames, name).empty for name in FRAMES)


@pytest.fixture
def two_chains(store: SyntheticStore) -> Frames:
    """Rounds 0 and 1; in round 1, layer a's signs flip at 1 of 2 in chain 1, and at 2 of 2 in chain 2; b's never."""
    for number, flipped in ((1, [1, -1]), (2, [-1, -1])):
        add(store, {"a.weight": [1, 1], "b.weight": [1, -1, 1]}, chain=number, round=0)
        add(store, {"a.weight": flipped, "b.weight": [1, -1, 0]}, chain=number, round=1)
    return load(store.root)


def test_the_map_of_flips_is_the_mean_over_chains_in_the_networks_order(two_chains: Frames) -> None:
    [trace] = sign_flips(two_chains).data
    assert (trace.name, trace.meta) == ("AWS", {"method": "aws"})
    assert (list(trace.x), list(trace.y)) == (["1"], ["a.weight", "b.weight"])
    assert [list(row) for row in trace.z] == [[75.0], [0.0]]
    text, density, keys = trace.customdata[0][0]
    assert "n = 2 chains" in text
    assert float(density) == pytest.approx(0.8)
    assert keys.split(",") == [key[:16] for key in two_chains.stages.loc[two_chains.stages["round"] == 1, "key"]]


def test_the_summary_of_flips_weights_every_sign_alike(two_chains: Frames) -> None:
    said = sign_flips(two_chains).layout.meta["summary"]
    assert "37.50 % in round 1" in said  # 1 of 4 and 2 of 4


def test_the_map_of_densities_has_every_round(two_chains: Frames) -> None:
    figure = density_by_layer(two_chains)
    [trace] = figure.data
    assert list(trace.x) == ["0", "1"]
    assert [list(row) for row in trace.z] == [[100.0, 100.0], [100.0, pytest.approx(66.6667)]]
    assert figure.layout.yaxis.autorange == "reversed"
    places = [place for place, _ in figure.layout.coloraxis.colorscale]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)


def test_agreement_is_drawn_against_density_with_chance_dotted(two_chains: Frames) -> None:
    figure = sign_agreement(two_chains)
    named = {trace.name: trace for trace in figure.data}
    assert set(named) == {
        name + more
        for name in ("AWS, with the previous round", "AWS, with the last round", "AWS, between chains")
        for more in ("", ": chance")
    }
    before = named["AWS, with the previous round"]
    assert (list(before.x), list(before.y)) == ([pytest.approx(0.8)], [pytest.approx(62.5)])  # 75 % and 50 %
    assert "n = 2 pairs in 2 chains" in before.customdata[0][0]
    assert "overlap of the masks 80.00 %" in before.customdata[0][0]
    chance = named["AWS, between chains: chance"]
    assert chance.line.dash == "dot"
    # round 0: a is all plus in both, so 2; b has 2/3 plus in both, so 3 * 5/9: 11/3 of 5. Round 1: 1 and 1 of 4
    assert list(chance.y) == [pytest.approx(100 * 11 / 15), pytest.approx(50.0)]
    assert list(named["AWS, between chains"].y) == [100.0, 75.0]


def test_pairs_of_chains_share_chains_and_so_have_no_interval(store: SyntheticStore) -> None:
    for number, signs in ((1, [1, 1, 1]), (2, [1, 1, -1]), (3, [1, -1, 1])):
        add(store, signs, chain=number, round=0)
    line, _ = sign_agreement(load(store.root)).data
    text, _, keys = line.customdata[0]
    assert list(line.y) == [pytest.approx(100 * 5 / 9)]  # of 2/3, 2/3 and 1/3: every pair counts once
    assert "n = 3 pairs in 3 chains" in text
    assert "95 %" not in text
    assert len(keys.split(",")) == 3


def test_methods_have_a_panel_each_and_sections_their_titles(store: SyntheticStore) -> None:
    for dataset in ("digits", "letters"):
        for method in ("lrr", "aws"):
            for round_ in (0, 1):
                add(store, [1, 1, -1], dataset=dataset, method=method, round=round_)
    figure = sign_flips(load(store.root))
    assert [title.text for title in figure.layout.annotations] == [
        "digits · tiny · sound: LRR",
        "digits · tiny · sound: AWS",
        "letters · tiny · sound: LRR",
        "letters · tiny · sound: AWS",
    ]


def test_hostile_layer_names_are_never_markup(store: SyntheticStore) -> None:
    for round_ in (0, 1):
        add(store, {"<img src=x>": [1, 1], "b": [1]}, round=round_)
    frames = load(store.root)
    for figure in (sign_flips(frames), density_by_layer(frames)):
        axis = figure.layout.yaxis
        for names in (figure.data[0].y, axis.tickvals, axis.ticktext):
            assert "b" in names
            assert not any("<" in name for name in names)


def test_layers_labels_are_short_and_keep_what_tells_them_apart() -> None:
    layers = ["features.0.0.weight", "features.1.conv.0.0.weight", "features.4.2.block.2.fc1.weight"]
    assert short_names(layers) == ["0.0", "1.conv.0.0", "4.2.bloc.2.fc1"]
    assert short_names(["conv1.weight", "blocks.1.shortcut.0.weight"]) == ["conv1", "bloc.1.shor.0"]
    assert short_names(["0123456789.0123456789.weight"]) == ["012345…456789"]
