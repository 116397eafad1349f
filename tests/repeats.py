"""How often what is tried many times is tried."""

from __future__ import annotations

import os

#: ``make test-full`` sets it.
_FULL = os.environ.get("PLIMSOLL_FULL") == "1"


def repeats(each: int, full: int) -> int:
    """Return how often something is tried: enough to notice a mistake in each change, or as often as is promised.

    Args:
        each: in ``make test``.
        full: in ``make test-full``.
    """
    return full if _FULL else each
