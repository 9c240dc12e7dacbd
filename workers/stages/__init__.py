"""What a stage computes, how it is run, and its form in files."""

from workers.stages.kinds import (
    METHOD_OF_PSI,
    STAGE_KINDS,
    Landscape,
    PairProbe,
    Pretrain,
    Probe,
    Psi,
    Round,
    Stage,
    Train,
    width,
)
from workers.stages.pruning import MAGNITUDE_PRUNING, Criterion, Pruning
from workers.stages.schedule import (
    UNIFORM,
    Alpha,
    Augmentation,
    BatchNormPolicy,
    Gang,
    Optimizer,
    Schedule,
    Training,
    learning_rate,
)
from workers.stages.serialisation import from_science, serialised_field, to_science
from workers.stages.setting import IMAGE_SIZE, Data, Model, Precision, Preset, Setting

__all__ = [
    "IMAGE_SIZE",
    "MAGNITUDE_PRUNING",
    "METHOD_OF_PSI",
    "STAGE_KINDS",
    "UNIFORM",
    "Alpha",
    "Augmentation",
    "BatchNormPolicy",
    "Criterion",
    "Data",
    "Gang",
    "Landscape",
    "Model",
    "Optimizer",
    "PairProbe",
    "Precision",
    "Preset",
    "Pretrain",
    "Probe",
    "Pruning",
    "Psi",
    "Round",
    "Schedule",
    "Setting",
    "Stage",
    "Train",
    "Training",
    "from_science",
    "learning_rate",
    "serialised_field",
    "to_science",
    "width",
]
