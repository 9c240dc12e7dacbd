"""What a stage computes, as values: one frozen dataclass per kind.

Every field here changes the numbers, so it belongs to the stage's key. What changes no number (devices, paths,
logging) is in ``workers.stages.execution``. A new field with a default leaves every existing key as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from tickets import Transfer
from workers.stages.schedule import UNIFORM, Alpha, Augmentation, Training
from workers.stages.serialisation import serialised_as

Preset = Literal["sound", "reference"]
Precision = Literal["float32", "bfloat16"]
IMAGE_SIZE = 224


@dataclass(frozen=True)
class Data:
    """A data set and the share of it that is trained on.

    Attributes:
        fingerprint: identifies the content of the files; two copies of the same data have the same fingerprint.
        validation_fraction: share of the training images held out for validation.
        image_size: side in pixels to which images of varying size are cropped, and images of one size are averaged.
            The default leaves images of one size as they are.
        pixel_mean, pixel_std: normalise images by these values per channel, in units of 0 to 1. None takes those of
            the training images, or ImageNet's for streamed images.
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
        watch_test_set: evaluate the test set after each epoch, as the released code does. The preset ``sound`` reads
            it once.
        precision: of convolutions and matrix products; parameters, statistics and updates are always float32.
    """

    preset: Preset
    data: Data
    model: Model
    watch_test_set: bool = False
    precision: Precision = "float32"


@dataclass(frozen=True)
class Criterion:
    """A pruning criterion by its registered name (``workers.pruning.criteria``); the lowest scores are pruned."""

    name: str = "magnitude"
    version: int = 1


@dataclass(frozen=True)
class Pruning:
    """How the rounds of a chain prune. The defaults are the paper's, for AWS and LRR.

    Attributes:
        ticket_method: the method's name in its tickets; empty for AWS and LRR, which ``psi`` tells apart.
        prune_at: prune the network as it was after this epoch of round 0, in all rounds, without training in between;
            0 prunes at initialisation. None trains after each pruning.
        reset_to: after each pruning, reset the survivors to their values after this epoch of round 0 (input
            ``reset``); 0 is the initialisation. None keeps the trained weights.
        schedule_from: where the learning-rate schedule begins after a pruning: at its full value ("start"), in the
            epoch of ``reset_to`` ("reset"), or at its last value ("end": fine-tuning).
        one_shot: prune the network of round 0 in every round, directly to the round's density.
        steps: prunings per round, with new scores before each.
    """

    ticket_method: str = field(default="", metadata=serialised_as("method"))
    criterion: Criterion = Criterion()
    prune_at: int | None = None
    reset_to: int | None = None
    schedule_from: Literal["start", "reset", "end"] = "start"
    one_shot: bool = False
    steps: int = 1

    def share(self, prune_fraction: float, round_: int) -> float:
        """Share of the surviving weights of its input network that a round prunes."""
        return 1 - (1 - prune_fraction) ** round_ if self.one_shot else prune_fraction


MAGNITUDE_PRUNING = Pruning()

Psi = Literal["interpolated", "plain"]
"""Whether training interpolates psi towards its initialisation (AWS), or leaves psi as it is (LRR, other methods)."""
METHOD_OF_PSI: Mapping[Psi, str] = {"interpolated": "aws", "plain": "lrr"}
_SERIALISED_PSI = serialised_as("method", METHOD_OF_PSI)


@dataclass(frozen=True)
class Pretrain:
    """Round 0: dense training of a fresh network. AWS interpolates psi here already.

    Attributes:
        alpha: distribution of the interpolation weight; unused with plain psi.
    """

    kind: ClassVar[str] = "pretrain"
    version: ClassVar[int] = 1
    setting: Setting
    training: Training
    psi: Psi = field(metadata=_SERIALISED_PSI)
    init_seed: int
    sgd_seed: int
    alpha: Alpha = UNIFORM


@dataclass(frozen=True)
class Round:
    """Prune, rewind, train. Inputs: ``previous``, the network to prune, and ``reset``, the network to rewind to.

    Attributes:
        alpha: as in ``Pretrain``.
        round: 1 is the first pruning round.
        prune_fraction: share of the surviving prunable weights that a round prunes, globally by score.
    """

    kind: ClassVar[str] = "round"
    version: ClassVar[int] = 1
    setting: Setting
    training: Training
    psi: Psi = field(metadata=_SERIALISED_PSI)
    round: int
    prune_fraction: float
    sgd_seed: int
    alpha: Alpha = UNIFORM
    pruning: Pruning = MAGNITUDE_PRUNING


@dataclass(frozen=True)
class Train:
    """Final training from a transferred start.

    Inputs: ``ticket``, the round whose ticket is transferred, unless the start is dense; and the other sources that
    the transfer names, such as ``round_3`` or ``epoch_0`` of the same chain.

    Attributes:
        read_test_set: evaluate the test set after the last epoch; a hyper-parameter search must not.
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
class Imported:
    """A ticket from elsewhere, copied into the store: what it holds identifies it, not where it came from.

    A sweep copies it (``orchestrator.imports``); no worker computes it.

    Attributes:
        ticket_blake2b: digest of signs, masks and roles by name.
        weights_blake2b: digest of the ticket's trained weights; None without them.
    """

    kind: ClassVar[str] = "imported"
    version: ClassVar[int] = 1
    ticket_blake2b: str
    weights_blake2b: str | None = None


