"""The live view of a run in a notebook. Anywhere else there is none, and IPython is not needed."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from plimsoll import extras
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.loop.shown import Graph
from plimsoll.pipelines.plan import trace

#: Seconds between two looks whether there is something new to show, and looks after which times have moved.
_LOOK, _TICK = 0.2, 5


def in_notebook() -> bool:
    """Return whether this code runs in a notebook's kernel, which can show HTML and change it afterwards."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def live_view(function: Callable[..., Any], params: Mapping[str, Any]) -> Iterator[Callable[[StepEvent], None] | None]:
    """Show a pipeline's graph in a notebook and give what takes its events; elsewhere show nothing and give None.

    Args:
        function: a pipeline.
        params: its parameters.
    """
    if not in_notebook():
        yield None
        return
    shown = extras.require("IPython.display")
    graph = Graph(trace(function, params))
    handle = shown.display(shown.HTML(graph.html()), display_id=True)
    changed, ended = threading.Event(), threading.Event()

    def take(event: StepEvent) -> None:
        graph.take(event)
        changed.set()

    def show() -> None:
        looks = 0
        while not ended.wait(_LOOK):
            looks += 1
            if changed.is_set() or (looks % _TICK == 0 and graph.moving):
                changed.clear()
                handle.update(shown.HTML(graph.html()))

    showing = threading.Thread(target=show, name="plimsoll-view", daemon=True)
    showing.start()
    try:
        yield take
    finally:
        ended.set()
        showing.join()
        graph.stop()
        handle.update(shown.HTML(graph.html()))
