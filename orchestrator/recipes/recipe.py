"""Hyper-parameters for a data set and architecture: built-in YAML, a preset, the user's changes, validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from orchestrator.recipes.errors import UNKNOWN_FIELD, unfit, unknown
from orchestrator.recipes.layers import (
    Layer,
    RecipeError,
    merge,
    read_builtin,
)
from orchestrator.recipes.methods import METHODS, Method, Whole
from tickets import SIGN_SOURCES, TRANSFERS, Transfer, named_source
from workers.probing.probes import PROBES
from workers.stages import (
    IMAGE_SIZE,
    UNIFORM,
    Alpha,
    Augmentation,
    BatchNormPolicy,
    Optimizer,
    Precision,
    Preset,
    Schedule,
)

NESTED: dict[str, type[Any]] = {
    "optimizer": Optimizer,
    "alpha": Alpha,
    "final_schedule": Schedule,
    "round_schedule": Schedule,
}
OWN: dict[str, type[Any]] = {"own_methods": Method, "own_transfers": Transfer}
OwnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
FAMILY = {"cifar10": "cifar", "cifar100": "cifar", "imagefolder": "imagenet"}


class Recipe(BaseModel):
    """Everything about an experiment that changes its numbers, and a trial's share of a GPU, which does not.

    For one data set and architecture.

    Attributes:
        model: options of the architecture, such as ``{width: 16}``.
        methods: ways to find tickets (``orchestrator.recipes.methods.METHODS``, and ``own_methods``).
        transfers: starts to train from each ticket beside its retrain (``tickets.TRANSFERS``, and ``own_transfers``).
        twins: those of them that are trained a second time with another SGD seed, for stability.
        own_methods, own_transfers: the user's, by name, as the fields of ``Method`` and ``Transfer``.
        transfer_rounds: rounds whose tickets are retrained and transferred: a list, "all", or "probed" for no others
            than the probed ones.
        probe_rounds: rounds whose tickets are probed as well: a list, or "all".
        probes: what else each probed pair is measured for, beside its barrier (``workers.probing.probes.PROBES``).
        chains: independent pruning chains per method; seeds: transfer seeds, and dense trainings.
        alpha: the distribution of AWS's alpha.
        image_size: side in pixels of what the network sees of streamed images, which have many sizes.
        pixel_mean, pixel_std: what images are normalised with, by channel, in units of 0 to 1; null for the training
            images' own, or ImageNet's for streamed images.
        precision: of convolutions and matrix products, in training, evaluation and probes.
        compile_from_epochs: trainings of at least so many epochs go through torch.compile; null for none. It takes tens
            of seconds to compile, and fused operations round differently, so that this is part of a stage's identity.
        gpus_per_stage: devices that train one network together, each on its share of every batch; they change the
            numbers, by rounding alone where there is no dropout and batch norm is synchronised.
        gpus_per_trial: share of a GPU that a search gives each trial; null for its default. It changes no number: it is
            in no key and no search's definition, and a sweep has no use for it.
        batch_norm: in such a gang, over the whole batch ("synchronised") or over each device's share ("per_rank").
        bn_images: images for batch-norm re-estimation in probes; null takes all.
        bn_momentum: null averages cumulatively after a reset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    arch: str
    preset: Preset = "sound"
    model: dict[str, int | float | bool | str] = Field(default_factory=dict)
    optimizer: Optimizer
    batch_size: Whole = Field(ge=2)
    augmentation: Augmentation
    image_size: Whole = Field(default=IMAGE_SIZE, ge=8)
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    precision: Precision = "float32"
    compile_from_epochs: Whole | None = Field(default=None, ge=1)
    gpus_per_stage: Whole = Field(default=1, ge=1)
    gpus_per_trial: float | None = Field(default=None, exclude=True)
    batch_norm: BatchNormPolicy = "synchronised"
    pretrain_epochs: Whole = Field(ge=1)
    rounds: Whole = Field(ge=1)
    round_epochs: Whole = Field(ge=1)
    round_schedule: Schedule = Schedule()
    prune_fraction: float = Field(default=0.2, gt=0, lt=1)
    alpha: Alpha = UNIFORM
    final_epochs: Whole = Field(ge=1)
    final_schedule: Schedule
    methods: tuple[str, ...] = ("aws", "lrr")
    own_methods: dict[OwnName, Method] = Field(default_factory=dict)
    transfers: tuple[str, ...] = ("signed", "mask")
    twins: tuple[str, ...] = ("signed",)
    own_transfers: dict[OwnName, Transfer] = Field(default_factory=dict)
    transfer_rounds: tuple[Whole, ...]
    probe_rounds: tuple[Whole, ...]
    probes: tuple[str, ...] = ()
    chains: Whole = Field(default=1, ge=1)
    seeds: Whole = Field(default=3, ge=1)
    validation_fraction: float = Field(ge=0, lt=1)
    watch_test_set: bool
    probe_points: Whole = Field(default=11, ge=3)
    bn_images: Whole | None = Field(default=None, ge=2)
    bn_momentum: float | None = Field(default=None, gt=0, le=1)

    @field_validator("optimizer")
    @classmethod
    def _positive_rate(cls, value: Optimizer) -> Optimizer:
        if value.learning_rate <= 0:
            raise ValueError("learning_rate is a positive number")
        return value

    @field_validator("gpus_per_trial")
    @classmethod
    def _one_gpu_or_a_share(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"a trial uses one GPU or a share of it, not {value:g}")
        return value

    @field_validator("methods", "transfers", "twins")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one")
        return tuple(dict.fromkeys(value))

    @property
    def known_methods(self) -> Mapping[str, Method]:
        """The built-in and the user's own methods, by name."""
        return {**METHODS, **self.own_methods}

    @property
    def known_transfers(self) -> Mapping[str, Transfer]:
        """The built-in and the user's own transfers, by name."""
        return {**TRANSFERS, **self.own_transfers}

    def start(self, transfer: str) -> Transfer:
        """A transfer by its name, with the version of the signs' source as it is registered now."""
        found = self.known_transfers[transfer]
        source = SIGN_SOURCES.get(found.signs)
        return found if source is None else replace(found, signs_version=source.version)

    @model_validator(mode="after")
    def _own_names_are_new(self) -> Recipe:
        for what, own, known in (
            ("method", self.own_methods, METHODS),
            ("transfer", self.own_transfers, TRANSFERS),
        ):
            if taken := own.keys() & known.keys():
                raise ValueError(f"own_{what}s: {min(taken)} is a {what} already; give yours another name")
        return self

    @model_validator(mode="after")
    def _methods_can_run(self) -> Recipe:
        for name in self.methods:
            if name not in self.known_methods:
                raise ValueError(f"methods: {unknown('method', name, self.known_methods)}")
            method, epochs = self.known_methods[name], self.round_zero_epochs(name)
            method.pruning(name)
            for what in ("prune_at", "reset_to"):
                if (getattr(method, what) or 0) > epochs:
                    raise ValueError(
                        f"method {name}: {what} {getattr(method, what)} is beyond round 0's {epochs} epochs"
                    )
        return self

    @model_validator(mode="after")
    def _transfers_can_run(self) -> Recipe:
        for name in (*self.transfers, *self.twins):
            if name not in self.known_transfers:
                raise ValueError(f"transfers: {unknown('transfer', name, self.known_transfers)}")
            if name in ("dense", "retrain"):
                raise ValueError(f"{name} is trained in every sweep and is no transfer to ask for")
            signs = self.known_transfers[name].signs
            if signs not in ("fresh", "ticket", *SIGN_SOURCES) and not named_source(signs):
                known = ", ".join(["fresh", "ticket", *SIGN_SOURCES])
                raise ValueError(
                    f"transfer {name}: no source of signs {signs!r}; known: {known}, round_3, epoch_0, init_2"
                )
            for source in self.known_transfers[name].others:
                kind, number = named_source(source) or ("", 0)
                last = {"round": self.rounds, "epoch": min(map(self.round_zero_epochs, self.methods))}.get(kind, number)
                if number > last:
                    raise ValueError(f"transfer {name}: {source} is beyond the last {kind}, {last}")
        return self

    @field_validator("probes")
    @classmethod
    def _probes_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in PROBES:
                raise ValueError(unknown("probe", name, PROBES))
        return tuple(dict.fromkeys(value))

    def round_zero_epochs(self, method: str) -> int:
        """Epochs of a method's round 0."""
        spec = self.known_methods[method]
        whole = self.final_epochs if spec.schedule == "final" else self.pretrain_epochs
        return whole if spec.prune_at is None else min(spec.prune_at, whole)

    @model_validator(mode="after")
    def _gang_can_share(self) -> Recipe:
        ranks = self.gpus_per_stage
        if self.batch_size % ranks or (ranks > 1 and self.batch_size < 2 * ranks):
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of gpus_per_stage {ranks} with at least 2 images for each"
            )
        if ranks > 1 and self.compile_from_epochs is not None:
            raise ValueError("gpus_per_stage beyond 1 runs without torch.compile; set compile_from_epochs to null")
        return self

    @model_validator(mode="after")
    def _rounds_exist(self) -> Recipe:
        for name in ("probe_rounds", "transfer_rounds"):
            beyond = [r for r in getattr(self, name) if not 0 <= r <= self.rounds]
            if beyond:
                raise ValueError(f"{name} holds {beyond[0]}, and the rounds are 0 to {self.rounds}")
        return self


