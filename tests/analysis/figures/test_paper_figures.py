"""The paper's further figures draw the numbers that the frames and the user's file hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from analysis import load
from analysis.comparisons.labels import transfer_name
from analysis.figures import (
    accuracy_by_density,
    accuracy_by_start,
    against_published,
    barrier_curves,
    results_table,
    signs_flipped,
    signs_kept,
    signs_of_psi,
)
from analysis.frames.load import Frames
from analysis.frames.published.reading import PublishedError, read_published
from analysis.report import app, write_report

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

AT_10 = {"chain": 1, "round": 10}
HEADER = "dataset,architecture,series,density,accuracy_percent"


def titles(figure: go.Figure) -> list[str]:
    return [title.text for title in figure.layout.annotations]


def flipped(share: float) -> dict[str, object]:
    """The fields of a training whose transfer flips a share of the signs."""
    return {"epochs": 3, "transfer": {"signs": "ticket", "flip_fraction": share}}


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "published.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def with_psi(store: SyntheticStore, method: str, transfer: str) -> None:
    """Accuracies 80 and 82, a barrier of 3 points between SGD seeds and of 5 to the solution."""
    for seed, accuracy in ((1, 80.0), (2, 82.0)):
        store.train(transfer, accuracy, method=method, seed=seed, **AT_10)
    store.probe("stability", transfer, (20.0, 23.0, 20.0), method=method, seed=1, **AT_10)
    store.probe("lmc", transfer, (20.0, 26.0, 22.0), method=method, seed=1, **AT_10)


def test_signs_kept_has_a_row_per_measure_for_the_methods_that_kept_psi(sweep: SyntheticStore) -> None:
    with_psi(sweep, "lrr", "signed_psi_kept")
    figure = signs_kept(load(sweep.root))
    assert titles(figure) == [
        "LRR, test accuracy",
        "LRR, barrier between SGD seeds",
        "LRR, barrier to the solution",
    ]
    named = [trace.name for trace in figure.data]
    kept = "LRR signed transfer, ψ kept"
    assert named == ["LRR retrain", "LRR signed transfer", kept, *["LRR signed transfer", kept] * 2]
    accuracy, stability, lmc = (trace for trace in figure.data if trace.name == kept)
    assert (list(accuracy.y), list(stability.y), list(lmc.y)) == ([81.0], [3.0], [5.0])
    assert accuracy.error_y.array[0] == pytest.approx(2**0.5)
    assert "n = 2 trainings in 1 chain" in accuracy.customdata[0][0]
    assert "signed transfer, ψ kept 81.00 %" in figure.layout.meta["summary"]
    assert "barrier to the solution: signed transfer 32.00 points" in figure.layout.meta["summary"]


def test_signs_of_psi_puts_lrr_beside_aws(sweep: SyntheticStore) -> None:
    for method in ("aws", "lrr"):
        with_psi(sweep, method, "signed_psi_signs")
    figure = signs_of_psi(load(sweep.root))
    assert titles(figure)[:2] == ["LRR, test accuracy", "AWS, test accuracy"]
    assert len(titles(figure)) == 6
    assert {trace.meta["transfer"] for trace in figure.data} == {"signed", "signed_psi_signs"}
    with_both = [trace for trace in figure.data if trace.name == "AWS signed transfer, signs of ψ too"]
    assert [list(trace.y) for trace in with_both] == [[81.0], [3.0], [5.0]]


@pytest.mark.parametrize("draw", [accuracy_by_start, signs_kept, signs_of_psi, signs_flipped, against_published])
def test_figures_without_their_results_draw_nothing(sweep: SyntheticStore, draw: Callable[[Frames], go.Figure]) -> None:
    assert not draw(load(sweep.root)).data


def test_curves_near_a_density_and_apart_from_it_are_all_curves_once(sweep: SyntheticStore) -> None:
    frames = load(sweep.root)
    near, others = (barrier_curves(frames, "lmc", **{which: 0.09}) for which in ("near", "apart_from"))
    assert titles(near) == ["LRR, density 0.107", "AWS, density 0.107"]
    assert titles(others) == ["LRR, density 0.328", "AWS, density 0.328"]


def test_tickets_from_elsewhere_count_their_rounds_by_themselves(sweep: SyntheticStore) -> None:
    """The sweep's sparsest round is 10; theirs is 1, and holds as much as round 10 of ours."""
    theirs = {"method": "aws@theirs", "chain": 1, "round": 1, "seed": 1}
    sweep.train("signed", 33.0, **theirs)
    sweep.probe("lmc", "signed", (30.0, 36.0, 30.0), **theirs)
    frames = load(sweep.root)
    near, others = (barrier_curves(frames, "lmc", **{which: 0.09}) for which in ("near", "apart_from"))
    assert set(titles(near)) == {
        "LRR, density 0.107",
        "AWS, density 0.107",
        "AWS from theirs, density 0.8",
    }
    assert titles(others) == ["LRR, density 0.328", "AWS, density 0.328"]
    [table] = results_table(frames).data
    assert "AWS from theirs signed transfer" in table.cells["values"][0]
    assert "AWS signed transfer" in table.cells["values"][0]
    summary = accuracy_by_density(frames).layout.meta["summary"]
    assert "AWS from theirs signed transfer 33.00 % at density 0.8" in summary


