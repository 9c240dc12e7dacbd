"""Digests: each is pinned to blake2b of the same bytes, since stored files and keys hold them."""

import hashlib
from pathlib import Path

import torch

from tickets.files import digest


def blake2b(content: bytes, size: int = 16) -> str:
    return hashlib.blake2b(content, digest_size=size).hexdigest()


def test_texts_bytes_and_files_have_blake2b_digests(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest.of_text("abc") == digest.of_bytes(b"a", b"bc") == digest.of_file(tmp_path / "file") == blake2b(b"abc")
    assert digest.of_text("é", size_bytes=8) == blake2b("é".encode(), 8)
    assert digest.sha256_of_file(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_tensors_are_digested_by_name_shape_and_bytes() -> None:
    tensors = {"b": torch.tensor([[1.0, -2.0]]).T, "a": torch.tensor(3), "c": torch.empty(0, dtype=torch.bool)}
    a, b = tensors["a"].numpy().tobytes(), tensors["b"].contiguous().numpy().tobytes()
    assert digest.of_tensors(tensors) == blake2b(b"a:():" + a + b"b:(2, 1):" + b + b"c:(0,):")
    assert digest.of_tensors(tensors, header="head", with_dtypes=True) == blake2b(
        b"heada:torch.int64:():" + a + b"b:torch.float32:(2, 1):" + b + b"c:torch.bool:(0,):"
    )


def test_a_tensor_that_numpy_cannot_hold_is_digested() -> None:
    ones = {"a": torch.ones(2, dtype=torch.bfloat16)}
    assert digest.of_tensors(ones) != digest.of_tensors({"a": -ones["a"]})
