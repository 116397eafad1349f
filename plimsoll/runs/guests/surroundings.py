"""The variables by which MLflow's client finds the run around the code, for as long as that code executes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from plimsoll.runs.guests.loopback import ADDRESS, is_gone, is_ours


class Surroundings:
    """A context in which variables are set; after it they are as before, and runs that the client left open are ended.

    Args:
        variables: by name; none changes nothing.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> Surroundings:
        if self._variables and is_ours(os.environ.get(ADDRESS, "")):
            # The client would go on with the run around this one; to it that has ended, and later it gets it again.
            _end_runs()
        self._before = {name: os.environ.get(name) for name in self._variables}
        os.environ.update(self._variables)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._variables:
            _end_runs()
        for name, before in self._before.items():
            # Whoever has set it meanwhile, such as another run that is under way, takes it back.
            if os.environ.get(name) != self._variables[name]:
                continue
            if before is None or is_gone(before):
                del os.environ[name]
            else:
                os.environ[name] = before


def _end_runs() -> None:
    """End what the client in this process holds for under way: at the exit of the process nobody would answer it any more."""
    client: Any = sys.modules.get("mlflow")
    active = getattr(client, "active_run", None)
    try:
        while active is not None and active() is not None:
            client.end_run()
    except Exception as error:  # whatever another package's function raises
        print(f"plimsoll: MLflow's run could not be ended: {error}", file=sys.stderr, flush=True)
