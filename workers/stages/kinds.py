"""What a stage computes, as values: one frozen dataclass per kind.

Every field here changes the numbers, so it belongs to the stage's key. What changes no number (devices, paths,
logging) is in ``workers.stages.execution``. A new field with a default leaves every existing key as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from tickets import Transfer
from workers.stages.pruning import MAGNITUDE_PRUNING, Pruning
from workers.stages.schedule import UNIFORM, Alpha, Augmentation, Training
from workers.stages.serialisation import serialised_as
from workers.stages.setting import Setting

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
class Probe:
    """Error along the straight path between two solutions. Inputs: ``a`` (at lambda 1) and ``b`` (at lambda 0).

    Attributes:
        points: number of values of lambda, evenly spaced over [0, 1] with both ends.
        bn_images: number of augmented training images that re-estimate batch-norm statistics; None takes all.
        bn_momentum: None resets the statistics and averages cumulatively; 0.1 is the released code's.
        draw_seed: draws those images; all points share the draw, so that its noise is paired.
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
    """A registered measure of two solutions, such as their distance. Inputs: ``a`` and ``b``, as in ``Probe``.

    Attributes:
        probe, probe_version: the measure's registered name and version (``workers.probing.probes``).
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
        points: grid points per side.
        margin: how far the grid extends beyond the solutions, as a share of the longer side of their bounding box.
        batch_size, bn_images, bn_momentum, augmentation, draw_seed: as in ``Probe``.
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
    """Number of devices that a stage needs at the same time."""
    return 1 if isinstance(stage, Probe | PairProbe | Landscape) else stage.training.gang.ranks
