"""All rules in one training: interrupted, in a gang, with options and versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field

from tests.workers.training.gang.gangs import tiny, training
from tests.workers.training.gang.gangs import trained as trained_alone
from tests.workers.training.gang.test_gang import difference, gang_of_two
from tests.workers.training.rules.networks import same, trained
from tests.workers.training.test_trainer import interrupted_after
from workers.data.splits import Splits
from workers.stages import MaskRule, Optimizer, Rule, Rules
from workers.stages.execution import Control, Interrupted
from workers.training import MASK_RULES, MaskUpdate, mask_rule
from workers.training.rules.completion import completed_rules
from workers.training.rules.registry import completed, function_of

ALL = Rules(
    reparametrisation=Rule("sign_in"),
    regulariser=Rule("l1"),
    warm_up=Rule("linear", {"epochs": 2}),
    mask_rule=MaskRule("rigl", every_steps=3),
)
ADAMW = Optimizer(1e-2, "adamw", weight_decay=0.1)


@pytest.mark.parametrize(
    ("rules", "spec"),
    [(ALL, ADAMW), (Rules(mask_rule=MaskRule("set")), Optimizer(0.05)), (replace(ALL, mask_rule=None), ADAMW)],
    ids=["all", "set", "without a mask rule"],
)
def test_an_interrupted_training_resumes_to_the_same_bits(
    splits: Splits, tmp_path: Path, rules: Rules, spec: Optimizer
) -> None:
    expected, masks, log = trained(splits, rules, spec=spec, aws=True)
    # before the step of an update, after it, at the beginning of an epoch, and within it
    for steps in (3, 4, 7, 8, 16):
        folder = tmp_path / str(steps)
        first = Control(checkpoints=folder / "1", should_stop=interrupted_after(steps))
        with pytest.raises(Interrupted):
            trained(splits, rules, spec=spec, aws=True, control=first)
        second = Control(checkpoints=folder / "2", earlier=(folder / "1",))
        again, masks_again, log_again = trained(splits, rules, spec=spec, aws=True, control=second)
        assert same(again, expected), steps
        assert all(torch.equal(mask, masks_again[name]) for name, mask in masks.items())
        assert log_again.metrics == log.metrics


def test_the_ranks_of_a_gang_agree_on_masks_and_factors(data_cache: Path, tmp_path: Path) -> None:
    spec = replace(training(2), rules=replace(ALL, mask_rule=MaskRule("rigl", every_steps=3, until=0.6)))
    together = gang_of_two(spec, data_cache, tmp_path)  # which compares the ranks bit for bit
    model, _ = trained_alone(replace(training(1), rules=spec.rules), tiny(data_cache))
    # by their averaged gradients the ranks grow what one device grows: the same weights are zero
    for name, tensor in model.named_parameters():
        if tensor.dim() == 4:
            assert (together[name].eq(0) == tensor.eq(0)).float().mean() > 0.99
    assert difference(together, model.state_dict()) < 0.05


def test_options_are_completed_and_bounded() -> None:
    whole = completed_rules(ALL)
    assert whole.warm_up == Rule("linear", {"epochs": 2.0, "start": 0.1}, 1)
    assert whole.mask_rule == MaskRule("rigl", 3, 1.0, {"alpha": 0.3}, 1)
    assert completed_rules(whole) == whole
    assert completed_rules(Rules()) == Rules()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"alhpa": 0.3}, r"mask rule rigl: unknown option 'options\.alhpa'; did you mean options\.alpha"),
        ({"alpha": 2.0}, r"mask rule rigl: options\.alpha: expected a value less than or equal to 1, not 2\.0"),
        ({"alpha": "high"}, r"mask rule rigl: options\.alpha: expected a valid number, not 'high'"),
        ({"alpha": True}, r"options\.alpha: expected a valid number, not True"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        completed(MASK_RULES, MaskRule("rigl", options=options))


def test_a_version_is_the_registered_one_or_refused() -> None:
    @mask_rule("versioned", version=3)
    def versioned(update: MaskUpdate, *, count: Annotated[int, Field(ge=1)]) -> dict[str, torch.Tensor]:
        return dict(update.masks)

    with pytest.raises(ValueError, match=r"options\.count has no default; give it"):
        completed(MASK_RULES, MaskRule("versioned"))
    given = MaskRule("versioned", options={"count": 2})
    assert completed(MASK_RULES, given).version == 3
    with pytest.raises(ValueError, match="of version 2 is registered, but version 3"):
        function_of(MASK_RULES, replace(given, version=2))
    with pytest.raises(ValueError, match="unknown mask rule 'rigel'; did you mean rigl, or is its --plugin missing"):
        completed(MASK_RULES, MaskRule("rigel"))


@pytest.mark.parametrize(("fields", "sentence"), [({"every_steps": 0}, "every_steps is"), ({"until": 0}, "until is")])
def test_a_mask_rule_that_never_acts_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MaskRule("set", **fields)
