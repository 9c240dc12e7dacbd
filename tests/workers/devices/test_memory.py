"""A lack of memory on a GPU has many names."""

from __future__ import annotations

import pytest
import torch

from workers.attempts.attempt import _failed
from workers.devices.memory import out_of_memory


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), False),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
    ids=str,
)
def test_out_of_memory(error: Exception, is_one: bool) -> None:
    assert out_of_memory(error) == is_one
    assert (_failed(error, 0.0).error_type == "OutOfMemoryError") == is_one
