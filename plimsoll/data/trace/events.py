"""What Python itself tells of files, processes and connections: its audit events."""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
import re
import sys
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Any
from urllib.parse import unquote, urlsplit

from plimsoll.data.trace.files.places import is_machine
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.now import MACHINE
from plimsoll.data.trace.origin import is_code, names_handle
from plimsoll.data.trace.watched.begun import handle

#: Programs that libraries ask about the machine.
_HOUSEKEEPING = frozenset({"lscpu", "uname", "ldconfig", "getconf", "nproc", "sysctl", "nvidia-smi", "file", "ld", "gcc", "cc"})

#: Text of a query by which SQLite opens another file, and by which it tells the time or draws a number.
_ATTACHES = re.compile(r"(?i)\battach\s")
_VOLATILE = re.compile(
    r"(?i)(?=.*\b(select|values|default|insert|update|where)\b).*('now'|\bcurrent_(timestamp|date|time)\b|\brandom(blob)?\s*\()", re.S
)
#: By these words of a query SQLite reckons with the machine's time zone.
_ZONED = re.compile(r"(?i)'(localtime|utc)'")

#: Of the standard library: appends to files what was logged.
_LOGS = "/logging/__init__.py"

#: Of the standard library: list folders for those who look for names by a pattern.
_LISTS = ("/glob.py", "/pathlib.py")

_WRITES = os.O_WRONLY | os.O_RDWR


class Hook:
    """The one audit hook of a process; Python cannot take it back, so it stays and looks whether anything records.

    Args:
        add: how it is put in, once, at the first recording.
    """

    def __init__(self, add: Callable[[Callable[[str, tuple[Any, ...]], None]], None] = sys.addaudithook) -> None:
        #: What records now, innermost last.
        self.active: tuple[Found, ...] = ()
        self._add, self._added = add, False

    def begin(self, found: Found) -> None:
        """Tell a recording of every event from now on.

        Args:
            found: takes what happens.
        """
        self.active = (*self.active, found)
        if not self._added:
            self._added = True
            self._add(self._hook())

    def end(self, found: Found) -> None:
        """Tell a recording no more.

        Args:
            found: what was given to :meth:`begin`.
        """
        self.active = tuple(each for each in self.active if each is not found)

    def _hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        # A plain function, which Python calls faster than a method; most events are none of these, and some come all the time.
        def heard(event: str, args: tuple[Any, ...]) -> None:
            if event not in _EVENTS or not self.active:
                return
            frame = sys._getframe(1)
            for found in self.active:
                if found.mine() and not (found.own and found.origins.describes(frame)):
                    found.look(_EVENTS[event], found, frame, args)

        return heard


def _asker(found: Found, frame: FrameType, path: Any) -> str:
    """Return who opens or changes a file; whoever reads code opens what is no code for somebody else."""
    asker = found.asks(frame)
    return found.asks(frame, data=True) if asker == "imports" and not is_code(os.fsdecode(path)) else asker


def _by_handle(found: Found, frame: FrameType, path: Any) -> bool:
    """Return whether a path is taken from a folder's handle; it cannot be told which, and libraries do so with their own."""
    if os.path.isabs(path) or not names_handle(frame.f_code):
        return False
    if found.origins.of(frame.f_code.co_filename) == "user":
        found.effect(f"named a file by the handle of its folder ({os.fsdecode(path)})")
    return True


