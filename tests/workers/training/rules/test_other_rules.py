"""Warm-up, regularisers and registered optimizers: their formulas, and what they do in a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.workers.training.rules.networks import EPOCH_STEPS, SGD, same, trained
from tests.workers.training.test_trainer import fresh
from tickets.roles import Role
from workers.data.splits import Splits
from workers.stages import Optimizer, Rule, Rules, Schedule, Training
from workers.stages.execution import StageError
from workers.training import Parameters, optimizer, regulariser, warm_up
from workers.training import trainer as trainer_module
from workers.training.rules.active import ActiveRules
from workers.training.rules.warm_up import linear
from workers.training.step import make_optimizer

L1 = Rules(regulariser=Rule("l1", {"strength": 0.01}))
ADAMW = Optimizer(1e-3, "adamw", weight_decay=0.1, options={"beta2": 0.99})


def test_a_linear_warm_up_rises_by_a_constant_amount_to_the_full_rate_as_torchs_does() -> None:
    rates = [linear(step, 10, epochs=2.0, start=0.25) for step in range(25)]
    torch_optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.LinearLR(torch_optimizer, start_factor=0.25, total_iters=20)
    for rate in rates:
        assert rate == pytest.approx(torch_optimizer.param_groups[0]["lr"])
        torch_optimizer.step()
        theirs.step()
    assert rates[0] == 0.25
    assert rates[20:] == [1.0] * 5


def test_a_warm_up_is_a_factor_of_the_schedule_in_each_step_and_counts_from_the_schedules_start(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    set_rate = trainer_module.set_learning_rate

    def noted(one: torch.optim.Optimizer, rate: float) -> None:
        used.append(rate)
        set_rate(one, rate)

    monkeypatch.setattr(trainer_module, "set_learning_rate", noted)
    rules = Rules(warm_up=Rule("linear", {"epochs": 2, "start": 0.0}))
    _, _, log = trained(splits, rules)
    expected = [0.05 * min(1, step / (2 * EPOCH_STEPS)) for step in range(3 * EPOCH_STEPS)]
    assert used == pytest.approx(expected)
    logged = [row["learning_rate"] for row in log.metrics if row["split"] == "train"]
    assert logged == pytest.approx(expected[EPOCH_STEPS - 1 :: EPOCH_STEPS])
    used.clear()
    trained(splits, Rules())
    assert used == [0.05] * 3  # without a warm-up, once an epoch

    spec = Training(4, 32, SGD, Schedule("steps", (1,), 0.1), first_epoch=1, rules=rules)
    later = ActiveRules(spec, fresh(), {}, {}, images=207, seed=1)
    assert later.learning_rate(1, 0) == pytest.approx(0.05 * 0.1 * 0.5)


def test_a_registered_warm_up_takes_steps_and_options(splits: Splits) -> None:
    @warm_up("none_at_all")
    def none_at_all(step: int, epoch_steps: int, *, factor: float = 1.0) -> float:
        assert epoch_steps == EPOCH_STEPS
        return factor

    plain, _, _ = trained(splits, Rules())
    assert same(trained(splits, Rules(warm_up=Rule("none_at_all")))[0], plain)
    halved, _, _ = trained(splits, Rules(warm_up=Rule("none_at_all", {"factor": 0.5})))
    assert same(halved, trained(splits, Rules(), spec=replace(SGD, learning_rate=0.025))[0])


def test_l1_adds_the_sign_of_each_surviving_prunable_weight_to_its_gradient(splits: Splits) -> None:
    still = Optimizer(1.0, "sgd", momentum=0.0, weight_decay=0.0)
    model, plain = fresh(), fresh()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # one step each: the whole split would be a batch, so compare the first epoch's only step of a tiny rate
    rate = replace(still, learning_rate=1e-3)
    _, masks, _ = trained(splits, L1, epochs=1, spec=rate, model=model)
    trained(splits, Rules(), epochs=1, spec=rate, model=plain)
    for name, tensor in model.named_parameters():
        moved = (plain.get_parameter(name) - tensor).detach()
        if name in masks:
            mask, big = masks[name], start[name].abs() > 0.05  # which keep their sign over seven small steps
            wanted = 0.01 * 1e-3 * EPOCH_STEPS * start[name].sign()
            torch.testing.assert_close(moved[mask & big], wanted[mask & big], rtol=0.2, atol=1e-6)
            assert not moved[~mask].any()
        else:
            assert moved.abs().max() < 1e-5  # only by way of the weights


def test_a_term_gives_pruned_weights_no_momentum(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    @regulariser("pull")
    def pull(parameters: Parameters) -> Tensor:
        return torch.stack([(weight - 1).square().sum() for weight in parameters.of("prunable")]).sum()

    made: list[torch.optim.Optimizer] = []
    monkeypatch.setattr(trainer_module, "make_optimizer", lambda *given: made.append(make_optimizer(*given)) or made[0])
    model, masks, _ = trained(splits, Rules(regulariser=Rule("pull")), epochs=1)
    for name, mask in masks.items():
        assert not made[0].state[model.get_parameter(name)]["momentum_buffer"][~mask].any()


def test_the_logged_loss_is_the_cross_entropy_alone(splits: Splits) -> None:
    first = Optimizer(1e-30, weight_decay=0.0)
    with_, without = (trained(splits, rules, epochs=1, spec=first)[2].metrics[0] for rules in (L1, Rules()))
    assert with_["loss_nats"] == without["loss_nats"]


def test_a_regulariser_finds_parameters_by_role_and_must_give_a_term(splits: Splits) -> None:
    found: dict[str, int] = {}

    @regulariser("spy")
    def spy(parameters: Parameters) -> Tensor:
        for role in Role:
            found[role] = len(parameters.of(role))
        assert len(parameters.of(*Role)) == len(parameters.by_name)
        return 0 * parameters.of("classifier")[0].sum()

    assert same(trained(splits, Rules(regulariser=Rule("spy")))[0], trained(splits, Rules())[0])
    assert found["prunable"] > 5
    assert found["classifier"] == 2

    @regulariser("no_term")
    def no_term(parameters: Parameters) -> Tensor:
        return torch.ones(1)

    with pytest.raises(StageError, match="regulariser no_term gives no tensor of one element"):
        trained(splits, Rules(regulariser=Rule("no_term")))


def test_adamw_decouples_its_weight_decay(splits: Splits) -> None:
    one = make_optimizer(fresh(), ADAMW)
    assert type(one) is torch.optim.AdamW
    (group,) = one.param_groups
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.9, 0.99), 0.1, 1e-3)
    weight = nn.Linear(1, 1, bias=False)
    made = make_optimizer(weight, ADAMW)
    weight.weight.grad = torch.zeros_like(weight.weight)
    before = weight.weight.item()
    made.step()
    assert weight.weight.item() == pytest.approx(before * (1 - 1e-3 * 0.1))
    model, _, _ = trained(splits, Rules(), spec=ADAMW)
    assert not same(model, trained(splits, Rules(), spec=replace(ADAMW, name="adam", options={}))[0])


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda parameters, spec: torch.optim.NAdam(parameters, lr=0.0), "mu_product does not begin at zero"),
        (lambda parameters, spec: torch.optim.SGD(parameters[:1], lr=0.0), "must hold all parameters"),
        (lambda parameters, spec: Counting(parameters), "its state count is no tensor"),
    ],
)
def test_an_optimizer_whose_state_no_checkpoint_could_restore_is_refused(made: object, sentence: str) -> None:
    optimizer("unfit")(made)  # type: ignore[type-var]
    with pytest.raises(StageError, match=f"optimizer unfit.*{sentence}"):
        make_optimizer(fresh(), Optimizer(0.1, "unfit"))


class Counting(torch.optim.Optimizer):
    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.0})

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["count"] = 1


def test_built_in_optimizers_keep_their_names() -> None:
    with pytest.raises(ValueError, match="optimizer 'sgd' is built in; choose another name"):
        optimizer("sgd")
