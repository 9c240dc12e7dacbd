"""Built-in experiments and users' experiment files: their requests, and that they run."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.frames.load import load
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiment_file import ExperimentRequest, find_experiment, read_experiment
from orchestrator.recipes.experiments import Experiment, find_experiments
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.methods import METHODS, Method
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from orchestrator.sweep import app
from tests.support.sweep_processes import in_process
from tickets import TRANSFERS, Transfer
from workers.pruning.criteria import CRITERIA
from workers.stages import Pretrain, Round, Schedule, Training
from workers.stages.execution import Execution

pytestmark = pytest.mark.slow(seconds=60)

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "orchestrator" / "experiments"
FILES = sorted(FOLDER.glob("*.yaml"))
CHAINS = {"controls_small": 12}  # of the others 3
EXPERIMENTS = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def planned(request: ExperimentRequest) -> Plan:
    """Expand a request on data that is never read."""
    pairs = [(data, arch) for data in request.datasets for arch in request.archs or (None,)]
    return expand(Experiment(resolve(*pair, request.preset, request.layers), "fingerprint-1") for pair in pairs)


def planned_here(request: ExperimentRequest, data_cache: Path) -> Plan:
    """Expand a request on the data that a sweep finds."""
    return expand(find_experiments(request, Execution("cpu", None, str(data_cache))))


def compared(plan: Plan) -> set[tuple[str | None, bool, str | None]]:
    """Return method, whether its tickets are of another data set, and start of every training."""
    labels = [node.labels for node in plan if node.stage.kind == "train"]
    found_by = [(each.method or "").partition("@") for each in labels]
    return {(name, bool(source), each.transfer) for (name, _, source), each in zip(found_by, labels, strict=True)}


def trained_epochs(plan: Plan) -> int:
    return sum(len(training.span) for node in plan if (training := getattr(node.stage, "training", None)))


def documented_cost(file: Path) -> tuple[int, int]:
    """Return the stages and epochs that the folder's table gives for a file."""
    table = (FOLDER / "README.md").read_text().partition("## Hours")[0]
    (row,) = (line for line in table.splitlines() if f"({file.name})" in line)
    stages, epochs_ = (int(cell.replace(",", "")) for cell in row.split("|")[3:5])
    return stages, epochs_


@EXPERIMENTS
def test_an_experiment_can_be_planned_and_its_smoke_variant_compares_the_same_in_few_stages(file: Path) -> None:
    whole, smoke = planned(read_experiment(file)), planned(read_experiment(file, smoke=True))
    assert compared(smoke) == compared(whole)
    assert {node.labels.dataset.removesuffix("_shuffled") for node in smoke} == {"mnist1d"}
    assert len(smoke) < min(len(whole), 110)
    assert documented_cost(file) == (len(whole), trained_epochs(whole))
    # a study that cannot decide what it asks would cost its hours for nothing
    assert whole.studies
    assert all(study.primary for study in whole.studies)
    assert {node.labels.chain for node in whole} == {None, *range(1, CHAINS.get(file.stem, 3) + 1)}