def _opened(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    path, _, flags = args
    if isinstance(path, int):
        if found.asks(frame) != "imports":  # it writes what it has compiled
            handle(found, path)
        return
    asker = _asker(found, frame, path)
    if asker in ("imports", "plimsoll"):
        return
    text = os.fsdecode(path)
    if is_machine(text):
        if asker == "user" and not flags & _WRITES and text != os.devnull:
            found.effect(f"read what the machine makes ({text})")
        return
    if asker == "user" and found.origins.of(text) == "third":
        found.packages.add(found.origins.package(text))
    if found.path(path) is None or _by_handle(found, frame, path):
        return
    if found.origins.reads_once(frame) and not found.inside(path):
        return
    if flags & _WRITES:
        adds = bool(flags & os.O_APPEND) and not flags & os.O_TRUNC
        found.write(path, bool(flags & (os.O_TRUNC | os.O_EXCL)), adds, frame.f_code.co_filename.endswith(_LOGS))
        if adds and flags & os.O_RDWR:
            found.read(path)
    else:
        found.read(path)


def _listed(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    folder = args[0]
    if isinstance(folder, int):
        folder = os.readlink(f"/proc/self/fd/{folder}")
    if found.asks(frame) not in ("imports", "plimsoll"):
        like = _like(found, frame)
        found.names(folder if like in (None, "*") else os.path.join("." if folder is None else folder, like))


def _like(found: Found, frame: FrameType) -> str | None:
    """Return the pattern that ``glob`` and ``pathlib`` hold each name of a folder against that they list; None where all names count."""
    at: FrameType | None = frame
    # The standard library lists in one function and compares in another.
    for _ in range(3):
        if at is None or not at.f_code.co_filename.endswith(_LISTS) or found.origins.of(at.f_code.co_filename) != "stdlib":
            return None
        name, held = at.f_code.co_name, at.f_locals
        if name == "_glob1":
            return held["pattern"] if isinstance(held["pattern"], str) else None
        if name in ("select_wildcard", "_select_children", "_select_from"):
            match = getattr(held["self"], "match", None) if name == "_select_from" else held.get("match")
            expression = getattr(match, "__self__", None)
            return _pattern(expression) if isinstance(expression, re.Pattern) else None
        at = at.f_back
    return None


@functools.cache
def _pattern(expression: re.Pattern[str]) -> str | None:
    """Return the pattern that the standard library has made a regular expression of; None where it is not clear."""
    inner = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", expression.pattern)
    if inner is None or expression.flags & re.IGNORECASE:
        return None
    stars = re.sub(r"\[\^/\][+*]|\.\*", "*", inner[1])
    like = re.sub(r"\\(.)", r"\1", re.sub(r"\[\^/\]|(?<!\\)\.", "?", stars))
    ways = {fnmatch.translate(like)}
    if sys.version_info >= (3, 13):
        ways.add(glob.translate(like, recursive=True, include_hidden=True))
    return like if expression.pattern in ways and glob.has_magic(like) else None


def _made(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    asker = found.asks(frame)
    if asker == "third" and _is_passing(os.fsdecode(args[0])):
        found.temporary.add(os.fsdecode(args[0]))
    if asker != "imports":
        found.make(args[0])


def _is_passing(path: str) -> bool:
    """Return whether a folder lies where temporary ones do, and has the number of this process in its name, as those of joblib."""
    folder, name = os.path.split(path)
    return folder in ("/dev/shm", tempfile.gettempdir()) and str(os.getpid()) in name.split("_")


def _renamed(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    if found.asks(frame) != "imports":
        found.move(args[0], args[1])


def _changed(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    if not isinstance(args[0], int) and found.asks(frame) != "imports" and not _by_handle(found, frame, args[0]):
        found.write(args[0], True)


def _emptied(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    if found.asks(frame) != "imports" and args[1] is None:
        found.empty(args[0])


def _linked(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    found.write(args[1], True)


def _database(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    text = os.fsdecode(args[0])
    if found.asks(frame) == "plimsoll":
        return
    if found.queries(_ATTACHES):
        found.effect("may have read a database that it attached, which cannot be seen")
    if found.queries(_VOLATILE):
        found.effect("may have asked a database for the time or for a random number")
    if found.queries(_ZONED):
        found.variable("TZ")
    if text in ("", ":memory:") or "mode=memory" in text or text.startswith("file::memory:"):
        return
    path = unquote(urlsplit(text).path) if text.startswith("file:") else text
    if not os.path.exists(path):
        found.write(path, True)
        return
    found.read(path)
    # What was written last may lie in the log beside it.
    found.read(f"{path}-wal")


def _library(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    if (args[0] is None or "/" not in os.fsdecode(args[0])) and found.asks(frame) == "user":
        found.effect("loaded a library of the system by itself (ctypes), whose work cannot be seen")
    # One without a folder is the system's.
    if isinstance(args[0], str) and "/" in args[0] and not args[0].startswith(("/lib", "/usr/lib")):
        found.read(args[0])


def _program(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    command = args[0] if args else None
    if isinstance(command, (list, tuple)) and command:
        command = command[0]
    try:
        name = os.path.basename(os.fsdecode(command).partition(" ")[0])  # type: ignore[arg-type]
    except TypeError:
        name = ""
    asker = found.asks(frame)
    if asker == "plimsoll" or (asker != "user" and name in _HOUSEKEEPING):
        return
    found.effect(f"ran another program ({name})" if name else "ran another program")


def _forked(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    found.effect("began another process")


def _connected(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    address = args[1]
    if found.asks(frame) == "plimsoll" or _is_ours(found, address):
        return
    shown = f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) > 1 else os.fsdecode(address)
    found.effect(f"opened a network connection ({shown})")


def _is_ours(found: Found, address: Any) -> bool:
    """Return whether a step connects to the address that it was given to log to: whoever answers there tells what it was asked."""
    beginning = f"http://{address[0]}:{address[1]}/" if isinstance(address, tuple) and len(address) > 1 else None
    return beginning is not None and any(each.startswith(beginning) for each in found.own.values())


def _resolved(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    host = os.fsdecode(args[0]) if args[0] else ""
    # Numbers and this machine's own name need no network.
    if host and host != "localhost" and not host.replace(".", "").isdigit() and ":" not in host and found.asks(frame) != "plimsoll":
        found.effect(f"looked up a host ({host})")


def _named(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    if found.asks(frame) == "user":
        found.around(MACHINE)


def _temporary(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    found.temporary.add(os.fsdecode(args[0]))


def _unpickled(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    # A pickle names the classes of its objects; no code does.
    if found.asks(frame) != "plimsoll":
        found.imports(args[0])


def _imported(found: Found, frame: FrameType, args: tuple[Any, ...]) -> None:
    if found.about_to_import is not None:
        found.about_to_import(args[0])
    if found.asks(frame) == "user":
        found.searched.search(args[0])


_EVENTS: dict[str, Callable[[Found, FrameType, tuple[Any, ...]], None]] = {
    "open": _opened,
    "os.listdir": _listed,
    "os.scandir": _listed,
    "os.mkdir": _made,
    "os.rename": _renamed,
    "os.remove": _changed,
    "os.rmdir": _changed,
    "shutil.rmtree": _emptied,
    "os.truncate": _changed,
    "os.link": _linked,
    "os.symlink": _linked,
    "sqlite3.connect": _database,
    "ctypes.dlopen": _library,
    "import": _imported,
    "pickle.find_class": _unpickled,
    "tempfile.mkstemp": _temporary,
    "tempfile.mkdtemp": _temporary,
    "subprocess.Popen": _program,
    "os.system": _program,
    "os.exec": _program,
    "os.posix_spawn": _program,
    "os.startfile": _program,
    "pty.spawn": _program,
    "os.fork": _forked,
    "os.forkpty": _forked,
    "socket.connect": _connected,
    "socket.sendto": _connected,
    "socket.getaddrinfo": _resolved,
    "socket.gethostname": _named,
    "socket.gethostbyname": _resolved,
    "socket.gethostbyaddr": _resolved,
}
