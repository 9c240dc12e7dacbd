"""The algorithm on one screen: find tickets by pruning, train them from several starts, probe the solutions. Pure.

Formulas: docs/released-code.md. Rules and their tests: docs/method.md. Methods as data: docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.planning.plan import Node, Plan
from orchestrator.planning.solutions import SolutionsPlanner, of_chain, of_foreign, onto
from orchestrator.planning.stage_planner import ChainPlanner, ExperimentPlanner
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.limits import MOST_STAGES
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolved import differences, flat_fields
from orchestrator.store.plans import PlannedRecipe, PlannedStudy


def expand(experiments: Iterable[Experiment]) -> Plan:
    """Plan every stage of the experiments; a stage that several of them need is planned once.

    Raises:
        RecipeError: there are too many stages for one sweep. They are counted first: planning a billion takes hours.
    """
    experiments = list(experiments)
    stages = sum(count_stages(e.recipe) + len(e.tickets) * count_solutions(e.recipe) for e in experiments)
    if stages > MOST_STAGES:
        raise RecipeError(
            f"this sweep has about {stages:,} stages, and a sweep has at most {MOST_STAGES:,}, because status, gc and "
            f"the report read a record of each; give fewer seeds, chains or rounds, or sweep into several stores"
        )
    plan = Plan(studies=[study for study in map(planned_study, experiments) if study])
    planners = [ExperimentPlanner(plan, experiment) for experiment in experiments]
    chains = [compare_methods(planner, planner.recipe) for planner in planners]
    for planner, experiment in zip(planners, experiments, strict=True):
        transfer_across(planner, planner.recipe, [chain for of_data_set in chains for chain in of_data_set])
        for ticket in experiment.tickets:
            compare_starts(of_foreign(planner, ticket), ticket.round, planner.recipe, probed=ticket.probed)
    return plan


def planned_study(experiment: Experiment) -> PlannedStudy | None:
    """Return what an experiment declares to ask, as the store keeps it; None if it declares nothing."""
    recipe, study = experiment.recipe, experiment.recipe.study
    if not study.declared:
        return None
    return PlannedStudy(
        dataset=recipe.dataset,
        architecture=recipe.arch,
        preset=recipe.preset,
        primary=list(study.primary),
        looks=study.looks_from(recipe.chains),
        margin_points=study.margin_points,
    )


def planned_recipe(experiment: Experiment, remarks: Sequence[str] = ()) -> PlannedRecipe:
    """Return what an experiment is made with, as the store keeps it.

    Args:
        remarks: on its tickets from elsewhere, which the report shows too.
    """
    recipe = experiment.recipe
    more: dict[str, Any] = {"tickets": list(remarks)} if remarks else {}
    return PlannedRecipe(
        dataset=recipe.dataset,
        architecture=recipe.arch,
        preset=recipe.preset,
        fields={**flat_fields(recipe), **more},
        builtin={**differences(recipe), **dict.fromkeys(more)},
    )


def count_solutions(recipe: Recipe, transferred: int = 1, probed: int = 1) -> int:
    """Count the final trainings and probes of a chain's tickets.

    Args:
        transferred, probed: numbers of rounds whose tickets are trained, and also probed.
    """
    probes, trained = 1 + len(recipe.probes), {"retrain", *recipe.transfers}
    twins = len(set(recipe.twins) & set(recipe.transfers))
    landscapes = sum(trained >= set(starts) for starts in recipe.landscapes)
    # every probe of a pair: each transfer with the retrain, each twin with its transfer, each retrain with the last
    of_a_seed = (len(recipe.transfers) + twins + 1) * probes + twins + landscapes
    return transferred * recipe.seeds * len(trained) + probed * (recipe.seeds * of_a_seed - probes)


def count_stages(recipe: Recipe) -> int:
    """Count an experiment's stages without planning them; a stage that methods share counts for each of them."""
    compared = count_solutions(recipe, len(recipe.compared_rounds), len(recipe.probe_rounds))
    sources = {source for name in recipe.transfers for source in recipe.known_transfers[name].others}
    epochs = {source for source in sources if source.startswith("epoch_") and recipe.compared_rounds}
    begun = sources - {f"dense_{recipe.final_epochs}"}
    dense = {source for source in begun if source.startswith("dense_") and recipe.compared_rounds}
    chains = 0
    for name in recipe.methods:
        rewind = {f"epoch_{recipe.known_methods[name].reset_to}"} - {"epoch_None"}
        successive = recipe.probe_successive_rounds * recipe.rounds * (1 + len(recipe.probes))
        tested = recipe.test_rounds * (1 + recipe.rounds) + successive
        chains += 1 + recipe.rounds + len(epochs | rewind) + tested + compared * (1 + len(recipe.other_data))
    return recipe.seeds * (1 + len(dense) + recipe.dense_same_budget) + recipe.chains * chains


