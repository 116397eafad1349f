"""The global generators of random numbers: each call of a step begins with them set to its own seed."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any


class Arrays:
    """NumPy's global generator, saved and put back; threads may share one.

    NumPy takes longer to tell its 624 words one by one, and to take them back, than many a step takes. Where the generator is what it
    was when it was last asked, which its memory shows, it is not asked again.
    """

    def __init__(self) -> None:
        #: The generator's memory and its state when it was asked; None where one does not tell all of the other.
        self._asked: tuple[bytes, Any] | None = None

    def save(self) -> Callable[[], None]:
        """Return what puts the generator back to the state that it has now."""
        arrays: Any = importlib.import_module("numpy.random")
        generator = arrays.get_bit_generator()
        memory = _memory(generator)
        if self._asked is None or self._asked[0] != memory:
            state = arrays.get_state()
            self._asked = (memory, state) if _is_whole(memory, state) else None
            if self._asked is None:
                return lambda: arrays.set_state(state)
        state = self._asked[1]

        def put_back() -> None:
            if arrays.get_bit_generator() is not generator:
                arrays.set_state(state)
                return
            arrays.seed(0)  # a normal number that was drawn in advance is not in the memory
            ctypes.memmove(generator.ctypes.state_address, memory, len(memory))

        return put_back


def _memory(generator: Any) -> bytes:
    """Return a copy of what a Mersenne Twister has in memory, its words and its position; of another generator nothing."""
    return ctypes.string_at(generator.ctypes.state_address, 4 * 624 + 4) if type(generator).__name__ == "MT19937" else b""


def _is_whole(memory: bytes, state: Any) -> bool:
    """Return whether memory holds all of a state: its words and its position as we read them, and no number was drawn in advance."""
    if not memory:
        return False
    _, words, position, drawn, _ = state
    return not drawn and memory == words.tobytes() + int(position).to_bytes(4, sys.byteorder)


class Chance:
    """Sets the generators of the packages that are loaded, and that of polars also when it is loaded only within the call.

    NumPy's is always there and torch's begins from the same number in each process; polars' begins from another one each time.

    Args:
        seed: from 0 to 2**32 - 1.
        keep: saves NumPy's state, when the states are wanted back; else None.
    """

    def __init__(self, seed: int, keep: Arrays | None) -> None:
        self._seed, self._keep = seed, keep
        self._restore: list[Callable[[], None]] = []
        self._polars: Any = None

    def begin(self) -> None:
        """Set the generators."""
        chance: Any = importlib.import_module("random")
        arrays: Any = importlib.import_module("numpy.random")
        if self._keep is not None:
            before = chance.getstate()
            self._restore += [lambda: chance.setstate(before), self._keep.save()]
        chance.seed(self._seed)
        arrays.seed(self._seed)
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            if self._keep is not None:
                weights = torch.get_rng_state()
                self._restore.append(lambda: torch.set_rng_state(weights))
            torch.manual_seed(self._seed)
        if "polars" in sys.modules:
            self._set_polars()

    def imports(self, module: str) -> None:
        """Look at what is about to be imported, and set its generator before anybody draws from it.

        Args:
            module: its dotted name.
        """
        if self._polars is None and module.partition(".")[0] == "polars":
            self._set_polars()

    def unset(self) -> bool:
        """Return whether polars is loaded and its generator was not set."""
        return self._polars is None and "polars" in sys.modules

    def end(self) -> None:
        """Put the states back where they are wanted."""
        while self._restore:
            self._restore.pop()()

    def _set_polars(self) -> None:
        try:
            polars: Any = importlib.import_module("polars")
        except ImportError:
            return  # whoever imports it is told
        if not hasattr(polars, "set_random_seed"):
            return  # it is being imported, and names a part of its own
        polars.set_random_seed(self._seed)
        self._polars = polars
        if self._keep is not None:
            # Its state cannot be asked for: it goes on from a number that the user's own generator would not have drawn.
            self._restore.append(lambda: polars.set_random_seed(int.from_bytes(os.urandom(7), "big")))
