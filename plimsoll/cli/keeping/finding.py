"""What a doctor's look came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plimsoll.errors import PlimsollError

#: Of one kind so many are told each; the rest is counted.
MOST = 20

#: What brings bytes back that are damaged or gone.
FROM_BACKUP = "Restore a backup beside this home (plimsoll restore BACKUP --home OTHER) and copy the file from its blobs/."


class Finding(NamedTuple):
    """What was looked at, and what was found."""

    #: In a word or two.
    what: str
    #: Whether it is as it should be.
    good: bool
    #: In one line, with the numbers.
    found: str
    #: What to do, where something is to be done.
    fix: str = ""


def refused(what: str, error: PlimsollError) -> Finding:
    """Return a look that ended with an error.

    Args:
        what: was looked at.
        error: what it was.
    """
    return Finding(what, False, error.fact, error.remedy)


def shortened(found: Sequence[Finding], kind: str) -> list[Finding]:
    """Return the first findings of one kind and, if there are more, how many.

    Args:
        found: all that are wrong.
        kind: what they are called, in the plural.
    """
    if len(found) <= MOST:
        return list(found)
    return [*found[:MOST], Finding(kind, False, f"{len(found) - MOST} more are wrong in the same way", found[0].fix)]