@dataclass(frozen=True)
class Probe:
    """Error along the straight path between two solutions. Inputs: ``a`` (at lambda 1) and ``b`` (at lambda 0).

    Attributes:
        points: number of values of lambda, evenly spaced over [0, 1] with both ends.
        bn_images: number of augmented training images that re-estimate batch-norm statistics; None takes all.
        bn_momentum: None resets the statistics and averages cumulatively; 0.1 is the released code's.
        draw_seed: draws those images; all points share the draw, so that its noise is paired.
        bn_reset: with a momentum, reset the statistics first. Probes without the field started from interpolated ones.
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
    bn_reset: bool = False


@dataclass(frozen=True)
class PathEvaluation:
    """How a registered probe evaluates networks on paths: with the fields of ``Probe``, as the barrier beside it."""

    points: int
    batch_size: int
    bn_images: int | None
    bn_momentum: float | None
    augmentation: Augmentation = "none"
    draw_seed: int = 0
    bn_reset: bool = False

    @property
    def lambdas(self) -> list[float]:
        """The places on a path: shares of its first network, from 0 to 1."""
        return [index / (self.points - 1) for index in range(self.points)]


@dataclass(frozen=True)
class PairProbe:
    """A registered measure of two solutions, such as their distance. Inputs: ``a`` and ``b``, as in ``Probe``.

    Attributes:
        probe, probe_version: the measure's registered name and version (``workers.probing.probes``).
        path: how it evaluates networks on paths; None for a measure that evaluates none.
    """

    kind: ClassVar[str] = "pair_probe"
    version: ClassVar[int] = 1
    setting: Setting
    probe: str
    probe_version: int = 1
    path: PathEvaluation | None = None


@dataclass(frozen=True)
class Landscape:
    """Error on a grid of the plane through three solutions. Inputs: ``a``, ``b`` and ``c``.

    Attributes:
        points: grid points per side.
        margin: how far the grid extends beyond the solutions, as a share of the longer side of their bounding box.
        batch_size, bn_images, bn_momentum, augmentation, draw_seed, bn_reset: as in ``Probe``.
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
    bn_reset: bool = False


Stage = Pretrain | Round | Train | Imported | Probe | PairProbe | Landscape
STAGE_KINDS: Mapping[str, type[Stage]] = {
    stage.kind: stage for stage in (Pretrain, Round, Train, Imported, Probe, PairProbe, Landscape)
}


def width(stage: Stage) -> int:
    """Number of devices that a stage needs at the same time."""
    return 1 if isinstance(stage, Imported | Probe | PairProbe | Landscape) else stage.training.gang.ranks
