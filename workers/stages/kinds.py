"""What a stage computes, as values: one frozen dataclass per kind.

Every field here changes the numbers, and so belongs to the stage's key. What does not (devices, paths, logging) is
in ``workers.stages.execution``. A field may be added later with a default without changing any existing key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from tickets import Transfer

PsiTraining = Literal["aws", "lrr"]
Preset = Literal["sound", "reference"]
Augmentation = Literal["none", "crop_flip", "half_resized_crop_flip", "resized_crop_flip"]
Precision = Literal["float32", "bfloat16"]
BatchNormPolicy = Literal["synchronised", "per_rank"]

IMAGE_SIZE = 224


@dataclass(frozen=True)
class Data:
    """A data set and the part of it that is trained on.

    Attributes:
        fingerprint: identifies the files' content; two copies of the same data have the same.
        validation_fraction: share of the training images that is held out for every choice; 0 holds out none.
        image_size: side in pixels of what the network sees of images of many sizes; the others have their own.
        pixel_mean, pixel_std: what images are normalised with, by channel, in units of 0 to 1; None for the training
            images' own, or ImageNet's for streamed images.
    """

    name: str
    fingerprint: str
    validation_fraction: float
    image_size: int = IMAGE_SIZE
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Model:
    """An architecture by its registered name, with its constructor's options."""

    name: str
    options: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class Setting:
    """What every stage of one experiment shares.

    Attributes:
        watch_test_set: evaluate the test set after each epoch, as the released code does. ``sound`` reads it once.
        precision: of convolutions and matrix products; parameters, statistics and updates are float32 either way.
    """

    preset: Preset
    data: Data
    model: Model
    watch_test_set: bool = False
    precision: Precision = "float32"


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum, or Adam with L2 in the gradient (not AdamW); weight decay covers all parameters."""

    learning_rate: float
    name: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True)
class Schedule:
    """Learning rate by epoch: constant, times ``factor`` at each milestone, or a cosine to ``factor`` times it."""

    name: Literal["constant", "steps", "cosine"] = "constant"
    milestones: tuple[int, ...] = ()
    factor: float = 0.1


@dataclass(frozen=True)
class Gang:
    """The devices that train one network together, each on its share of every batch.

    Attributes:
        ranks: how many. They change the numbers: by rounding alone with synchronised batch norm and without dropout,
            whose draws are each rank's own.
        batch_norm: normalise by the statistics of the whole batch ("synchronised"), or of each rank's share of it.
    """

    ranks: int = 1
    batch_norm: BatchNormPolicy = "synchronised"


@dataclass(frozen=True)
class Training:
    """One training: a new optimizer, stepped over ``epochs`` passes; the tail batch of an epoch is kept.

    Attributes:
        epochs: of the whole schedule; with none the network stays as it is.
        first_epoch, stop_after: the part of the schedule that is trained, if not all of it: the epochs from the first
            one on, counted from 0, and as many as are over when it stops.
        batch_size: images in a step, of all ranks together.
        compiled: whether the forward pass goes through torch.compile, whose fused operations round differently.
    """

    epochs: int
    batch_size: int
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    augmentation: Augmentation = "none"
    compiled: bool = False
    gang: Gang = Gang()
    first_epoch: int = 0
    stop_after: int | None = None

    @property
    def span(self) -> range:
        """The epochs of the schedule that are trained, counted from 0."""
        return range(self.first_epoch, self.epochs if self.stop_after is None else self.stop_after)


def learning_rate(training: Training, epoch: int) -> float:
    """Learning rate in an epoch, counted from 0; it is stepped once per epoch."""
    full, schedule = training.optimizer.learning_rate, training.schedule
    if schedule.name == "steps":
        return full * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    if schedule.name == "cosine":
        low = full * schedule.factor
        return low + (full - low) * (1 + math.cos(math.pi * epoch / training.epochs)) / 2
    return full


@dataclass(frozen=True)
class Alpha:
    """The distribution that AWS draws one alpha from for every batch; all values lie in [0, 1].

    Attributes:
        parameters: the ends (low, high) of a uniform distribution, or the shape (a, b) of a beta distribution.
    """

    name: Literal["uniform", "beta"] = "uniform"
    parameters: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        first, second = self.parameters
        if self.name == "uniform" and not 0 <= first <= second <= 1:
            raise ValueError(f"uniform takes low and high within 0 and 1, such as [0, 1], not [{first}, {second}]")
        if self.name == "beta" and not (0 < first < math.inf and 0 < second < math.inf):
            raise ValueError(f"beta takes two positive numbers, such as [2, 2], not [{first}, {second}]")


UNIFORM = Alpha()


@dataclass(frozen=True)
class Criterion:
    """What scores weights, by its registered name (``workers.pruning.criteria``): the lowest scores go."""

    name: str = "magnitude"
    version: int = 1


@dataclass(frozen=True)
class Pruning:
    """How the rounds of a chain prune. The defaults are the paper's, of AWS and LRR.

    Attributes:
        method: what its tickets are called, where it is neither AWS nor LRR.
        prune_at: epochs of round 0 after which all rounds prune, without training in between; 0 is at
            initialisation. None: each round prunes what it was given, and trains.
        reset_to: epoch of round 0 to whose values the survivors go back after each pruning (input ``reset``); 0 is the
            initialisation. None: weights carry over.
        schedule_from: where the learning rate begins again after a pruning: at its full value ("start"), where it was
            in the epoch of ``reset_to`` ("reset"), or where it ended ("end": fine-tuning).
        one_shot: every round prunes the network of round 0, at once, to its own density.
        steps: prunings in a row that a round consists of, scored anew after each.
    """

    method: str = ""
    criterion: Criterion = Criterion()
    prune_at: int | None = None
    reset_to: int | None = None
    schedule_from: Literal["start", "reset", "end"] = "start"
    one_shot: bool = False
    steps: int = 1

    def share(self, prune_fraction: float, round_: int) -> float:
        """Share of the weights that a round finds alive and that goes: of those of round 0, if it starts from there."""
        return 1 - (1 - prune_fraction) ** round_ if self.one_shot else prune_fraction


MAGNITUDE_PRUNING = Pruning()


@dataclass(frozen=True)
class Pretrain:
    """Round 0: dense training of a fresh network. Under AWS psi is interpolated here already.

    Attributes:
        method: whether psi is interpolated ("aws") or not ("lrr", and every other method).
        alpha: read under AWS only.
    """

    kind: ClassVar[str] = "pretrain"
    version: ClassVar[int] = 1
    setting: Setting
    training: Training
    method: PsiTraining
    init_seed: int
    sgd_seed: int
    alpha: Alpha = UNIFORM


@dataclass(frozen=True)
class Round:
    """Prune, then train. Inputs: ``previous``, the network that is pruned, and ``reset``, where it goes back to.

    Attributes:
        round: 1 is the first pruning round.
        prune_fraction: share of the surviving prunable weights that goes in a round, globally by score.
        method, alpha: as of ``Pretrain``.
    """

    kind: ClassVar[str] = "round"
    version: ClassVar[int] = 1
    setting: Setting
    training: Training
    method: PsiTraining
    round: int
    prune_fraction: float
    sgd_seed: int
    alpha: Alpha = UNIFORM
    pruning: Pruning = MAGNITUDE_PRUNING


@dataclass(frozen=True)
class Train:
    """The final training of some start. Inputs: ``ticket``, the round it comes from, unless the start is dense, and
    what else the transfer names: ``round_3`` or ``epoch_0`` of the same chain.

    Attributes:
        read_test_set: evaluate the test set after the last epoch; a search for hyper-parameters must not.
    """

    kind: ClassVar[str] = "train"
    version: ClassVar[int] = 1
    setting: Setting
    training: Training
    transfer: Transfer
    init_seed: int
    sgd_seed: int
    read_test_set: bool = True


@dataclass(frozen=True)
class Probe:
    """Error along the straight path between two solutions. Inputs: ``a`` (at lambda 1) and ``b`` (at lambda 0).

    Attributes:
        points: values of lambda, evenly spaced over [0, 1] with both ends.
        bn_images: augmented training images for the re-estimation of batch-norm statistics; None takes all.
        bn_momentum: None resets the statistics and averages cumulatively; 0.1 is the released code's.
        draw_seed: draws those images; the same for all points, so that noise is paired.
    """

    kind: ClassVar[str] = "probe"
    version: ClassVar[int] = 1
    setting: Setting
    points: int
    batch_size: int
    bn_images: int | None
    bn_momentum: float | None
    augmentation: Augmentation = "none"
    draw_seed: int = 0


@dataclass(frozen=True)
class PairProbe:
    """What else there is to measure of two solutions. Inputs: ``a`` and ``b``, as of a probe.

    Attributes:
        probe, probe_version: which function measures it, by its registered name (``workers.probing.probes``).
    """

    kind: ClassVar[str] = "pair_probe"
    version: ClassVar[int] = 1
    setting: Setting
    probe: str
    probe_version: int = 1


@dataclass(frozen=True)
class Landscape:
    """Error on a grid of the plane through three solutions. Inputs: ``a``, ``b`` and ``c``.

    Attributes:
        points: of the grid, on each of its sides.
        margin: how far the grid goes beyond the solutions, as a share of the longer side of what encloses them.
        batch_size, bn_images, bn_momentum, augmentation, draw_seed: as of a probe.
    """

    kind: ClassVar[str] = "landscape"
    version: ClassVar[int] = 1
    setting: Setting
    points: int
    margin: float
    batch_size: int
    bn_images: int | None
    bn_momentum: float | None
    augmentation: Augmentation = "none"
    draw_seed: int = 0


Stage = Pretrain | Round | Train | Probe | PairProbe | Landscape
STAGE_KINDS: Mapping[str, type[Stage]] = {
    stage.kind: stage for stage in (Pretrain, Round, Train, Probe, PairProbe, Landscape)
}


def width(stage: Stage) -> int:
    """Devices that a stage needs at the same time."""
    return 1 if isinstance(stage, Probe | PairProbe | Landscape) else stage.training.gang.ranks
