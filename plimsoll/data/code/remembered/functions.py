"""What functions say, as earlier processes have read it: to compile a file and to write its functions normally takes most of a key's time.

A memory is a pure function of a file's text and name, of the Python that compiles it, and of this package's own reading, all of which its
name is a digest of. Within it a function is found by all that its live code object holds, which then was equal to what the text
compiles to. So code that was exchanged, or edited after it was imported, finds nothing here and is looked at as if there were no memory
(decision 0052).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from blake3 import blake3

from plimsoll import clock, codec
from plimsoll.data.code.bytecode import Reference
from plimsoll.data.code.normal import Written
from plimsoll.errors import InvalidInput

#: Changes whenever a memory that an earlier release wrote must not be read.
_FORMAT = "plimsoll functions 1"

#: Files of memories at most, and their bytes together; where there are more, half of it is left: those that were used last.
_MOST, _BYTES = 2_000, 64 << 20

#: Bytes of the digest that a memory begins with.
_SUM = 32

#: Constants that are shown whole, each otherwise than any other.
_SHOWN = (bool, int, float, complex, str, bytes, type(None), type(...))


class Said(NamedTuple):
    """What a function says."""

    #: Its normalised source.
    written: Written
    #: Every name in its code.
    used: frozenset[str]
    #: What its code looks up outside of itself.
    references: list[Reference]


class Functions:
    """What the functions of source files say, one small file in a folder for each source file.

    Args:
        folder: made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Name of a source file -> its memory's name, and mark of a function's code -> what it says.
        self._known: dict[str, tuple[str, dict[bytes, Said]]] = {}
        #: Source files of which something is known that no memory has.
        self._new: set[str] = set()

    def find(self, file: str, lines: Sequence[str], mark: bytes) -> Said | None:
        """Return what a function says; None when it was not read before.

        Args:
            file: absolute name of the source file.
            lines: what it holds; the same each time.
            mark: of the function's live code.
        """
        return self._of(file, lines)[1].get(mark)

    def add(self, file: str, lines: Sequence[str], mark: bytes, said: Said) -> None:
        """Remember what a function says from now on.

        Args:
            file: absolute name of the source file.
            lines: what it holds.
            mark: of the function's live code, which is what the file compiles to.
            said: all of it.
        """
        self._of(file, lines)[1][mark] = said
        self._new.add(file)

    def keep(self) -> None:
        """Write what is new for later processes; where it cannot be written it is done without."""
        if not self._new:
            return
        # Other threads may find more meanwhile.
        new, self._new = self._new, set()
        with contextlib.suppress(OSError):
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            for file in new:
                name, said = self._known[file]
                _write(self._folder / name, codec.to_msgpack(dict(said)))
            _thin(self._folder)

    def _of(self, file: str, lines: Sequence[str]) -> tuple[str, dict[bytes, Said]]:
        if file not in self._known:
            name = codec.digest(codec.canonical([_FORMAT, _reader(), sys.version, sys.flags.optimize, file, "".join(lines)]))
            self._known[file] = name, _read(self._folder / name)
        return self._known[file]


def mark(code: CodeType) -> bytes | None:
    """Return a digest of all that a code object holds; None where it holds what no source can say.

    Args:
        code: a function's.
    """
    try:
        return blake3(repr(_held(code)).encode()).digest()
    except ValueError:  # such a constant, or an integer with more digits than Python likes to print
        return None


def _held(code: CodeType) -> tuple[Any, ...]:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_firstlineno)
    names = (code.co_name, code.co_qualname, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (counts, names, code.co_code, code.co_linetable, code.co_exceptiontable, [_constant(each) for each in code.co_consts])


def _constant(value: Any) -> Any:
    if type(value) in _SHOWN:
        return value
    if type(value) is tuple:
        return "tuple", [_constant(each) for each in value]
    if type(value) is frozenset:
        return "set", sorted(repr(_constant(each)) for each in value)
    if type(value) is CodeType:
        return "code", _held(value)
    raise ValueError(f"{type(value)} is no constant")


@functools.cache
def _reader() -> str:
    """Return a digest of the code that reads functions: whoever changes it finds no memory of before."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    return codec.digest(b"\0".join(source.read_bytes() for source in sources)) if sources else clock.new_id()


def _read(memory: Path) -> dict[bytes, Said]:
    """Return what is remembered; nothing where there is no memory, and where it is damaged."""
    try:
        data = memory.read_bytes()
        if blake3(data[_SUM:]).digest() == data[:_SUM]:
            os.utime(memory)
            return codec.from_msgpack(data[_SUM:], dict[bytes, Said], "What is remembered of functions")
    except (OSError, InvalidInput):
        pass
    return {}


def _write(memory: Path, data: bytes) -> None:
    unfinished = memory.with_name(f"{memory.name}.{clock.new_id()}")
    try:
        unfinished.write_bytes(blake3(data).digest() + data)
        unfinished.replace(memory)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _thin(folder: Path) -> None:
    """Remove the memories that were used longest ago, when they are many; one that another process removes is gone as well."""
    found = sorted(((entry.stat().st_mtime_ns, entry.path, entry.stat().st_size) for entry in os.scandir(folder)), reverse=True)
    sizes = list(itertools.accumulate(size for *_, size in found))
    if len(found) > _MOST or sizes[-1] > _BYTES:
        for number, (_, path, _) in enumerate(found):
            if number >= _MOST // 2 or sizes[number] > _BYTES // 2:
                Path(path).unlink(missing_ok=True)