def test_one_probed_density_leaves_no_others(store: SyntheticStore) -> None:
    store.probe("lmc", "signed", (30.0, 36.0, 30.0), method="aws", chain=1, round=1, seed=1)
    frames = load(store.root)
    assert barrier_curves(frames, "lmc", near=0.09).data
    assert not barrier_curves(frames, "lmc", apart_from=0.09).data


def test_signs_flipped_draws_the_share_that_the_record_says(store: SyntheticStore) -> None:
    for transfer, science, accuracies in (
        ("signed", flipped(0.0), (80.0, 82.0)),
        ("flipped_quarter", flipped(0.25), (70.0, 74.0)),
        ("nearly_all_flipped", flipped(0.9), (31.0, 31.0)),
        ("random_signs", flipped(0.0), (52.0, 50.0)),
        ("mask", flipped(0.0), (49.0, 49.0)),
    ):
        for seed, accuracy in enumerate(accuracies, start=1):
            store.train(transfer, accuracy, science, method="aws", seed=seed, **AT_10)
    store.train("signed", 90.0, flipped(0.0), method="aws", chain=1, round=5, seed=1)
    figure = signs_flipped(load(store.root))
    [line] = figure.data  # round 5 has no flipped signs, and no panel
    assert list(line.x) == [0.0, 0.25, 0.5, 0.9]
    assert np.asarray(line.y) == pytest.approx([81.0, 72.0, 51.0, 31.0])
    assert line.meta == {"method": "aws", "density": pytest.approx(0.8**10)}
    assert "half of them are expected to differ" in line.customdata[2][0]
    assert not any("expected" in line.customdata[point][0] for point in (0, 1, 3))
    assert "72.00 % at 0.25" in figure.layout.meta["summary"]


def with_control(store: SyntheticStore, start: str, round_: int, lrr: float, aws: float) -> None:
    """Two trainings of each method, a point more and a point less than these accuracies."""
    for method, accuracy in (("lrr", lrr), ("aws", aws)):
        for seed, gain in ((1, -1.0), (2, 1.0)):
            store.train(start, accuracy + gain, method=method, seed=seed, chain=1, round=round_)


def test_accuracy_by_start_ranks_all_starts_of_a_density_with_many(sweep: SyntheticStore) -> None:
    with_control(sweep, "shuffled", 10, 52.0, 56.0)
    with_control(sweep, "random_signs", 10, 40.0, 58.0)
    with_control(sweep, "shuffled", 5, 52.0, 56.0)  # four starts, which lines tell apart: no panel
    frames = load(sweep.root)
    figure = accuracy_by_start(frames)
    lrr, aws, dense = figure.data
    assert [trace.name for trace in figure.data] == ["LRR", "AWS", "dense"]
    drawn = [dict(zip(trace.y, trace.x, strict=True)) for trace in figure.data]
    assert drawn[0]["shuffled signed mask"] == 52.0
    assert (drawn[1]["random signs"], drawn[2]["dense"]) == (58.0, 72.0)
    assert lrr.error_x.array[list(lrr.y).index("random signs")] == pytest.approx(2**0.5)
    stages = frames.stages
    at_10 = stages[(stages["round"] == 10) & (stages["kind"] == "train") & ~stages["twin"].astype(bool)]
    means = at_10.groupby(["transfer", "method"])["test_accuracy_percent"].mean().groupby("transfer").mean()
    means["dense"] = 72.0
    ranked = [transfer_name(start) for start in means.sort_values().index]
    assert list(figure.layout.yaxis.categoryarray) == ranked  # plotly draws the first category at the bottom
    low, high = figure.layout.xaxis.range
    assert low < min(*lrr.x, *aws.x, *dense.x) - 1
    assert high > max(*lrr.x, *aws.x, *dense.x) + 1
    assert "0.107" in figure.layout.xaxis.title.text
    assert "AWS random signs 58.00 %" in figure.layout.meta["summary"]


