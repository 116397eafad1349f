"""Times and durations as protobuf's JSON writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from plimsoll.server.mlflow.speech import INVALID, Spoken

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_LENGTH = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?s")


def moment(name: str, text: Any) -> int:
    """Return UTC microseconds of a time as protobuf writes it.

    Args:
        name: where it stands, for the message.
        text: such as ``2026-11-21T08:17:17.879Z``.

    Raises:
        Spoken: it is no time.
    """
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Spoken(INVALID, f"Invalid value {text!r} for parameter '{name}' supplied.")
    try:
        whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        raise Spoken(INVALID, f"Invalid value {text!r} for parameter '{name}' supplied.") from None
    return (whole - _EPOCH) // timedelta(microseconds=1) + int(f"{match[2] or '':0<9}"[:6])


def length(name: str, text: Any) -> int | None:
    """Return microseconds of a duration as protobuf writes it, or None for none.

    Args:
        name: where it stands, for the message.
        text: such as ``1.296s``.

    Raises:
        Spoken: it is no duration.
    """
    if text is None:
        return None
    match = _LENGTH.fullmatch(text) if isinstance(text, str) else None
    if match is None or text.startswith("-"):
        raise Spoken(INVALID, f"Invalid value {text!r} for parameter '{name}' supplied.")
    return int(match[1]) * 1_000_000 + int(f"{match[2] or '':0<9}"[:6])
