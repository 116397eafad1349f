"""NumPy arrays and scalars: dtype with its byte order, shape, the order of the axes in memory, and content."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from plimsoll.encoding.writer import COUNT, Writer, class_name, own_attributes


def put_numpy(to: Writer, value: Any) -> bool:
    """Write a value of NumPy; return False, having written nothing, for what is no array, scalar or dtype.

    Args:
        to: takes it.
        value: of a class of NumPy.
    """
    numpy = sys.modules["numpy"]
    if isinstance(value, numpy.dtype):
        to.items(b"G", ("dtype", repr(value), *_notes(value)))
    elif isinstance(value, numpy.ma.MaskedArray):
        mask = None if value.mask is numpy.ma.nomask else value.mask
        to.items(b"G", ("masked", class_name(type(value)), value.data, mask, value.fill_value, value.hardmask))
        if own := own_attributes(value):
            to.items(b"=", own)
    elif isinstance(value, numpy.ndarray):
        if type(value) not in (numpy.ndarray, numpy.memmap):
            to.text(class_name(type(value)))
            if own := own_attributes(value):
                to.items(b"=", own)
        put_array(to, value)
    elif isinstance(value, numpy.generic):
        to.count(b"g", 1)
        put_array(to, numpy.asarray(value))
    else:
        return False
    return True


def put_array(to: Writer, value: Any) -> None:
    """Write an array as dtype, shape, order of its axes in memory, and content; padding and gaps do not count.

    Args:
        to: takes it.
        value: the array.
    """
    numpy = sys.modules["numpy"]
    dtype = value.dtype
    to.items(b"A", (repr(dtype) if dtype.fields or dtype.kind not in "biufcmMSU" else dtype.str, tuple(map(int, value.shape))))
    if value.ndim > 1 and not value.flags.c_contiguous and (order := axis_order(value.strides)) != sorted(order):
        # A function can see it (ravel("K")), and sums come out with other roundings.
        to.items(b"j", order)
    for notes in _notes(dtype):
        to.child(notes, lambda: ".dtype.metadata")
    if dtype.fields:
        for name in dtype.names:
            put_array(to, numpy.asarray(value[name]))
    elif dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        # The bytes of a long double hold padding that is never set.
        to.items(b"l", [repr(item) for item in value.reshape(-1)])
    elif dtype.kind in "biufcmMSUV":
        flat = numpy.ascontiguousarray(value).reshape(-1)
        to.leaf(b"y", memoryview(flat.view(numpy.uint8)) if dtype.itemsize and flat.size else b"")
    else:
        put_cells(to, value.reshape(-1).tolist())


def _notes(dtype: Any) -> list[dict[str, Any]]:
    """Return what was attached to a dtype, which no text of it shows; nothing for nearly all."""
    return [dict(dtype.metadata)] if dtype.metadata else []


def axis_order(strides: Sequence[int]) -> list[int]:
    """Return the axes of an array, those first whose neighbours lie farthest apart in memory.

    Args:
        strides: distance of neighbours, axis by axis.
    """
    return sorted(range(len(strides)), key=lambda axis: (-abs(strides[axis]), axis))


def put_cells(to: Writer, cells: list[Any]) -> None:
    """Write a list of cells; a column of text is packed, as one by one it would take many times longer.

    Args:
        to: takes it.
        cells: any values.
    """
    if cells and all(type(cell) is str for cell in cells):
        encoded = [cell.encode("utf-8", "surrogatepass") for cell in cells]
        to.leaf(b"k", b"".join(COUNT.pack(len(cell)) for cell in encoded))
        to.leaf(b"y", b"".join(encoded))
    else:
        to.items(b"l", cells)