def test_accuracy_by_start_keeps_the_order_of_the_sparsest_density(sweep: SyntheticStore) -> None:
    for round_, shuffled, random in ((10, 54.0, 49.0), (5, 5.0, 95.0)):
        with_control(sweep, "shuffled", round_, shuffled, shuffled)
        with_control(sweep, "random_signs", round_, random, random)
    figure = accuracy_by_start(load(sweep.root))
    assert titles(figure) == ["density 0.107", "density 0.328"]
    first, second = figure.layout.yaxis, figure.layout.yaxis2
    assert first.categoryarray == second.categoryarray
    assert first.categoryarray.index("random signs") < first.categoryarray.index("shuffled signed mask")
    assert [trace.meta["density"] for trace in figure.data] == pytest.approx([0.8**10] * 3 + [0.8**5] * 3)
    for trace in figure.data:  # the page's filter on density keeps dense networks
        assert [point[1] for point in trace.customdata] == [
            None if trace.name == "dense" else pytest.approx(trace.meta["density"]) for _ in trace.x
        ]


def test_accuracy_by_start_does_without_dense_networks_and_a_second_method(store: SyntheticStore) -> None:
    for start in ("retrain", "mask", "signed", "shuffled", "random_signs"):
        store.train(start, 50.0, method="aws", seed=1, chain=1, round=10)
    [line] = accuracy_by_start(load(store.root)).data
    assert line.name == "AWS"
    assert np.isnan(np.asarray(line.error_x.array)).all()


def test_published_series_stand_beside_ours_in_their_own_setting(sweep: SyntheticStore, tmp_path: Path) -> None:
    sweep.train("dense", 60.0, seed=1, architecture="wide")
    path = table(
        tmp_path,
        "digits,tiny,Their <b>method</b>,0.5,71.5,A paper & its table 1",
        "digits,tiny,Their <b>method</b>,0.1,66,",
        "digits,other,Their method,0.1,12,",
        header=f"{HEADER},source",
    )
    figure = against_published(load(sweep.root, published=path))
    [series] = [trace for trace in figure.data if trace.meta.get("published")]
    assert (list(series.x), list(series.y)) == ([0.1, 0.5], [66.0, 71.5])
    assert series.name == "Their &lt;b&gt;method&lt;/b&gt; (published)"
    assert "A paper &amp; its table 1" in series.customdata[1][0]
    assert "without a source" in series.customdata[0][0]
    [ours] = [trace for trace in figure.data if trace.name == "AWS signed transfer"]
    assert np.asarray(ours.y) == pytest.approx([62.0, 62.0])
    assert not titles(figure)  # one panel: the other architecture has no published series
    assert "66.00 % at density 0.1" in figure.layout.meta["summary"]


@pytest.mark.parametrize(
    ("header", "line", "named"),
    [
        ("dataset,architecture,series,density", "d,a,s,0.5", "line 1"),
        (f"{HEADER},colour", "d,a,s,0.5,60,red", "line 1"),
        (HEADER, "d,a,s,1.5,60", "line 3: density"),
        (HEADER, "d,a,s,nan,60", "line 3: density"),
        (HEADER, "d,a,s,0.5,about 60", "line 3: accuracy_percent"),
        (HEADER, "d,a,s,0.5,160", "line 3: accuracy_percent"),
        (HEADER, "d,a,,0.5,60", "line 3: series is empty"),
        (HEADER, "d,a,s,0.5", "line 3 has more or fewer"),
        (HEADER, "d,a,s,0.5,60,3", "line 3 has more or fewer"),
        (HEADER, "d,a,s,0.25,61", "line 3 gives the series and density of line 2 again"),
    ],
)
def test_a_bad_published_file_is_refused_with_its_line(tmp_path: Path, header: str, line: str, named: str) -> None:
    path = table(tmp_path, "d,a,s,0.25,60", line, header=header)
    with pytest.raises(PublishedError) as refused:
        read_published(path)
    assert f"{path.name}, {named}" in str(refused.value)
    assert "dataset, architecture, series, density, accuracy_percent and optionally source" in str(refused.value)


@pytest.mark.parametrize("content", [b"", HEADER.encode() + b"\n", b"\xff\xfe\x00"])
def test_a_file_without_published_results_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "published.csv"
    path.write_bytes(content)
    with pytest.raises(PublishedError, match=r"published\.csv.*dataset, architecture, series"):
        read_published(path)


def test_the_command_draws_the_published_file_or_says_why_not(sweep: SyntheticStore, tmp_path: Path) -> None:
    path = table(tmp_path, "digits,tiny,Theirs,0.1,66")
    assert "Theirs (published)" in Path(write_report(sweep.root, published=path)).read_text()
    before = (sweep.root / "report.html").read_bytes()
    table(tmp_path, "letters,tiny,Theirs,0.1,66")
    for given, said in ((path, "digits with tiny"), (tmp_path / "none.csv", "none.csv")):
        result = CliRunner().invoke(app, [str(sweep.root), "--published", str(given)])
        assert result.exit_code == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert said in result.stderr
    assert (sweep.root / "report.html").read_bytes() == before
