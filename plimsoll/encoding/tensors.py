"""torch tensors: class, dtype, shape, layout, device, whether they want a gradient, and content."""

from __future__ import annotations

import sys
from typing import Any

from plimsoll.encoding.arrays import put_array
from plimsoll.encoding.writer import Opaque, Writer, class_name


def put_torch(to: Writer, value: Any) -> bool:
    """Write a value of torch; return False, having written nothing, for what is no tensor and no type.

    Args:
        to: takes it.
        value: of a class of torch.
    """
    torch = sys.modules["torch"]
    if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
        to.items(b"G", ("torch", repr(value)))
    elif isinstance(value, torch.Tensor):
        _put_tensor(to, value)
    else:
        return False
    return True


def _put_tensor(to: Writer, tensor: Any) -> None:
    torch = sys.modules["torch"]
    name, device, shape = class_name(type(tensor)), str(tensor.device), tuple(map(int, tensor.shape))
    if tensor.is_quantized or tensor.is_nested or device == "meta":
        raise Opaque("is a quantized, nested or meta tensor, whose content cannot be read plainly")
    to.items(b"V", (name, repr(tensor.dtype), shape, repr(tensor.layout), device, tensor.requires_grad))
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if plain.layout == torch.strided:
        # Some of its dtypes (bfloat16) are unknown to NumPy; bytes are not.
        put_array(to, plain.contiguous().reshape(-1).view(torch.uint8).numpy())
    elif plain.layout == torch.sparse_coo:
        whole = plain.coalesce()
        _put_tensor(to, whole.indices())
        _put_tensor(to, whole.values())
    else:
        raise Opaque(f"is a tensor of layout {plain.layout}, which has no encoding", "Call .to_dense() first.")
