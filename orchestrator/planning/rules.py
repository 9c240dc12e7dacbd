"""Say which trainings of an experiment have which rules, and which optimizer if it is not built in. Pure."""

from __future__ import annotations

from orchestrator.planning.stage_planner import dense_training, final_training, round_training
from orchestrator.recipes.recipe import Recipe
from workers.stages import MaskRule, Optimizer, Rule, Rules


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
