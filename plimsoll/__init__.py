"""Plimsoll: one package from a notebook's model to a production service, and no model past the line without evidence.

Names are loaded when they are first used (PEP 562), so that importing this package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.errors import PlimsollError as PlimsollError
    from plimsoll.pipelines.step import map as map
    from plimsoll.pipelines.step import pipeline as pipeline
    from plimsoll.pipelines.step import step as step
    from plimsoll.pipelines.step import when as when
    from plimsoll.registry.package import Model as Model
    from plimsoll.runs.logger import current_run as current_run
    from plimsoll.sdk.door import connect as connect
    from plimsoll.sdk.models import load as load
    from plimsoll.sdk.run import run as run
    from plimsoll.sdk.run import run_variations as run_variations
    from plimsoll.sdk.search import search as search
    from plimsoll.sdk.tracking.frames import search_runs as search_runs
    from plimsoll.sdk.tracking.frames import series as series

_WHERE = {
    "Model": "plimsoll.registry.package",
    "PlimsollError": "plimsoll.errors",
    "connect": "plimsoll.sdk.door",
    "current_run": "plimsoll.runs.logger",
    "load": "plimsoll.sdk.models",
    "map": "plimsoll.pipelines.step",
    "pipeline": "plimsoll.pipelines.step",
    "run": "plimsoll.sdk.run",
    "run_variations": "plimsoll.sdk.run",
    "search": "plimsoll.sdk.search",
    "search_runs": "plimsoll.sdk.tracking.frames",
    "series": "plimsoll.sdk.tracking.frames",
    "step": "plimsoll.pipelines.step",
    "when": "plimsoll.pipelines.step",
}

__all__ = [
    "Model",
    "PlimsollError",
    "connect",
    "current_run",
    "load",
    "map",
    "pipeline",
    "run",
    "run_variations",
    "search",
    "search_runs",
    "series",
    "step",
    "when",
]


def __getattr__(name: str) -> Any:
    """Return a public name, importing the file that defines it.

    Args:
        name: one of ``__all__``.
    """
    if name not in _WHERE:
        raise AttributeError(f"module 'plimsoll' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
