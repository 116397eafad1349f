"""The global generators of random numbers: each call of a step begins with them set to its own seed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any


class Chance:
    """Sets the generators of the packages that are loaded, and that of polars also when it is loaded only within the call.

    NumPy's is always there and torch's begins from the same number in each process; polars' begins from another one each time.

    Args:
        seed: from 0 to 2**32 - 1.
        keep: the states are wanted back.
    """

    def __init__(self, seed: int, keep: bool) -> None:
        self._seed, self._keep = seed, keep
        self._restore: list[Callable[[], None]] = []
        self._polars: Any = None

    def begin(self) -> None:
        """Set the generators."""
        chance: Any = importlib.import_module("random")
        arrays: Any = importlib.import_module("numpy.random")
        if self._keep:
            before, drawn = chance.getstate(), arrays.get_state()
            self._restore += [lambda: chance.setstate(before), lambda: arrays.set_state(drawn)]
        chance.seed(self._seed)
        arrays.seed(self._seed)
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            if self._keep:
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
        if self._keep:
            # Its state cannot be asked for: it goes on from a number that the user's own generator would not have drawn.
            self._restore.append(lambda: polars.set_random_seed(int.from_bytes(os.urandom(7), "big")))
