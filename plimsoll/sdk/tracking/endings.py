"""How a run ends of which nobody says it: by the exception that left its block, or with its program."""

from __future__ import annotations

import sys
import traceback
from typing import Literal

from plimsoll.data.surroundings import readable

#: States in which whoever ends a run can leave it.
State = Literal["finished", "failed", "stopped"]

#: Characters of an exception's text that are kept, of its beginning and of its end.
_LONGEST = 30_000


def ending(error: BaseException | None) -> tuple[State, str | None]:
    """Return how a run ends, and why.

    Args:
        error: what ended its code; None for nothing.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished", None
    return "stopped" if isinstance(error, KeyboardInterrupt) else "failed", readable(_text(error))


def uncaught() -> BaseException | None:
    """Return the exception that ends this program, for what is done at its end.

    ``sys.exit(1)`` leaves no trace. A person at a prompt has seen the last exception and gone on.
    """
    if hasattr(sys, "ps1"):
        return None
    # The first name is there since Python 3.12.
    error: BaseException | None = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error


def _text(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}\n… {len(text) - 2 * _LONGEST:,} characters …\n{text[-_LONGEST:]}"
