"""The recipe: all hyper-parameters for one data set and architecture, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestrator.recipes.limits import (
    BatchSize,
    Chains,
    Epochs,
    GridPoints,
    Images,
    ImageSize,
    Margin,
    Once,
    PathPoints,
    Rounds,
)
from orchestrator.recipes.methods import AVERAGED, METHODS, Method
from orchestrator.recipes.study import DENSE_SAME_BUDGET, Study
from orchestrator.recipes.values import GpuShare, PossibleOptimizer, PossibleRules, PossibleSchedule
from tickets import SIGN_SOURCES, TRANSFERS, Transfer, named_source
from tickets.registry import unknown
from workers.probing.probes import PROBES
from workers.stages import (
    IMAGE_SIZE,
    NO_RULES,
    UNIFORM,
    Alpha,
    Augmentation,
    BatchNormPolicy,
    Precision,
    Preset,
    Schedule,
)

Names = Annotated[tuple[str, ...], Once]
ROUND_END = "round_end"
OwnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class Recipe(BaseModel):
    """Hyper-parameters for one data set and architecture.

    Every field changes the numbers, except ``gpus_per_trial`` and ``study``.

    Attributes:
        model: options of the architecture, such as ``{width: 16}``.
        methods: pruning methods (``orchestrator.recipes.methods.METHODS``, and ``own_methods``).
        transfers: starts to train from each ticket beside its retrain (``tickets.TRANSFERS``, and ``own_transfers``).
        twins: transfers to train a second time with another SGD seed, for stability.
        landscapes: in probe rounds, error landscapes through three starts each: ``[[retrain, signed, mask]]``.
        landscape_points: grid points of a landscape per side; its cost grows with their square.
        landscape_margin: how far a landscape extends beyond its solutions, in longer sides of their bounding rectangle.
        round_training, final_training: what happens in a chain's trainings (round 0 and the rounds), and in all final
            trainings; ``Method.training`` wins over the former. A network without masks has no mask rule.
        first_epochs: by start, the epoch of ``final_schedule`` at which its final training begins, if not at 0.
        own_methods, own_transfers: the user's methods and transfers by name, as fields of ``Method`` and ``Transfer``.
        transfer_rounds: rounds whose tickets are retrained and transferred: a list, "all" or "probed".
        probe_rounds: rounds whose tickets are also probed: a list, or "all".
        tickets_from: other data sets of the sweep, whose tickets are compared on this one too; its own name is ignored.
        probes: measures of each probed pair besides its barrier (``workers.probing.probes.PROBES``).
        chains: independent pruning chains per method.
        seeds: transfer seeds, and dense trainings.
        dense_same_budget: also train dense networks for the epochs of the longest chain and a final training together.
        test_rounds: also test the network at the end of every round, as it is: the start ``round_end``.
        probe_successive_rounds: also probe each round's network with that of the round before (Paul et al. 2023).
        study: the primary questions, and the numbers of chains at which they are judged; part of no key.
        alpha: the distribution of AWS's alpha.
        image_size: side of the network's input in pixels: streamed images are cropped to it, images of one size are
            averaged to it; the default leaves images of one size as they are.
        pixel_mean, pixel_std: normalisation of images by channel, in units of 0 to 1; null takes the training images'
            own, or ImageNet's for streamed images.
        precision: of convolutions and matrix products, in training, evaluation and probes.
        compile_from_epochs: compile trainings of at least this many epochs with torch.compile; null compiles none.
            Compiling takes tens of seconds, and fused operations round differently, so this is part of a stage's key.
        gpus_per_stage: devices that train one network together, each on its share of every batch. Numbers change by
            rounding alone if the network has no dropout and batch norm is synchronised.
        gpus_per_trial: share of a GPU for each trial of a search; null takes the default. It is part of no key.
        batch_norm: statistics on several devices: of the whole batch ("synchronised") or each device's ("per_rank").
        bn_images, bn_momentum: of re-estimation in probes; null takes all images, and averages them after a reset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    arch: str
    preset: Preset = "sound"
    model: dict[str, int | float | bool | str] = Field(default_factory=dict)
    optimizer: PossibleOptimizer
    batch_size: BatchSize
    augmentation: Augmentation
    image_size: ImageSize = IMAGE_SIZE
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    precision: Precision = "float32"
    compile_from_epochs: Epochs | None = None
    gpus_per_stage: int = Field(default=1, ge=1)
    gpus_per_trial: GpuShare = Field(default=None, exclude=True)
    batch_norm: BatchNormPolicy = "synchronised"
    pretrain_epochs: Epochs
    rounds: Rounds
    round_epochs: Epochs
    round_schedule: PossibleSchedule = Schedule()
    round_training: PossibleRules = NO_RULES
    prune_fraction: float = Field(default=0.2, gt=0, lt=1)
    alpha: Alpha = UNIFORM
    final_epochs: Epochs
    final_schedule: PossibleSchedule
    final_training: PossibleRules = NO_RULES
    first_epochs: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    methods: Names = ("aws", "lrr")
    own_methods: dict[OwnName, Method] = Field(default_factory=dict)
    transfers: Names = ("signed", "mask")
    twins: Names = ("signed",)
    landscapes: Annotated[tuple[tuple[str, ...], ...], Once] = ()
    landscape_points: GridPoints = 15
    landscape_margin: Margin = 0.25
    own_transfers: dict[OwnName, Transfer] = Field(default_factory=dict)
    transfer_rounds: Annotated[tuple[int, ...], Once]
    probe_rounds: Annotated[tuple[int, ...], Once]
    probes: Names = ()
    tickets_from: Names = ()
    chains: Chains = 1
    seeds: Chains = 3
    dense_same_budget: bool = False
    test_rounds: bool = False
    probe_successive_rounds: bool = False
    study: Study = Field(default=Study(), exclude=True)
    validation_fraction: float = Field(ge=0, lt=1)
    watch_test_set: bool
    probe_points: PathPoints = 11
    bn_images: Images | None = None
    bn_momentum: float | None = Field(default=None, gt=0, le=1)

    @property
    def known_methods(self) -> Mapping[str, Method]:
        """Built-in methods and the user's, by name."""
        return {**METHODS, **self.own_methods}

    @property
    def known_transfers(self) -> Mapping[str, Transfer]:
        """Built-in transfers and the user's, by name."""
        return {**TRANSFERS, **self.own_transfers}

    @property
    def other_data(self) -> tuple[str, ...]:
        """The data sets whose tickets are compared on this one."""
        return tuple(name for name in self.tickets_from if name != self.dataset)

    @property
    def compared_rounds(self) -> list[int]:
        """Rounds whose tickets are retrained and transferred, in their order."""
        return sorted({*self.transfer_rounds, *self.probe_rounds})

    @property
    def seed_numbers(self) -> range:
        """Transfer seeds: 1 to ``seeds``."""
        return range(1, self.seeds + 1)

    def start(self, transfer: str) -> Transfer:
        """A transfer by name, with the registered version of its sign source."""
        start = self.known_transfers[transfer]
        source = SIGN_SOURCES.get(start.signs)
        return start if source is None else replace(start, signs_version=source.version)

    def round_zero_epochs(self, method: str) -> int:
        """Epochs of a method's round 0."""
        spec = self.known_methods[method]
        whole = self.final_epochs if spec.schedule == "final" else self.pretrain_epochs
        return whole if spec.prune_at is None else min(spec.prune_at, whole)

    @model_validator(mode="after")
    def _own_names_are_new(self) -> Recipe:
        for what, own, builtin in (
            ("method", self.own_methods, METHODS),
            ("transfer", self.own_transfers, (*TRANSFERS, DENSE_SAME_BUDGET, ROUND_END)),
        ):
            if taken := own.keys() & {*builtin}:
                raise ValueError(f"own_{what}s: {min(taken)} is a built-in {what}; give yours another name")
        return self

    @model_validator(mode="after")
    def _methods_can_run(self) -> Recipe:
        for name in self.methods:
            if name not in self.known_methods:
                raise ValueError(f"methods: {unknown('method', name, self.known_methods)}")
            method, epochs = self.known_methods[name], self.round_zero_epochs(name)
            method.pruning(name)
            for field in ("prune_at", "reset_to"):
                if (getattr(method, field) or 0) > epochs:
                    raise ValueError(
                        f"method {name}: {field} {getattr(method, field)} is beyond round 0, which has {epochs} epochs"
                    )
        return self

    @model_validator(mode="after")
    def _transfers_can_run(self) -> Recipe:
        for name in (*self.transfers, *self.twins):
            if name not in self.known_transfers:
                raise ValueError(f"transfers: {unknown('transfer', name, self.known_transfers)}")
            if name in ("dense", "retrain"):
                raise ValueError(f"{name} is trained in every sweep; leave it out of transfers and twins")
            start = self.known_transfers[name]
            if start.signs not in ("fresh", "ticket", *SIGN_SOURCES) and not named_source(start.signs):
                sources = ("fresh", "ticket", *SIGN_SOURCES, "round_3", "epoch_0", "init_2", "dense_20")
                raise ValueError(f"transfer {name}: {unknown('sign source', start.signs, sources)}")
            for kind, number in filter(None, map(named_source, start.others)):
                epochs = min(map(self.round_zero_epochs, self.methods), default=number)
                last = {"round": self.rounds, "epoch": epochs, "dense": self.final_epochs}.get(kind, number)
                if number > last:
                    unit = kind.replace("dense", "epoch")
                    raise ValueError(f"transfer {name}: {kind}_{number} is beyond the last {unit}, {last}")
            for why in filter(None, map(start.unfit_at, self.compared_rounds)):
                raise ValueError(f"transfer {name}: {why}")
            if start.matched:
                self._check_dense_solutions(name)
        return self

    def _check_dense_solutions(self, transfer: str) -> None:
        """Refuse to match a chain's dense solution where there is none."""
        for name in self.methods:
            if self.known_methods[name].prune_at is not None:
                raise ValueError(
                    f"transfer {transfer} matches the dense solution of each chain, and method {name} prunes before "
                    f"its chain has one; leave one of them out"
                )
        if self.other_data:
            raise ValueError(
                f"transfer {transfer} matches dense solutions of one data set; leave it out, or set tickets_from=[]"
            )

    @model_validator(mode="after")
    def _landscapes_have_three_starts(self) -> Recipe:
        starts = [name for name in self.known_transfers if name != "dense"]
        for named in self.landscapes:
            for name in named:
                if name not in starts:
                    raise ValueError(f"landscapes: {unknown('start', name, starts)}")
            if len(named) != 3 or len(set(named)) != 3:
                raise ValueError(
                    f"landscapes: [{', '.join(named)}]: name three different starts, such as [retrain, signed, mask]"
                )
        return self

    @model_validator(mode="after")
    def _study_is_possible(self) -> Recipe:
        more = {DENSE_SAME_BUDGET: self.dense_same_budget, ROUND_END: self.test_rounds}
        trained = {"retrain", *self.transfers} if self.transfer_rounds or self.probe_rounds else set()
        probed = set(self.transfers) if self.probe_rounds else set()
        twins = probed & {*self.twins} | ({"retrain"} if self.probe_rounds and self.seeds > 1 else set())
        starts = dict.fromkeys(("barrier", "chord", *self.probes), probed) | {"stability": twins, "sign_flips": trained}
        starts["accuracy"] = trained | {name for name in more if more[name]}
        across = [f"{method}@{name}" for name in self.other_data for method in self.methods]
        self.study.check(self.chains, self.seeds, (*self.methods, *across), starts)
        return self

    @model_validator(mode="after")
    def _rounds_can_be_measured(self) -> Recipe:
        for measure in ("test_rounds", "probe_successive_rounds"):
            for name in self.methods if getattr(self, measure) else ():
                if why := self.known_methods[name].why_not(measure):
                    remedy = f"leave it out of methods, or set {measure} to false"
                    raise ValueError(f"{measure}: method {name} {why}; {remedy}")
        aws = [name for name in self.methods if self.known_methods[name].interpolate_psi]
        own = [name for name in self.probes if PROBES[name].statistics]
        if self.probe_successive_rounds and aws and own:
            why = f"{AVERAGED}, with which probe {own[0]} takes its networks; leave one of them out"
            raise ValueError(f"probe_successive_rounds: method {aws[0]} {why}")
        return self

    @field_validator("probes")
    @classmethod
    def _probes_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in PROBES:
                raise ValueError(unknown("probe", name, PROBES, plugins=True))
        return value

    @model_validator(mode="after")
    def _gang_can_share(self) -> Recipe:
        ranks = self.gpus_per_stage
        if self.batch_size % ranks or (ranks > 1 and self.batch_size < 3 * ranks):  # a short batch gives a rank up to 3
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of gpus_per_stage {ranks}, at least 3 images on each"
            )
        if ranks > 1 and self.compile_from_epochs is not None:
            raise ValueError("gpus_per_stage above 1 runs without torch.compile; set compile_from_epochs to null")
        return self

    @model_validator(mode="after")
    def _rounds_exist(self) -> Recipe:
        for name in ("probe_rounds", "transfer_rounds"):
            if beyond := [r for r in getattr(self, name) if not 0 <= r <= self.rounds]:
                raise ValueError(f"{name} holds {beyond[0]}, and the rounds are 0 to {self.rounds}")
        return self
