"""Published results beside ours: the package's own and a user's; reached, not reached, or not comparable and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from analysis import load
from analysis.figures import against_published
from analysis.figures.results.reached import NOT_COMPARABLE, NOT_REACHED, REACHED, reached
from analysis.frames.published.reading import NEEDED, SHIPPED, PublishedError, published_beside, read_published
from analysis.frames.sections import sections
from analysis.report import write_report
from orchestrator.recipes.methods import METHODS
from workers.stages import IMAGE_SIZE

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

OURS = {"dataset": "cifar10", "architecture": "resnet20"}
REWINDING = {"method": "lrr_rewound_schedule"}
STEPS = {"name": "steps", "milestones": [91, 136], "factor": 0.1}
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 2e-4}
SERIES = "learning-rate rewinding, iterative (Renda 2020)"


def science(**training: Any) -> dict[str, Any]:
    """The fields of a round as Renda et al. train it."""
    of_training = {"epochs": 182, "batch_size": 128, "optimizer": SGD, "schedule": STEPS, **training}
    return {"setting": {"data": {"validation_fraction": 0.0, "image_size": IMAGE_SIZE}}, "training": of_training}


def end_of_round(store: SyntheticStore, round_: int, accuracies: tuple[float, ...], fields: dict[str, Any]) -> None:
    """A round and its test in each chain."""
    for chain, accuracy in enumerate(accuracies, start=1):
        labels = {**OURS, **REWINDING, "chain": chain, "round": round_}
        trained = store.stage("round", labels, {"density": 0.8**round_}, science=fields)
        results = {"density": 0.8**round_, "test_accuracy_percent": accuracy}
        tested = {"training": {"epochs": 0, "optimizer": SGD}}
        store.stage("train", {**labels, "transfer": "round_end"}, results, science=tested, inputs={"ticket": trained})


def outcome(store: SyntheticStore, density: float, series: str = SERIES, **options: Any) -> dict[str, Any]:
    """The one row of ``reached`` for a published result."""
    rows = reached(sections(load(store.root, **options))[0])
    [row] = rows[(rows["series"] == series) & ((rows["density"] - density).abs() < 1e-6)].to_dict("records")
    return row


def test_the_package_has_published_series_of_known_kinds_with_their_settings() -> None:
    shipped = read_published(SHIPPED)
    settings = ["kind", "method", "source", "note", "epochs", "n"]
    series = shipped.groupby(["dataset", "architecture", "series"])[settings]
    assert (len(shipped), series.ngroups) == (321, 59)
    assert series.nunique(dropna=False).max(axis=None) == 1  # the settings of a series are one
    assert (shipped["kind"] != "").all()
    second_hand = shipped["series"].str.contains("Gadhikar")
    assert shipped.loc[second_hand, "source"].str.contains("second-hand").all()
    [target] = (
        shipped[(shipped["series"] == SERIES) & (shipped["architecture"] == "resnet20")]
        .query("density == 0.107374")
        .to_dict("records")
    )
    assert (target["accuracy_percent"], target["kind"], target["n"]) == (91.042, "round_end", 3)
    assert target["method"] in METHODS


@pytest.mark.parametrize(
    ("accuracies", "expected", "words"),
    [
        ((91.6, 91.8, 91.9), REACHED, "ours is 0.72 points higher"),
        ((90.6, 91.0, 91.4), REACHED, "within our 95 % interval over 3 chains, which ends at 91.99 %"),
        ((90.0, 90.1, 90.2), NOT_REACHED, "by 0.94 points; our 95 % interval over 3 chains ends at 90.35 %"),
        ((90.0,), NOT_REACHED, "by 1.04 points, without an interval"),
    ],
)
def test_a_result_is_reached_by_our_mean_or_within_our_interval(
    store: SyntheticStore, accuracies: tuple[float, ...], expected: str, words: str
) -> None:
    end_of_round(store, 10, accuracies, science())
    row = outcome(store, 0.107374)
    assert (row["outcome"], row["ours_percent"]) == (expected, pytest.approx(sum(accuracies) / len(accuracies)))
    assert words in row["why"].replace("\N{NO-BREAK SPACE}", " ")
    assert "0.2 % of these" in row["remarks"].replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (science(epochs=100), "epochs 182, ours 100"),
        (science(first_epoch=32), "epochs 182, ours 150"),
        (science(batch_size=256), "batch size 128, ours 256"),
        (science(optimizer={**SGD, "weight_decay": 5e-4}), "weight decay 0.0002, ours 0.0005"),
        (science(schedule={"name": "cosine", "factor": 0.0}), "schedule x0.1 at 91, 136, ours cosine"),
        ({**science(), "setting": {"data": {"validation_fraction": 0.1}}}, "training share 1, ours 0.9"),
        (
            {**science(), "setting": {"data": {"validation_fraction": 0.0, "image_size": 16}}},
            "image size the data set's own, ours 16 pixels",
        ),
        ({"epochs": 182}, "the settings of our training are not known"),
    ],
)
def test_another_setting_is_named_and_nothing_is_compared(
    store: SyntheticStore, fields: dict[str, Any], words: str
) -> None:
    end_of_round(store, 10, (95.0, 95.0), fields)
    row = outcome(store, 0.107374)
    assert (row["outcome"], row["why"]) == (NOT_COMPARABLE, words)
    assert pd.isna(row["ours_percent"])


@pytest.mark.parametrize(("size", "expected"), [("", REACHED), ("32", REACHED), ("16", NOT_COMPARABLE)])
def test_a_series_may_state_the_data_sets_own_image_size(
    store: SyntheticStore, tmp_path: Path, size: str, expected: str
) -> None:
    end_of_round(store, 10, (95.0, 95.0), science())
    theirs = tmp_path / "theirs.csv"
    columns = "dataset,architecture,series,density,accuracy_percent,kind,method,epochs,image_size"
    theirs.write_text(f"{columns}\ncifar10,resnet20,theirs,0.107374,90,round_end,lrr_rewound_schedule,182,{size}\n")
    row = outcome(store, 0.107374, "theirs", published=theirs)
    assert row["outcome"] == expected
    assert expected == REACHED or row["why"] == "image size 16 pixels, ours the data set's own"


def test_another_start_method_density_or_unknown_protocol_is_not_comparable(store: SyntheticStore) -> None:
    end_of_round(store, 9, (95.0, 95.0), science())
    mask = "mask to a random init (Adnan 2025)"
    for density, series, words in (
        (0.107374, SERIES, "no round of ours is within 5 % of this density; the nearest has 0.134"),
        (0.1, mask, "no result of ours is like it: mask transfer of imp ft"),
    ):
        row = outcome(store, density, series)
        assert (row["outcome"], row["why"]) == (NOT_COMPARABLE, words)
    store.train("retrain", 90.0, science(), **OURS, method="random_at_init", chain=1, round=7, seed=1)
    assert outcome(store, 0.2, "random mask from scratch (Gadhikar 2025)")["why"] == (
        "the epochs of its training are not known"
    )


def test_a_density_that_counts_many_more_weights_is_not_comparable(store: SyntheticStore, tmp_path: Path) -> None:
    end_of_round(store, 10, (95.0, 95.0), science())
    path = tmp_path / "their.csv"
    head = [*NEEDED, "kind", "method", "epochs", "density_counts", "unpruned_percent"]
    path.write_text(",".join(head) + "\ncifar10,resnet20,Mine,0.107,90,round_end,lrr_rewound_schedule,182,all,8\n")
    row = outcome(store, 0.107, "Mine", published=path)
    assert row["outcome"] == NOT_COMPARABLE
    assert row["why"].startswith("its density counts all, and ours leaves out 8.0")


def test_a_users_series_adds_to_ours_and_replaces_one_of_its_name(store: SyntheticStore, tmp_path: Path) -> None:
    end_of_round(store, 10, (95.0, 95.0), science())
    path = tmp_path / "their.csv"
    lines = [",".join(NEEDED), f'cifar10,resnet20,"{SERIES}",0.5,12', "cifar10,resnet20,Mine,0.107374,60"]
    path.write_text("\n".join(lines) + "\n")
    shipped, both = published_beside(None), published_beside(read_published(path))
    assert len(both) == len(shipped) - 10 + 2
    assert outcome(store, 0.5, published=path)["published_percent"] == 12
    assert outcome(store, 0.107374, "Mine", published=path)["why"].startswith("its file does not say which start")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("epochs", "0", "epochs is a number above 0, not '0'"),
        ("momentum", "2", "momentum is a number of at least 0 and at most 1, not '2'"),
        ("training_share", "all", "training_share is a number above 0 and at most 1, not 'all'"),
        ("n", "nan", "n is a number above 0, not 'nan'"),
    ],
)
def test_a_bad_setting_of_a_users_series_is_refused_with_its_line(
    tmp_path: Path, column: str, value: str, words: str
) -> None:
    path = tmp_path / "their.csv"
    path.write_text(f"{','.join(NEEDED)},{column}\nd,a,s,0.5,60,{value}\n")
    with pytest.raises(PublishedError, match=rf"their\.csv, line 2: {re.escape(words)}"):
        read_published(path)


def test_a_panel_shows_the_published_series_of_a_start_beside_ours_of_that_start(store: SyntheticStore) -> None:
    end_of_round(store, 10, (91.6, 91.8), science())
    store.train("dense", 92.0, science(), **OURS, seed=1)
    figure = against_published(load(store.root))
    published = [trace for trace in figure.data if trace.meta.get("published")]
    assert {trace.name.partition(" (")[0] for trace in published} == {
        "dense",
        "learning-rate rewinding, iterative",
        "fine-tuning, iterative",
        "weights rewound to initialisation",
        "weights rewound to epoch 32",
    }
    looks = {(trace.marker.symbol, trace.line.dash, trace.line.color) for trace in published}
    assert len(looks) == len(published)
    assert "91.04 % at density 0.107, ours 91.70 %" in figure.layout.meta["summary"]


def test_ten_series_have_looks_of_their_own_and_a_higher_panel(store: SyntheticStore, tmp_path: Path) -> None:
    for chain in (1, 2):
        store.train("mask", 60.0, method="aws", chain=chain, round=1, seed=1)
    path, heights = tmp_path / "their.csv", []
    for series in (1, 10):
        rows = [f"digits,tiny,s{place},{at},{50 + place % 7},mask" for place in range(series) for at in (0.8, 0.1)]
        path.write_text("\n".join([f"{','.join(NEEDED)},kind", *rows]) + "\n")
        figure = against_published(load(store.root, published=path))
        heights.append(figure.layout.height)
    published = [trace for trace in figure.data if trace.meta.get("published")]
    assert len({trace.marker.symbol for trace in published}) == 10
    assert heights[1] >= heights[0] + 100
    ends = [trace.y[-1] for trace in published]
    assert ends == sorted(ends, reverse=True)  # the legend is in the order of the lines' ends


@pytest.mark.usefixtures("one_figure")
def test_the_page_of_a_study_without_transfers_says_what_is_reached(store: SyntheticStore) -> None:
    end_of_round(store, 10, (91.6, 91.8, 91.9), science())
    page = Path(write_report(store.root)).read_text()
    assert "71 published results: 1 reached, 0 not reached, 70 not comparable" in page
    assert "Reached: ours is 0.72 points higher" in page
