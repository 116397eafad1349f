"""Which environment variables a step reads: ``os.environ`` tells, for the time of a recording.

The object stays the same, because ``from os import environ`` has bound it elsewhere; only its class is another one meanwhile.
Native code that asks the system by itself (``getenv`` in C) is not seen.
"""

from __future__ import annotations

import dis
import os
import re
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from plimsoll.data.trace.found import Found
from plimsoll.data.trace.origin import caller

#: What installed packages ask for that says how and where they run, not what they compute.
_MACHINE = re.compile(
    r".*_(NUM_THREADS|MAX_THREADS|WAIT_POLICY|MAX_CPU_COUNT|VERBOSE|DEBUG|LOG_LEVEL|MONITORING)|(OMP|MKL|KMP|OPENBLAS|LOKY|JOBLIB|TQDM|JPY|JUPYTER|PYTEST|COVERAGE|PYTHON|XDG|LC)_?.*"
    r"|TMP|TEMP|TMPDIR|HOME|USER|LOGNAME|USERNAME|PATH|TERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|CLICOLOR.*|COLORTERM|LANG|CI|DISPLAY"
)

_HERE = os.path.dirname(__file__)
_Environ = type(os.environ)


class Variables:
    """Puts watchers on ``os.environ`` and takes them off.

    Args:
        active: tells what records now.
    """

    def __init__(self, active: Callable[[], tuple[Found, ...]]) -> None:
        def asked(name: Any) -> None:
            for found in active():
                if found.mine():
                    found.look(_asked, found, name)

        def sets(name: Any) -> None:
            for found in active():
                if found.mine():
                    found.look(lambda found=found: found.sets(os.fsdecode(name)))

        self._watched = _watched(asked, sets)

    def begin(self) -> None:
        """Watch from now on; a second time changes nothing."""
        # Tests put plain dicts in its place; those are theirs.
        for each in _views():
            if type(each) is _Environ:
                each.__class__ = self._watched

    def end(self) -> None:
        """Watch no more."""
        for each in _views():
            if type(each) is self._watched:
                each.__class__ = _Environ


def _views() -> tuple[Any, ...]:
    """Return the environment as text and, where the system knows bytes, as bytes."""
    return (os.environ, *([os.environb] if hasattr(os, "environb") else []))


def _asked(found: Found, name: Any) -> None:
    frame = caller(2)
    if isinstance(name, (str, bytes)):
        # Libraries may ask for the same a hundred times, and to find out whose act it is means to go through all frames.
        text = name if isinstance(name, str) else os.fsdecode(name)
        if text in found.settled or (_MACHINE.fullmatch(text) and found.origins.innermost(frame) == "third"):
            return
    if found.origins.housekeeping(frame) or (found.own and found.origins.describes(frame)):
        return
    asker = found.asks(frame)
    if asker in ("imports", "plimsoll", "stdlib"):
        return
    if name is None:
        found.variable(None)
    elif _goes_through(frame):
        found.variable(os.fsdecode(name), among=True)
    elif isinstance(name, (str, bytes)) and not (asker == "third" and _MACHINE.fullmatch(os.fsdecode(name))):
        found.variable(os.fsdecode(name))


def _goes_through(frame: FrameType | None) -> bool:
    """Return whether a name is asked for because all of them are: by a view of the items, or by a function in C such as ``dict``."""
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    if frame is None:
        return False
    if frame.f_code.co_name == "__iter__":
        return True
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("CALL", "PRECALL", "DICT_"))


def _watched(asked: Callable[[Any], None], sets: Callable[[Any], None]) -> type:
    # Not by super(): while a method begins here, another thread may give the object its own class again.
    class Watched(os._Environ):  # type: ignore[type-arg]
        def __getitem__(self, key: Any) -> Any:
            asked(key)
            return _Environ.__getitem__(self, key)

        def __contains__(self, key: Any) -> bool:
            asked(key)
            return _Environ.__contains__(self, key)

        def __iter__(self) -> Iterator[Any]:
            asked(None)
            return _Environ.__iter__(self)

        def __len__(self) -> int:
            asked(None)
            return _Environ.__len__(self)

        def __setitem__(self, key: Any, value: Any) -> None:
            _Environ.__setitem__(self, key, value)
            sets(key)

        def __delitem__(self, key: Any) -> None:
            _Environ.__delitem__(self, key)
            sets(key)

        def copy(self) -> dict[Any, Any]:
            asked(None)
            return _Environ.copy(self)

    Watched.__name__ = Watched.__qualname__ = _Environ.__name__
    return Watched
