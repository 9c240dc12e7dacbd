from pathlib import Path

import pytest
import torch

from workers.data import open_data
from workers.data.splits import Splits, split_data
from workers.stages import Data


@pytest.fixture
def splits(data_cache: Path) -> Splits:
    data = open_data("tiny", "tiny-1", None, data_cache)
    return split_data(data, Data("tiny", "tiny-1", 0.1), torch.device("cpu"))