def test_each_figure_and_the_controls_have_an_experiment() -> None:
    names = {file.stem for file in FILES}
    assert {"figure2", "figure3", "figure4", "figure5", "tables", "controls", "other_methods"} <= names
    assert planned(read_experiment(FOLDER / "figure2.yaml")).counts()["train signed_psi_kept"]
    assert planned(read_experiment(FOLDER / "figure5.yaml")).counts()["train signed_psi_signs"]
    assert {node.labels.architecture for node in planned(read_experiment(FOLDER / "figure4.yaml"))} == {"resnet32"}
    small = planned(read_experiment(FOLDER / "figure3_small.yaml"))
    assert {node.stage.setting.data.image_size for node in small} == {16}
    assert {node.labels.round for node in small if node.stage.kind == "probe"} == {10, 15}  # densities 0.107 and 0.035


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all experiments: what they have in common is computed once."""
    return tmp_path_factory.mktemp("experiments") / "store"


def smoke_options(file: Path, store: Path, data_cache: Path) -> list[object]:
    where = ["--store", store, "--data-cache", data_cache]
    return [file, "--smoke", "--backend", "inline", "--device", "cpu", *where]


@EXPERIMENTS
def test_the_smoke_variant_computes_all_its_stages(file: Path, store: Path, data_cache: Path) -> None:
    code, output = in_process(*smoke_options(file, store, data_cache))
    assert code == 0, output
    frames = load(store, tickets=False)
    assert frames.missing.empty
    assert not frames.stages["superseded"].any()
    wanted = {node.key for node in planned_here(read_experiment(file, smoke=True), data_cache)}
    assert wanted <= set(frames.stages["key"])


def test_one_report_shows_the_methods_and_transfers_of_all_smoke_variants(store: Path, data_cache: Path) -> None:
    code, output = in_process(*smoke_options(FILES[-1], store, data_cache), report=True)
    assert code == 0, output
    assert "could not be written" not in output
    stages, page = load(store, tickets=False).stages, (store / "report.html").read_text()
    assert len(page) > 100_000
    names = {*stages["method"].dropna(), *stages["transfer"].dropna()}
    assert [name for name in sorted(names) if f'"{name}"' not in page] == []


def test_a_built_in_experiment_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("figure2", "figure2.yaml", "experiments/figure2.yaml"):
        assert find_experiment(Path(given)) == FOLDER / "figure2.yaml"


def test_a_users_file_wins_over_the_built_in_experiment_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("figure2.yaml").write_text("title: mine\ndatasets: [mnist1d]\n")
    assert find_experiment(Path("figure2.yaml")) == Path("figure2.yaml")
    assert find_experiment(Path("figure2")) == FOLDER / "figure2.yaml"


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: mine\ndatasets: [cifar10]\nrecipe: {rounds: 4, seeds: 2}\n")
    shown = CliRunner().invoke(
        app, [str(file), "--smoke", "--plan", "--json", "--seeds", "3", "--methods", "lrr", "--store", str(tmp_path)]
    )
    assert shown.exit_code == 0, shown.output
    assert '"mnist1d/resnet1d/lrr/chain1/round02/signed/seed3"' in shown.output
    assert "/aws/" not in shown.output


def test_flags_win_over_the_file_and_their_layers_come_last() -> None:
    request = ExperimentRequest(("cifar10",), ("resnet20",), "reference", ({"rounds": 4},))
    assert request.under(ExperimentRequest()) == request
    flags = ExperimentRequest(("mnist1d",), ("resnet1d",), "sound", ({"rounds": 2},))
    both_layers = ({"rounds": 4}, {"rounds": 2})
    assert request.under(flags) == ExperimentRequest(("mnist1d",), ("resnet1d",), "sound", both_layers)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (ExperimentRequest(("mnist1d",), preset="sounds"), "unknown preset 'sounds'; did you mean sound"),
        (ExperimentRequest(), "name data sets, such as --datasets mnist1d, or an experiment's file"),
    ],
)
def test_a_request_without_data_or_with_an_unknown_preset_is_refused(flags: ExperimentRequest, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        ExperimentRequest().under(flags)


def documented() -> str:
    return (ROOT / "docs" / "experiments.md").read_text()


@pytest.mark.parametrize("smoke", [False, True])
def test_the_documented_example_can_be_planned(smoke: bool, tmp_path: Path) -> None:
    file = tmp_path / "documented.yaml"
    file.write_text(documented().split("```yaml\n")[1].split("```")[0])
    starts = compared(planned(read_experiment(file, smoke=smoke)))
    own = {(method, start) for method, elsewhere, start in starts if not elsewhere}
    assert {("rewound_to_the_fifth", "signs_of_round_five"), ("imp", "rewound"), ("aws", "retrain")} <= own


def test_the_document_names_every_method_transfer_criterion_and_field() -> None:
    names = {*METHODS, *CRITERIA, *(TRANSFERS.keys() - {"dense"})}
    names |= {field.name for kind in (Method, Transfer) for field in fields(kind)} - {"signs_version"}
    assert [name for name in sorted(names) if f"`{name}" not in documented()] == []


def epochs(plan: Plan, method: str) -> tuple[int, list[Training]]:
    """Return the epochs of round 0 and the trainings of a method's rounds."""
    (zero,) = (node.stage for node in plan if isinstance(node.stage, Pretrain) and node.labels.round == 0)
    rounds = [node.stage for node in plan if isinstance(node.stage, Round) and node.labels.method == method]
    return len(zero.training.span), [stage.training for stage in rounds]


def documented_epochs(cell: str, recipe: Recipe, method: Method) -> int:
    """Evaluate a cell of the document's table: a field of the recipe minus fields of the method."""
    first, *less = re.findall(r"`(\w+)`", cell) or ["none"]
    return getattr(recipe, first, 0) - sum(getattr(method, name) for name in less)


@pytest.mark.parametrize("name", METHODS)
def test_the_documented_epochs_are_planned(name: str) -> None:
    table = documented().partition("### Epochs of a round")[2].partition("As a rule")[0]
    (row,) = (line for line in table.splitlines() if f"`{name}`" in line)
    cells = row.split("|")[2:4]
    changes = {"methods": [name], "rounds": 2, "chains": 1, "pretrain_epochs": 4, "round_epochs": 3, "final_epochs": 7}
    for recipe in (
        resolve("cifar100", None, "sound", [{"methods": [name]}]),
        resolve("mnist1d", None, "sound", [changes]),
    ):
        zero, rounds = epochs(expand([Experiment(recipe, "fingerprint-1")]), name)
        assert [zero, *{len(training.span) for training in rounds}] == [
            documented_epochs(cell, recipe, METHODS[name]) for cell in cells
        ]
        if recipe.dataset == "cifar100":
            assert [zero, len(rounds[0].span)] == [int(cell.partition("(")[2].partition(")")[0]) for cell in cells]


def test_the_documented_fine_tuning_has_the_budget_of_rewinding(tmp_path: Path) -> None:
    file = tmp_path / "documented.yaml"
    file.write_text(documented().split("```yaml\n")[2].split("```")[0])
    plan = planned(read_experiment(file))
    zero, rewound = epochs(plan, "lrr_rewound_schedule")
    _, tuned = epochs(plan, "fine_tuning_in_full")
    assert zero == 100
    assert [len(training.span) for training in tuned] == [len(training.span) for training in rewound] == [100] * 15
    for training in tuned:
        assert training.schedule == Schedule()
        assert training.optimizer.learning_rate == pytest.approx(0.001)
