"""Functions written in C that touch the world without telling Python: what each call of them means for a trace.

They are met where they are called, with their first argument, or where code names or holds them.
"""

from __future__ import annotations

import numbers
import operator
import os
import types
from types import FrameType
from typing import Any

from plimsoll.data.trace.files.places import LINK, PERMISSIONS, STATE
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.now import MACHINE, PROCESSORS
from plimsoll.data.trace.origin import names_handle
from plimsoll.data.trace.watched.begun import ask, handle, is_now, source

#: What stands for an argument that was not given.
ABSENT = object()

_CLOCKS = {
    "time.time", "time.time_ns", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
}  # fmt: skip
#: A clock only without an argument; ``strftime`` without its second.
_CLOCKS_WITHOUT = {"time.localtime": 0, "time.gmtime": 0, "time.ctime": 0, "time.asctime": 0, "time.strftime": 1}
_REAL_TIME = {"time.clock_gettime", "time.clock_gettime_ns"}
_DRAWN = {"posix.urandom", "posix.getrandom", "nt.urandom", "_ssl.RAND_bytes"}
_UNSEEDED = {"default_rng", "SeedSequence", "RandomState", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "RandomState.seed"}
#: What is asked of a file by a path.
_STATS = {
    "posix.stat": (STATE,), "posix.lstat": (STATE, LINK), "posix.access": (PERMISSIONS,), "posix.readlink": (LINK,),
    "posix.DirEntry.stat": (STATE,), "posix.fstat": (STATE,),
}  # fmt: skip
_ASKED = {
    **dict.fromkeys(("posix.getpid", "posix.getppid", "_thread.get_ident", "_thread.get_native_id"), "which process it runs in"),
    **dict.fromkeys(
        ("posix.getloadavg", "posix.times", "posix.statvfs", "posix.fstatvfs", "resource.getrusage"), "how busy the machine is"
    ),
}
_AROUND = {
    **dict.fromkeys(("posix.cpu_count", "posix.process_cpu_count", "posix.sched_getaffinity", "posix._cpu_count"), PROCESSORS),
    "posix.uname": MACHINE,
}
_OPENED = {"_csv.read_csv", "_csv.open_csv", "_json.read_json", "_json.open_json", "lib.memory_map", "lib.OSFile", "lib.input_stream"}
_OPENED |= {"lib.MemoryMappedFile"}
_OPENED_BY_TORCH = {"from_file", "PyTorchFileReader"}
#: The same of packages of which few functions do.
_OPENED_OF = {"safetensors": {"safe_open"}, "cv2": {"imread"}, "netCDF4": {"Dataset"}, "torch": _OPENED_BY_TORCH}

#: Last names by which those are called; other code need not be watched where it calls.
CALLED = frozenset({
    *(name.rpartition(".")[2] for name in {*_CLOCKS, *_CLOCKS_WITHOUT, *_REAL_TIME, *_DRAWN, *_STATS, *_ASKED, *_AROUND, *_OPENED}),
    *(name.rpartition(".")[2] for name in _UNSEEDED),
    *(name for names in _OPENED_OF.values() for name in names),
    "datetime64", "Timestamp", "to_datetime", "duckdb", "open_input_file", "open_input_stream",
    "get_file_info", "getcwd", "getcwdb", "hash", "pread", "preadv",
})  # fmt: skip
#: Of those, what installed packages do that can reach a result.
CALLED_BY_OTHERS = frozenset({name.rpartition(".")[2] for name in {*_OPENED, *_UNSEEDED}} - {"seed"}) | _OPENED_BY_TORCH


def full_name(called: Any) -> str:
    """Return module and qualified name of what is called.

    Args:
        called: any callable.
    """
    owner = getattr(called, "__self__", None)
    owner = getattr(called, "__objclass__", None) if owner is None else owner
    module = getattr(called, "__module__", None) or getattr(owner, "__module__", None) or getattr(type(owner), "__module__", "")
    name = getattr(called, "__qualname__", "")
    if isinstance(called, types.BuiltinFunctionType) and isinstance(owner, type):
        # A class of the user's has what it inherits: Stamp.now
        owner = next((each for each in owner.__mro__ if called.__name__ in vars(each)), owner)
        module, name = owner.__module__, f"{owner.__qualname__}.{called.__name__}"
    if isinstance(owner, type) and "." not in name:
        name = f"{owner.__name__}.{name}"
    return f"{module}.{name}"


def _tells_time(name: str, first: Any, count: int) -> bool:
    if name in _CLOCKS_WITHOUT:
        return count <= _CLOCKS_WITHOUT[name]
    if name in _REAL_TIME:
        return first is ... or first == 0
    # The classes of pandas tell modules of their own from one release to the next.
    return name in _CLOCKS or (name.startswith("pandas.") and name.endswith((".Timestamp.now", ".Timestamp.utcnow", ".Timestamp.today")))


#: Packages whose C functions are among those.
OPENERS = frozenset({"pyarrow", "duckdb", *_OPENED_OF})


def _opens(name: str) -> bool:
    package, _, rest = name.partition(".")
    if package == "pyarrow":
        return rest in _OPENED or rest.startswith("_fs.")
    # What torch's storages inherit tells no module.
    return name.rpartition(".")[2] in _OPENED_OF.get(package, ()) or name.endswith("StorageBase.from_file")


