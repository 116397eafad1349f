"""Regular expressions that strangers write: matched in time that grows with the text, whatever the pattern.

Python's own engine takes for ever with some patterns, and holds all other threads meanwhile.
"""

from __future__ import annotations

import importlib
from typing import Any

from plimsoll.errors import InvalidInput

_SYNTAX = "Write it in the syntax of https://docs.rs/regex, which has no look-around and no back references."


def check_pattern(pattern: str) -> None:
    """Refuse what is no regular expression.

    Args:
        pattern: such as ``^gpt-[45]``.

    Raises:
        InvalidInput: it is none, or one that cannot be matched in such time.
    """
    polars: Any = importlib.import_module("polars")
    try:
        matches(pattern, "")
    except polars.exceptions.PolarsError as error:
        raise InvalidInput(f"{pattern[:200]!r} is no regular expression that is known here.", _SYNTAX, pattern=pattern[:200]) from error


def matches(pattern: str, text: str | None) -> bool | None:
    """Return whether a pattern is found somewhere in a text; None for none, as SQL has it.

    Args:
        pattern: a regular expression.
        text: any text.
    """
    if text is None:
        return None
    # Its engine is Rust's. It is loaded for whoever asks, since most processes that open a database never do.
    polars: Any = importlib.import_module("polars")
    return bool(polars.Series([text]).str.contains(pattern)[0])