def compare_methods(experiment: ExperimentPlanner, recipe: Recipe) -> list[ChainPlanner]:
    """Dense baselines; then the tickets of every method and chain, and the solutions that they lead to.

    Returns:
        The chains.
    """
    chains = []
    for seed in recipe.seed_numbers:
        experiment.train_dense(seed)
        if recipe.dense_same_budget:
            experiment.train_dense_same_budget(seed)
    for number in range(1, recipe.chains + 1):
        for method in recipe.methods:
            chain = ChainPlanner(experiment, method, number)
            find_tickets(chain, recipe.rounds)
            if recipe.test_rounds:
                chain.test_rounds()
            if recipe.probe_successive_rounds:
                of_chain(chain).probe_successive_rounds(chain.rounds)
            for round_ in recipe.compared_rounds:
                compare_starts(of_chain(chain), round_, recipe)
            chains.append(chain)
    return chains


def transfer_across(experiment: ExperimentPlanner, recipe: Recipe, chains: Iterable[ChainPlanner]) -> None:
    """The tickets of other data sets on this one: the same starts and pairs, with a fresh classifier.

    Args:
        chains: of all data sets and architectures of the sweep.
    """
    for chain in chains:
        if chain.labels.dataset in recipe.other_data and chain.labels.architecture == recipe.arch:
            for round_ in recipe.compared_rounds:
                compare_starts(onto(experiment, chain), round_, recipe)


def find_tickets(chain: ChainPlanner, rounds: int) -> None:
    """Iterative pruning (docs/released-code.md#rounds): pretrain; then round by round prune, rewind and train.

    Under AWS, every training of the chain interpolates psi towards its initialisation (docs/released-code.md#aws). LRR
    rewinds only the learning rate. Other methods also reset survivors to their values after ``reset_to`` epochs of
    round 0 (Frankle and Carbin 2019; Renda et al. 2020), or prune the dense network to each round's density at once.
    """
    reset_to = chain.method.reset_to
    rewind_to = None if reset_to is None else chain.pretrain(stop_after=reset_to)
    chain.rounds.append(chain.pretrain())
    for round_ in range(1, rounds + 1):
        network = chain.rounds[0] if chain.method.one_shot else chain.rounds[-1]
        chain.rounds.append(chain.prune_rewind_train(round_, network, rewind_to))


def compare_starts(chain: SolutionsPlanner, round_: int, recipe: Recipe, *, probed: bool | None = None) -> None:
    """Train one round's ticket from each start and seed; in probe rounds, probe pairs of solutions.

    Starts (docs/experiments.md#transfers): the retrain keeps the ticket's weights; transfers put its mask, and perhaps
    its signs, on a fresh initialisation. Stability compares two SGD seeds of one start; LMC compares a transfer with
    the retrain (docs/released-code.md#transfers-and-what-is-measured). A ticket from elsewhere may lack what a start
    takes, such as trained weights: that start and its pairs are left out.

    Args:
        probed: whether pairs are probed; None goes by the recipe's probe rounds.
    """
    probed = round_ in recipe.probe_rounds if probed is None else probed
    previous: Node | None = None
    for seed in recipe.seed_numbers:
        solutions: dict[str, Node] = {}
        if chain.is_possible("retrain"):
            solutions["retrain"] = chain.train("retrain", round_, seed)
        retrain = solutions.get("retrain")
        # retrains differ in their SGD seed only, unless they draw a classifier: neighbours are a stability pair
        if probed and retrain and previous and not chain.start("retrain").draws:
            chain.probe("stability", retrain, previous)
        for transfer in filter(chain.is_possible, recipe.transfers):
            solutions[transfer] = solution = chain.train(transfer, round_, seed)
            if not probed:
                continue
            if retrain:
                chain.probe("lmc", solution, retrain)
            if transfer in recipe.twins:
                chain.probe("stability", solution, chain.train(transfer, round_, seed, twin=True))
        for starts in recipe.landscapes if probed else ():
            if solutions.keys() >= set(starts):
                chain.landscape([solutions[start] for start in starts])
        previous = retrain
