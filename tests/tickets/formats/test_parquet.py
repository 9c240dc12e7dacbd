from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tickets
from tickets import Provenance, Role, SignedTensor, Ticket, TicketError

PROVENANCE = Provenance("cifar100", "resnet50", "aws", 15, 0.035, "sound", "0123abcd")


@st.composite
def signed_tensors(draw: st.DrawFn) -> SignedTensor:
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=4))
    size = int(np.prod(shape, dtype=int))
    sign = torch.tensor(draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=size, max_size=size)), dtype=torch.int8)
    extra = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=torch.bool)
    return SignedTensor(draw(st.sampled_from(Role)), sign.view(shape), ((sign != 0) | extra).view(shape))


@given(st.dictionaries(st.text(min_size=1, max_size=8), signed_tensors(), max_size=4))
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, SignedTensor]) -> None:
    path = tmp_path_factory.mktemp("ticket") / "t.parquet"
    tickets.save(Ticket(tensors, PROVENANCE), path)
    loaded = tickets.load(path)
    assert loaded.tensors == tensors
    assert list(loaded.tensors) == list(tensors)
    assert loaded.provenance == PROVENANCE


def test_a_surviving_weight_of_zero_stays_in_the_mask(tmp_path: Path) -> None:
    # released code: the mask was inferred from sign != 0
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 1.0, -2.0], [0.0, 3.0, 4.0]]))
    mask = torch.tensor([[True, True, True], [False, True, False]])
    tickets.save(tickets.from_model(model, {"0.weight": mask}, 2, PROVENANCE), tmp_path / "t.parquet")
    loaded = tickets.load(tmp_path / "t.parquet")
    assert torch.equal(loaded.masks["0.weight"], mask)
    assert loaded.tensors["0.weight"].sign.tolist() == [[0, 1, -1], [0, 1, 0]]
    assert loaded.density == 4 / 6


def write(path: Path, **changes: object) -> None:
    """A ticket of one 2x2 tensor, with some columns replaced."""
    columns = {
        "name": ["conv.weight"],
        "shape": [[2, 2]],
        "role": ["prunable"],
        "sign": [[1, 0, -1, 0]],
        "surviving_zeros": [[]],
    }
    header = f'{{"schema_version": 1, {str(asdict(PROVENANCE))[1:-1]}}}'.replace("'", '"')
    schema = tickets.parquet.SCHEMA.with_metadata({b"winning_sign": header.encode()})
    pq.write_table(pa.table({**columns, **changes}, schema=schema), path)


def test_the_hand_written_ticket_is_valid(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet")
    assert tickets.load(tmp_path / "t.parquet").provenance == PROVENANCE


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sign": [[1, 2, 0, 0]]}, r"conv\.weight: a sign is -1, 0 or \+1"),
        ({"sign": [[1, 0, 0]]}, r"conv\.weight: 3 signs do not fill the shape \(2, 2\)"),
        ({"role": ["gamma"]}, r"conv\.weight: .*gamma"),
        ({"surviving_zeros": [[9]]}, r"conv\.weight: surviving_zeros names a position that does not exist"),
        ({"surviving_zeros": [[-1]]}, r"conv\.weight: surviving_zeros names a position that does not exist"),
        ({"surviving_zeros": [[0]]}, r"conv\.weight: surviving_zeros names .* whose sign is not 0"),
    ],
)
def test_a_bad_value_is_refused_by_the_tensors_name(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    write(tmp_path / "t.parquet", **changes)
    with pytest.raises(TicketError, match=sentence):
        tickets.load(tmp_path / "t.parquet")


@pytest.mark.parametrize("kept", [0, 3, 100, -9, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "t.parquet"
    write(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TicketError, match="no readable ticket"):
        tickets.load(path)


def test_other_parquet_files_and_schemas_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(TicketError, match="no ticket"):
        tickets.load(tmp_path / "t.parquet")
    with pytest.raises(TicketError, match="no readable ticket"):
        tickets.load(tmp_path / "missing.parquet")


def test_a_resnet50_ticket_at_density_0035_is_small(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(2048, 1150, 3, bias=False), nn.Linear(2, 3))  # 21 M weights
    stream = torch.Generator().manual_seed(0)
    mask = torch.rand(model[0].weight.shape, generator=stream) < 0.035
    tickets.save(tickets.from_model(model, {"0.weight": mask}, 3, PROVENANCE), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1.5e6


def test_a_ticket_that_does_not_fit_names_the_tensor_and_changes_nothing() -> None:
    small, large = (nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2)) for width in (3, 5))
    masks = {"0.weight": torch.ones(3, 4, dtype=torch.bool)}
    ticket = tickets.from_model(small, masks, 2, PROVENANCE)
    before = {name: tensor.clone() for name, tensor in large.state_dict().items()}
    with pytest.raises(TicketError, match=r"0\.weight: the ticket has shape \(3, 4\), the model \(5, 4\)"):
        ticket.apply(large, seed=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in large.state_dict().items())
    with pytest.raises(TicketError, match=r"1\.bias: the model has no such parameter"):
        ticket.apply(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False)))
    shorter = replace(ticket, tensors={name: t for name, t in ticket.tensors.items() if name != "1.bias"})
    with pytest.raises(TicketError, match=r"1\.bias: the ticket has no such tensor"):
        shorter.apply(small)


def test_a_flipped_bit_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 3))
    ticket = tickets.from_model(model, {"0.weight": torch.rand(30, 20) < 0.5}, 3, PROVENANCE)
    tickets.save(ticket, tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    refused = 0
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        (tmp_path / "flipped.parquet").write_bytes(flipped)
        try:
            assert tickets.load(tmp_path / "flipped.parquet") == ticket, at
        except TicketError:
            refused += 1
    assert refused > len(content) / 2


def test_a_ticket_from_before_tickets_had_a_digest_is_read(tmp_path: Path) -> None:
    ticket = Ticket({"a": SignedTensor(Role.PRUNABLE, torch.ones(2).to(torch.int8), torch.ones(2) > 0)}, PROVENANCE)
    tickets.save(ticket, tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    metadata = {key: value for key, value in table.schema.metadata.items() if b"blake2b" not in key}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "before.parquet")
    assert tickets.load(tmp_path / "before.parquet") == ticket


def test_a_ticket_prints_as_one_line() -> None:
    sign = torch.tensor([[1, 0, -1], [0, 0, 1]], dtype=torch.int8)
    ticket = Ticket({"conv.weight": SignedTensor(Role.PRUNABLE, sign, sign != 0)}, PROVENANCE)
    assert repr(ticket) == "Ticket(cifar100/resnet50, aws round 15, density 0.5 of 6 prunable weights in 1 layers)"
    assert repr(ticket.tensors["conv.weight"]) == "SignedTensor(prunable, 2x3, 3 of 6 alive)"