def is_watched_call(function: Any, kind: str) -> bool:
    """Return whether a call may mean something; quick, since it is asked of many.

    Args:
        function: what is called.
        kind: whose code calls, ``user`` or ``third``.
    """
    names = CALLED if kind == "user" else CALLED_BY_OTHERS
    # An object may make something of its own of any attribute: of a polars expression comes another one.
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", "")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    return name in names or (kind == "user" and ((name == "read" and module == "posix") or "duckdb" in (module or "")))


def called(found: Found, frame: FrameType | None, function: Any, first: Any, count: int) -> None:
    """Note what a call means.

    Args:
        found: takes it.
        frame: where it is called.
        function: what is called.
        first: its first argument, or ``ABSENT``.
        count: arguments given.
    """
    name = full_name(function)
    short = name.replace("posix.", "os.").replace("datetime.datetime.", "datetime.").replace("datetime.date.", "date.")
    last = name.rpartition(".")[2]
    if _tells_time(name, first, count):
        found.effect(f"read the clock ({short}{'; time.perf_counter measures without it' if name == 'time.time' else ''})")
    elif name in ("posix.getcwd", "posix.getcwdb"):
        found.working_folder(path=True)
    elif name in _ASKED:
        found.effect(f"asked {_ASKED[name]} ({short})")
    elif name in _AROUND:
        found.around(_AROUND[name])
    elif name in ("posix.read", "posix.pread", "posix.preadv"):
        numbers = map(int, os.listdir("/proc/self/fd"))
        # Where the handle is not told, it may be any of the project's files that are open already.
        mine = [each for each in numbers if found.inside(os.path.realpath(f"/proc/self/fd/{each}"))]
        for each in [first] if isinstance(first, int) else mine:
            handle(found, each)
    elif name == "builtins.hash":
        # What a class is hashed by stays inside of the process.
        if frame is not None and frame.f_code.co_name != "__hash__" and _is_salted(first):
            hashes(found)
    elif last in ("datetime64", "Timestamp", "to_datetime") and is_now(first):
        found.effect(f"read the clock ({last})")
    elif name in _DRAWN:
        found.effect(f"drew random numbers from the system ({short})")
    elif name.startswith("numpy.random") and (last in _UNSEEDED or name.endswith("RandomState.seed")):
        if (first is ABSENT or first is None) and found.asks(frame) != "imports":
            found.effect(f"drew random numbers from the system (numpy.random.{last} without a seed)")
        elif frame is not None:
            # This one draws a seed of its own and forgets it.
            found.seeded = (id(frame), frame.f_lasti)
    elif name in _STATS:
        _state(found, frame, name, first)
    elif _opens(name):
        # Of a method the first is its object, and the path is not told.
        if isinstance(first, (str, os.PathLike, list, tuple)):
            source(found, first)
        elif name.startswith("pyarrow._fs."):
            found.effect(f"read through a file system of its own ({name})")
        elif first is ABSENT or not (hasattr(type(first), "read") or hasattr(type(first), "__buffer__")):
            # By keywords of a dict, or after another keyword.
            found.effect(f"read files by {name}, to which they were given so that they cannot be seen")
    elif name.partition(".")[0] in ("duckdb", "_duckdb"):
        found.effect("used duckdb, whose files cannot be seen")


def as_written(found: Found, function: Any, first: Any = ABSENT, count: int = 0) -> None:
    """Note what a function means that code names or holds, where its calls are not seen.

    Args:
        found: takes it.
        function: what may be called.
        first: its first argument, where that can be read off the code, or ``ABSENT``; ``...`` for a computed one.
        count: arguments given.
    """
    if isinstance(function, types.ModuleType):
        found.effect(f"takes functions of {function.__name__} by names that it computes, so their calls cannot be seen")
        return
    if isinstance(function, operator.methodcaller):
        found.effect(f"may have asked the clock or a file's state by {function!r}, where it cannot be seen")
        return
    name = full_name(function)
    if _opens(name):
        found.effect(f"may have read files by {name}, where it cannot be seen")
    elif name == "builtins.hash":
        hashes(found)
    elif name in _STATS:
        found.effect(f"may have asked for a file's state by {name.replace('posix', 'os')}, where it cannot be seen")
    else:
        called(found, None, function, first, count)


def _state(found: Found, frame: FrameType | None, name: str, first: Any) -> None:
    """Note what a C function asks of a file, which it names by a path or a handle."""
    if isinstance(first, int):
        first = os.readlink(f"/proc/self/fd/{first}")
    elif first is ABSENT or (frame is not None and not os.path.isabs(first) and names_handle(frame.f_code)):
        found.effect(f"asked for a file's state by {name.replace('posix', 'os')}, which cannot be seen")
        return
    for end in _STATS[name]:
        ask(found, frame, first, end)


def hashes(found: Found) -> None:
    """Note that the hash of text is taken, which is another one in every process.

    Args:
        found: takes it.
    """
    if os.environ.get("PYTHONHASHSEED", "random") == "random":
        found.effect("took the hash of text, which is another one in every process (hash)")
    else:
        found.variable("PYTHONHASHSEED")


def _is_salted(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return any(_is_salted(each) for each in value)
    # What a class of the user's makes of itself is not looked into; by identity nothing is looked up again.
    by_identity = getattr(type(value), "__hash__", None) is object.__hash__
    return not by_identity and not isinstance(value, (numbers.Number, type(None), type))
