"""A ticket's columns in numpy: the same signs and masks that ``tickets.load`` gives, without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickets
from tests.tickets.networks import network, random_masks, ticket_of
from tickets.errors import TicketError
from tickets.files.columns import read_columns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = network()
    tickets.save(ticket_of(model, random_masks(model)), tmp_path / "ticket.parquet")
    return tmp_path / "ticket.parquet"


def test_columns_hold_the_signs_and_masks_of_the_ticket(path: Path) -> None:
    columns, ticket = read_columns(path), tickets.load(path)
    assert columns.names == tuple(ticket.tensors)
    for shape, role, part, tensor in zip(
        columns.shapes, columns.roles, columns.slices(), ticket.tensors.values(), strict=True
    ):
        assert (shape, role) == (tuple(tensor.sign.shape), tensor.role.value)
        assert np.array_equal(columns.sign[part], tensor.sign.flatten().numpy())
        assert np.array_equal(columns.mask[part], tensor.mask.flatten().numpy())


def test_a_tensor_that_occurs_twice_is_named(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(TicketError, match=r"ticket\.parquet: 0\.weight occurs twice"):
        read_columns(path)


def test_reading_columns_loads_no_torch(path: Path) -> None:
    code = f"""
import sys, tickets
from tickets.files.columns import read_columns
assert read_columns({str(path)!r}).names
print([name for name in ("torch", "ray") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