def resolve(dataset: str, arch: str | None, preset: str, changes: Sequence[Mapping[str, Any]] = ()) -> Recipe:
    """The recipe for a data set and architecture.

    Built-in layers first (the data set's file, its section for the architecture, the preset, the data set's and the
    architecture's changes to that), then the user's changes in their order. Rounds that the built-in layers name and
    the user's ``rounds`` does not reach are left out; with none left, the last round is taken.

    Raises:
        RecipeError: a field is unknown or its value does not fit; one sentence.
    """
    family = dataset.partition(":")[0]
    builtin = read_builtin(FAMILY.get(family, family))
    arch = arch or builtin["arch"]
    presets = read_builtin("presets")
    if preset not in presets:
        raise RecipeError(unknown("preset", preset, presets))
    own, of_arch = builtin.get("presets", {}), dict(builtin.get("archs", {}).get(arch, {}))
    of_arch_and_preset = of_arch.pop("presets", {}).get(preset, {})
    values = merge(builtin["recipe"], of_arch, presets[preset], own.get(preset, {}), of_arch_and_preset)
    user = merge(*changes)
    files = ", ".join(layer.source for layer in changes if isinstance(layer, Layer))
    called = f"recipe for {dataset} ({files})" if files else f"recipe for {dataset}"
    for name, option in (("dataset", "--datasets"), ("arch", "--archs"), ("preset", "--preset")):
        if name in user:
            raise RecipeError(f"{called}: {name} is no field to change in a recipe; give {option}")
    values = merge(values, user, {"dataset": dataset, "arch": arch, "preset": preset})
    rounds = values["rounds"]
    if isinstance(rounds, int):
        for name in ("probe_rounds", "transfer_rounds"):
            if values[name] == "all":
                values[name] = list(range(1, rounds + 1))
            elif values[name] == "probed":
                values[name] = values["probe_rounds"]
            elif name not in user:
                values[name] = [r for r in values[name] if r <= rounds] or [rounds]
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        found = error.errors()  # others may follow from what the user said
        said = next((each for each in found if each["loc"] and each["loc"][0] in user), found[0])
        raise RecipeError(f"{called}: {_sentence(said)}") from error
    alone = [name for name in recipe.twins if name not in recipe.transfers]
    twins, transfers = (
        max((place for place, layer in enumerate(changes) if name in layer), default=-1)
        for name in ("twins", "transfers")
    )
    if alone and twins >= max(transfers, 0):  # transfers that were narrowed later leave the others' twins out
        raise RecipeError(
            f"{called}: twins: {alone[0]} is no transfer that is trained; name it in transfers, or not in twins"
        )
    return recipe


def unknown_field(layer: Mapping[str, Any]) -> str | None:
    """A sentence about the first name in a layer that is no field of a recipe; None if there is none."""
    try:
        Recipe.model_validate(layer)
    except ValidationError as error:
        return next((_sentence(each) for each in error.errors() if each["type"] in UNKNOWN_FIELD), None)
    return None


def _sentence(error: ErrorDetails) -> str:
    if error["type"] not in UNKNOWN_FIELD:
        return unfit(error)
    *outer, name = (str(part) for part in error["loc"])
    if outer:
        kind = {**NESTED, **OWN}[outer[0]]
        return unknown("field", name, [each.name for each in fields(kind)], ".".join([*outer, ""]))
    nested = [f"{of}.{each.name}" for of, kind in NESTED.items() for each in fields(kind)]
    return unknown("field", name, [*Recipe.model_fields, *nested])
