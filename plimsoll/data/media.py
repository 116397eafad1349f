"""Figures and images as the bytes of files, and tables as frames, whichever library made them; none of those is imported here."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from plimsoll.data.tables.pandas_columns import is_pandas
from plimsoll.errors import InvalidInput
from plimsoll.records.run import check_artifact_name

#: Channels of an image -> PNG's colour type.
_COLOURS = {1: 0, 3: 2, 4: 6}


def figure_file(name: str, figure: Any) -> tuple[str, bytes]:
    """Return a figure's name, with a suffix, and its bytes: PNG of a matplotlib figure, HTML of a plotly figure.

    Args:
        name: as it was given.
        figure: has ``savefig``, or ``to_html`` and ``to_plotly_json``.

    Raises:
        InvalidInput: it is neither.
    """
    if hasattr(figure, "savefig"):
        name = _suffixed(name, ".png")
        buffer = io.BytesIO()
        figure.savefig(buffer, format=PurePosixPath(name).suffix[1:])
        return name, buffer.getvalue()
    if hasattr(figure, "to_html") and hasattr(figure, "to_plotly_json"):
        # The script that draws it is four megabytes; a browser fetches it.
        return _suffixed(name, ".html"), figure.to_html(include_plotlyjs="cdn").encode()
    raise InvalidInput(f"A {type(figure).__qualname__} is no figure.", "Give a figure of matplotlib or plotly, or log its file's Path.")


def image_file(name: str, image: Any) -> tuple[str, bytes]:
    """Return an image's name, with a suffix, and its bytes as PNG.

    Args:
        name: as it was given.
        image: a PIL image, or an array of ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` or ``(h, w, 4)``: uint8, bool, or floats from 0 to 1.

    Raises:
        InvalidInput: it is none of these.
    """
    if hasattr(image, "save") and hasattr(image, "getbands"):
        name = _suffixed(name, ".png")
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG" if name.lower().endswith((".jpg", ".jpeg")) else PurePosixPath(name).suffix[1:].upper())
        return name, buffer.getvalue()
    name = _suffixed(name, ".png")
    if not name.lower().endswith(".png"):
        raise InvalidInput(f"An array becomes a PNG file, not {name!r}.", "Name it with .png, or without a suffix.")
    return name, _png(_pixels(np.asarray(image)))


def table_of(table: Any) -> Any:
    """Return a table as a frame that can be stored: pandas as it is, anything else as a polars frame.

    Args:
        table: a frame of polars or pandas, an Arrow table, columns by name, or rows as dicts.

    Raises:
        InvalidInput: it is none of these.
    """
    if is_pandas(table) or isinstance(table, pl.DataFrame):
        return table
    rows = isinstance(table, list) and all(isinstance(row, Mapping) for row in table)
    if rows or isinstance(table, Mapping) or hasattr(table, "__arrow_c_stream__"):
        try:
            return pl.DataFrame(table)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise InvalidInput(
                f"This is no table: {str(error).partition(chr(10))[0]}.", "Give columns of one length and one type each."
            ) from error
    raise InvalidInput(f"A {type(table).__qualname__} is no table.", "Give a frame, an Arrow table, columns by name, or rows as dicts.")


def _suffixed(name: str, suffix: str) -> str:
    check_artifact_name(name)
    return name if PurePosixPath(name).suffix else name + suffix


def _pixels(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return ``(h, w, channels)`` uint8."""
    pixels = array[:, :, None] if array.ndim == 2 else array
    remedy = "Give (h, w), (h, w, 3) or (h, w, 4), of uint8 or of floats from 0 to 1."
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOURS or not pixels.size:
        raise InvalidInput(f"An array of shape {array.shape} is no image.", remedy)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise InvalidInput("An image of floats has values outside of 0 to 1.", remedy)
        return (pixels * 255 + 0.5).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise InvalidInput(f"An array of {array.dtype} is no image.", remedy)
    return pixels


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    height, width, channels = pixels.shape
    rows = np.zeros((height, width * channels + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
