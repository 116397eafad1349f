"""Time, identifiers and randomness: the only file that may ask the machine for them.

Times are UTC microseconds since 1970 as ``int``. Ids are UUIDv7 (RFC 9562) in 32 hex digits: they sort by the
millisecond of their making and fit MLflow's run ids.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from datetime import UTC, datetime

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def now() -> int:
    """Return the wall clock in UTC microseconds."""
    return time.time_ns() // 1_000


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


def cpu() -> float:
    """Return CPU seconds used by this process."""
    return time.process_time()


def sleep(seconds: float) -> None:
    """Wait.

    Args:
        seconds: how long, in seconds.
    """
    time.sleep(seconds)


def new_id() -> str:
    """Return a new UUIDv7 as 32 lower-case hex digits."""
    millis = time.time_ns() // 1_000_000
    tail = int.from_bytes(os.urandom(10), "big")
    value = (millis << 80) | tail
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return f"{value:032x}"


def new_secret() -> str:
    """Return a new 256-bit token, URL-safe."""
    return secrets.token_urlsafe(32)


def generator(seed: int) -> random.Random:
    """Return a random generator of its own state.

    Args:
        seed: the same seed gives the same numbers.
    """
    return random.Random(seed)


def seconds_of(text: str) -> float:
    """Return the seconds of a time such as ``30d``, ``12h``, ``90s`` or ``1.5 h``.

    Args:
        text: a number and one of s, m, h, d, w.

    Raises:
        ValueError: the text is something else.
    """
    found = _TIME.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no time")
    return float(found[1]) * _SECONDS[found[2]]


def iso(micros: int) -> str:
    """Return a time as ``2013-05-01T06:00:00Z`` (UTC, whole seconds).

    Args:
        micros: UTC microseconds.
    """
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str) -> int:
    """Return UTC microseconds of an ISO 8601 date or date-time; one without an offset is taken as UTC.

    Args:
        text: such as ``2013-05-01`` or ``2013-05-01T06:00:00+00:00``.

    Raises:
        ValueError: the text is not ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
