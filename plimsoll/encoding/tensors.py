"""torch tensors: dtype, shape, layout, order of the axes in memory, device, gradient, what was attached, and content."""

from __future__ import annotations

import sys
from typing import Any

from plimsoll.encoding.arrays import axis_order, put_array
from plimsoll.encoding.writer import Opaque, Writer, class_name

_PLAIN = "Pass a plain tensor (.dequantize(), .to_dense(), .full_tensor()), or mark the step as not cached."

#: Names of the parts of each compressed sparse layout, as methods.
_COMPRESSED = {
    "torch.sparse_csr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_bsr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_csc": ("ccol_indices", "row_indices", "values"),
    "torch.sparse_bsc": ("ccol_indices", "row_indices", "values"),
}


def put_torch(to: Writer, value: Any) -> bool:
    """Write a value of torch; return False, having written nothing, for what is no tensor, storage or type.

    Args:
        to: takes it.
        value: of a class of torch.
    """
    torch = sys.modules["torch"]
    if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.finfo, torch.iinfo)):
        to.items(b"G", ("torch", repr(value)))
    elif isinstance(value, torch.Tensor):
        _put_tensor(to, value)
    elif isinstance(value, (torch.UntypedStorage, torch.storage.TypedStorage)):
        # They come with a tensor of a class of the user's. Their own reduction is other bytes in each process.
        typed = isinstance(value, torch.storage.TypedStorage)
        plain = value._untyped_storage if typed else value
        content = torch.empty(0, dtype=torch.uint8).set_(plain.cpu())
        to.items(b"G", ("storage", class_name(type(value)), repr(value.dtype) if typed else "", str(plain.device), content))
    else:
        return False
    return True


def _put_tensor(to: Writer, tensor: Any) -> None:
    torch = sys.modules["torch"]
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise Opaque(f"is a {class_name(type(tensor))}, a kind of tensor whose content cannot be read plainly", _PLAIN)
    if tensor.is_quantized or tensor.is_nested or tensor.is_meta:
        raise Opaque("is a quantized, nested or meta tensor, whose content cannot be read plainly", _PLAIN)
    if not tensor.is_leaf:
        raise Opaque("was computed from a tensor that wants a gradient, and the way to it cannot be seen", "Call .detach() first.")
    kind, shape = class_name(type(tensor)), tuple(map(int, tensor.shape))
    to.items(b"V", (kind, repr(tensor.dtype), shape, repr(tensor.layout), str(tensor.device), tensor.requires_grad))
    try:
        _put_memory(to, tensor)
        _put_content(to, tensor.detach().cpu().resolve_conj().resolve_neg())
    except RuntimeError as error:
        raise Opaque(f"is a tensor whose content cannot be read: {error}", _PLAIN) from error
    # A gradient, hooks, and attributes of the user's are seen by whoever takes the tensor.
    attached = {**vars(tensor), **{name: item for name in ("grad", "_backward_hooks") if (item := getattr(tensor, name)) is not None}}
    to.count(b"h", len(attached))
    for name, item in sorted(attached.items()):
        to.text(name)
        to.child(item, lambda name=name: f".{name}")  # type: ignore[misc]


def _put_memory(to: Writer, tensor: Any) -> None:
    """Write how a tensor lies in memory where that is not how a new one does, and which tensor before it has the same memory.

    A function can ask for all of it; what is changed in place is changed in both, and a network trains a shared weight once.
    """
    torch = sys.modules["torch"]
    marks = (tensor.is_conj(), tensor.is_neg(), tensor.is_inference())
    if tensor.layout != torch.strided:
        to.put(marks if any(marks) else None)
        return
    memory = tensor.untyped_storage()
    lies = (*marks, tensor.is_shared(), tensor.storage_offset(), memory.nbytes() - tensor.numel() * tensor.element_size())
    to.put(lies if any(lies) else None)
    to.put(None if tensor.is_contiguous() else tensor.stride())
    to.put(to.again((str(tensor.device), memory.data_ptr()), tensor) if memory.nbytes() else None)


def _put_content(to: Writer, plain: Any) -> None:
    torch = sys.modules["torch"]
    if plain.layout == torch.strided:
        if plain.dim() > 1 and not plain.is_contiguous() and (order := axis_order(plain.stride())) != sorted(order):
            to.items(b"j", order)
        # Some of its dtypes (bfloat16) are unknown to NumPy; bytes are not. A single cell may claim any stride.
        flat = plain.contiguous().as_strided((plain.numel(),), (1,))
        put_array(to, flat.view(torch.uint8).numpy())
    elif plain.layout == torch.sparse_coo:
        # What is not coalesced yet is added up in the order in which it is there.
        to.put(plain.is_coalesced())
        for part in (plain._indices(), plain._values()):
            _put_tensor(to, part)
    elif repr(plain.layout) in _COMPRESSED:
        for method in _COMPRESSED[repr(plain.layout)]:
            _put_tensor(to, getattr(plain, method)())
    else:
        raise Opaque(f"is a tensor of layout {plain.layout}, which has no encoding", "Call .to_dense() first.")
