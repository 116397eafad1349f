"""Digests of torch's values. Torch is no dependency: without it these tests are skipped."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plimsoll.data.code.closure import closure, value_closure
from plimsoll.data.code.surroundings import settings
from plimsoll.errors import Unfingerprintable
from plimsoll.fingerprint import digest_value
from tests.unit.encoding.nets import Net, net, smooth

torch: Any = pytest.importorskip("torch", reason="digests of tensors need torch")

DTYPES = sorted({each for each in vars(torch).values() if isinstance(each, torch.dtype) and "q" not in str(each)}, key=str)

ROOT = Path(__file__).parents[3]

#: Run in fresh processes: what they print must be the same.
PROGRAM = """
import torch
from plimsoll.data.code.closure import value_closure
from plimsoll.fingerprint import digest_value
from tests.unit.encoding.nets import Marked, net
rows = torch.arange(12.0).reshape(3, 4)
values = [rows, rows.T, rows.bfloat16(), rows.to_sparse(), rows.to_sparse_csr(), rows > 3, torch.nn.Parameter(rows), rows.untyped_storage()]
print([digest_value(value) for value in values], [value_closure(value)[0] for value in (net(), rows.as_subclass(Marked))])
"""


def bits(dtype: Any) -> Any:
    """Return a tensor of three cells by their bytes, since few dtypes can be filled by numbers."""
    return torch.arange(3 * dtype.itemsize, dtype=torch.uint8).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_dtype_are_told_apart_by_dtype_shape_and_bytes(dtype: Any) -> None:
    tensor = torch.zeros(3, dtype=torch.bool) if dtype == torch.bool else bits(dtype)
    others = [bits(each) for each in DTYPES if each not in (dtype, torch.bool)]
    others += [tensor[:2], tensor[:0], tensor[0], tensor.reshape(3, 1), tensor.reshape(1, 3)]
    assert digest_value(tensor) == digest_value(tensor.view(torch.uint8).clone().view(dtype))
    assert digest_value(tensor) not in {digest_value(other) for other in others}


def test_equal_tensors_that_lie_alike_have_one_digest() -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    pairs = [
        (rows, rows.clone()),
        (rows[1:].clone(), torch.arange(4.0, 12.0).reshape(2, 4)),
        (rows[1:], torch.arange(12.0).reshape(3, 4)[1:]),
        (rows.T, rows.T.clone()),
        (torch.zeros(3), torch.zeros(3)),
    ]
    for one, other in pairs:
        assert digest_value(one) == digest_value(other)


def test_how_a_tensor_lies_in_memory_counts() -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    complex_ = torch.tensor([1 + 2j, 3 - 1j])
    with torch.inference_mode():
        inferred = torch.zeros(3)
    pairs = [
        (rows[1:], rows[1:].clone()),
        (rows[:, ::2], rows[:, ::2].clone()),
        (torch.ones(1).expand(3), torch.ones(3)),
        (torch.zeros(4)[:3], torch.zeros(3)),
        (complex_.conj(), complex_.conj().resolve_conj()),
        (torch.tensor([1 + 2j]).conj().imag, torch.tensor([-2.0])),
        (inferred, torch.zeros(3)),
        (torch.zeros(3).share_memory_(), torch.zeros(3)),
    ]
    for one, other in pairs:
        assert digest_value(one) != digest_value(other)


def test_tensors_that_share_their_memory_are_not_like_others() -> None:
    one, other = torch.zeros(3), torch.zeros(3)
    assert digest_value([one, one]) != digest_value([one, other])
    assert digest_value([one, one]) == digest_value([other, other])
    assert digest_value([one, other, one]) != digest_value([one, other, other])
    # A weight that two layers share is trained once.
    tied, apart = (torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)) for _ in range(2))
    for each in (*tied.parameters(), *apart.parameters()):
        torch.nn.init.ones_(each)
    assert value_closure(tied)[0] == value_closure(apart)[0]
    tied[1].weight = tied[0].weight
    assert value_closure(tied)[0] != value_closure(apart)[0]


def test_defaults_of_torch_count_whoever_has_set_them() -> None:
    fresh = settings()
    assert "torch defaults" not in fresh
    torch.set_default_dtype(torch.float64)
    try:
        assert "torch.float64" in settings()["torch defaults"]
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        assert settings() != fresh
    assert settings() == fresh


def test_what_a_network_notes_beside_its_state_counts() -> None:
    one, other = net().state_dict(), net().state_dict()
    other._metadata[""]["version"] = 7
    assert digest_value(one) != digest_value(other)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_what_a_function_can_tell_apart_has_two_digests() -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    twice = torch.sparse_coo_tensor([[0, 0], [0, 0]], [1.0, 2.0], (3, 3), check_invariants=True)
    learned, noted, hooked = (torch.ones(2, requires_grad=True) for _ in range(3))
    learned.sum().backward()
    noted.unit = "cm"
    hooked.register_hook(abs)
    images = torch.zeros(2, 3, 4, 4)
    values = [
        1, 1.0, True, [1.0], torch.tensor(1), torch.tensor(1.0), torch.tensor(True), torch.tensor([1.0]), torch.tensor([[1.0]]),
        torch.tensor(-0.0), torch.tensor(0.0), torch.tensor(float("nan")), rows, rows.T, rows.T.contiguous(), images,
        images.to(memory_format=torch.channels_last), torch.ones(2), torch.ones(2, requires_grad=True), learned, noted,
        torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.eye(4), torch.eye(4).to_sparse(),
        torch.eye(4).to_sparse_csr(), torch.eye(4).to_sparse_csc(), torch.eye(4).to_sparse_bsr((2, 2)), torch.eye(4).to_sparse_bsc((2, 2)),
        twice, twice.coalesce(), torch.float32, torch.device("cpu"), torch.finfo(torch.float32), torch.ones(2).untyped_storage(),
        {"a": torch.ones(2)}, {"b": torch.ones(2)}, torch.ones(2).numpy(),
    ]  # fmt: skip
    assert len({digest_value(value) for value in values}) == len(values)
    # A hook is a function, whose code only a closure sees.
    plain = torch.ones(2, requires_grad=True)
    assert value_closure(hooked)[0] != value_closure(plain)[0]


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation", "ignore:.*nested tensors", "ignore:Lazy modules")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), "quantized"),
        (lambda: torch.empty(3, device="meta"), "meta"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "NestedTensor"),
        (lambda: torch.ones(3).to_mkldnn(), "to_dense"),
        (lambda: torch.ones(3, requires_grad=True) * 2, "detach"),
        (lambda: torch.nn.LazyLinear(3).weight, "UninitializedParameter"),
    ],
)
def test_a_tensor_that_cannot_be_read_plainly_is_refused(make: Any, said: str) -> None:
    with pytest.raises(Unfingerprintable) as refused:
        digest_value([make()])
    assert said in str(refused.value)
    assert "value[0]" in str(refused.value)


def test_a_network_counts_by_its_weights_buffers_mode_hooks_and_code() -> None:
    def changed(change: Any) -> str:
        other = copy.deepcopy(net())
        change(other)
        return value_closure(other)[0]

    assert value_closure(net())[0] == value_closure(copy.deepcopy(net()))[0]
    assert digest_value(net().state_dict()) == digest_value(copy.deepcopy(net()).state_dict())
    edits = [
        lambda other: None,
        lambda other: other.linear.weight.data.add_(1),
        lambda other: other.mean.add_(1),
        lambda other: other.scratch.add_(1),
        lambda other: other.eval(),
        lambda other: other.linear.register_forward_hook(print),
        lambda other: setattr(other, "act", torch.tanh),
        lambda other: other.linear.requires_grad_(False),
    ]
    assert len({changed(edit) for edit in edits}) == len(edits)
    parts = {(part.kind, part.name.rpartition(".")[2]) for part in value_closure(net())[1]}
    assert parts >= {("code", Net.__name__), ("code", "forward"), ("environment", "torch")}


def test_a_function_of_a_compiled_inner_module_counts_by_the_version_of_its_library() -> None:
    assert ("environment", "torch") in {(part.kind, part.name) for part in closure(smooth)}


def test_every_process_gives_the_same_digests_of_tensors_and_networks() -> None:
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
