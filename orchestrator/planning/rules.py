"""Say which trainings of an experiment have which rules, which optimizer if it is not built in, and which of its fields
no training has. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.planning.stage_planner import dense_training, final_training, round_training
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from workers.stages import Alpha, MaskRule, Optimizer, Rule, Rules, Training

OF_CHAINS = ("alpha", "pretrain_epochs", "round_epochs", "round_schedule", "round_training")
"""Fields of the trainings by which chains find tickets."""


def rules_in_words(recipe: Recipe) -> dict[str, str]:
    """What happens beside the optimizer's steps, by the trainings in which it happens; empty if nothing does.

    Methods with the same rules stand together, as in "round 0 and the rounds of aws, lrr".
    """
    trainings: dict[str, str] = {}
    if recipe.optimizer.version is not None:
        trainings["all trainings"] = _named("optimizer", recipe.optimizer)
    by_rules: dict[tuple[str, str], list[str]] = {}
    for name in recipe.methods:
        method = recipe.known_methods[name]
        zero, later = dense_training(recipe, method), round_training(recipe, method)
        in_zero, in_rounds = (_in_words(each.rules) if each.span else "" for each in (zero, later))
        by_rules.setdefault((in_zero, in_rounds), []).append(name)
    for (in_zero, in_rounds), names in by_rules.items():
        of_methods = f"of {', '.join(names)}"
        if in_zero == in_rounds and in_zero:
            trainings[f"round 0 and the rounds {of_methods}"] = in_zero
            continue
        for where, words in ((f"round 0 {of_methods}", in_zero), (f"the rounds {of_methods}", in_rounds)):
            if words:
                trainings[where] = words
    final = final_training(recipe).rules
    if words := _in_words(final):
        trainings["final trainings of tickets" if final.mask_rule else "final trainings"] = words
    if final.mask_rule and (words := _in_words(final.of_dense)):
        trainings["dense trainings"] = words
    return trainings


def _in_words(rules: Rules) -> str:
    words = []
    for kind, rule in vars(rules).items():
        if rule is not None:
            words.append(_named("warm-up" if kind == "warm_up" else kind.replace("_", " "), rule))
    return "; ".join(words)


def _named(kind: str, rule: Rule | MaskRule | Optimizer) -> str:
    options = ", ".join(f"{name}={value}" for name, value in rule.options.items())
    words = f"{kind} {rule.name}" + (f" ({options})" if options else "")
    if isinstance(rule, MaskRule):
        words += f" every {f'{rule.every_steps} steps' if rule.every_steps else 'epoch'}"
        words += f" in the first {100 * rule.until:g} % of the steps" if rule.until < 1 else ""
    return words


def without_effect(recipe: Recipe) -> Iterator[str]:
    """Sentences about fields that differ from the built-in recipe's and that none of the recipe's trainings has."""
    builtin = resolve(recipe.dataset, recipe.arch, recipe.preset)
    own = _of_chains(recipe)
    idle = [
        name
        for name in OF_CHAINS
        if getattr(recipe, name) != (other := getattr(builtin, name))
        and own == _of_chains(recipe.model_copy(update={name: other}))
    ]
    if not recipe.methods and recipe.chains != builtin.chains:
        idle.append("chains")
    if idle:
        where = (
            f" on the chains of {', '.join(recipe.methods)}" if recipe.methods else ", since tickets alone run no chain"
        )
        yield f"{recipe.dataset}/{recipe.arch}: without effect{where}: {', '.join(idle)}."


def _of_chains(recipe: Recipe) -> list[tuple[list[Training], Alpha | None]]:
    """By method: its trainings that train at all, and the distribution of alpha if they draw it."""
    trainings = []
    for method in (recipe.known_methods[name] for name in recipe.methods):
        both = [each for each in (dense_training(recipe, method), round_training(recipe, method)) if each.span]
        trainings.append((both, recipe.alpha if both and method.interpolate_psi else None))
    return trainings
