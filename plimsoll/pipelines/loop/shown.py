"""The steps of a run as HTML: as a graph while they run, as a table afterwards.

Colours are those of the page around it, with a tint for the state, so that it can be read on light and on dark.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from plimsoll import clock
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.plan import Plan

#: State -> its tint. A step that nothing was heard of has none.
_TINTS = {
    "hit": "#3b82c4",
    "ran": "#2e9e5b",
    "running": "#d99a00",
    "waiting": "#d99a00",
    "retrying": "#d99a00",
    "failed": "#d1383d",
    "skipped": "#888888",
    "stopped": "#888888",
}

#: States of a step that is not done yet.
_MOVING = ("running", "waiting", "retrying")


#: Steps up to which the graph can be read, and rows up to which the table is.
_DRAWN, _ROWS = 80, 200

#: Pixels: height of a step, gaps between columns and rows, and of a letter.
_HEIGHT, _ACROSS, _DOWN, _LETTER = 38, 36, 10, 7.2

_LONGEST = 28

_STYLE = "font: 13px/1.4 system-ui, sans-serif; color: inherit; overflow-x: auto"


@dataclass(slots=True)
class _Seen:
    """What was heard of a step."""

    state: str = ""
    why: str = ""
    seconds: float = 0.0
    #: Monotonic seconds at which it began to do what it does.
    since: float = 0.0
    #: Items of its list that have ended, and that were heard of.
    ended: int = 0
    items: int = 0


class Graph:
    """The graph of a plan, with how far each step is; one thread may tell it while another draws.

    Args:
        plan: what is run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seen = [_Seen() for _ in plan.nodes]
        self._labels = {node.label: node.index for node in plan.nodes}
        self._items: dict[int, bool] = {}
        self._turn = threading.Lock()

    def take(self, event: StepEvent) -> None:
        """Note what happened to a step.

        Args:
            event: what happened.
        """
        with self._turn:
            if event.index >= len(self._plan.nodes):
                self._take_item(event)
                return
            seen = self._seen[event.index]
            seen.state = "running" if event.state == "started" else event.state
            seen.why, seen.seconds, seen.since = event.why, event.seconds, clock.monotonic() - event.seconds

    def _take_item(self, event: StepEvent) -> None:
        list_of = self._labels.get(event.label.rpartition("[")[0])
        if list_of is None:
            return
        seen, ended = self._seen[list_of], event.state in ("hit", "ran", "failed", "skipped")
        seen.items += event.index not in self._items
        seen.ended += ended and not self._items.get(event.index, False)
        self._items[event.index] = ended
        if not seen.state:
            seen.state, seen.since = "running", clock.monotonic()

    @property
    def moving(self) -> bool:
        """Whether a time that it shows grows by itself."""
        return any(seen.state in _MOVING for seen in self._seen)

    def stop(self) -> None:
        """Note that the run has ended, or was refused: a step that has not ended by now never will."""
        with self._turn:
            for seen in self._seen:
                if seen.state in _MOVING:
                    seen.state, seen.seconds = "stopped", clock.monotonic() - seen.since
                seen.state = seen.state or "not run"

    def html(self) -> str:
        """Return it as it is now."""
        with self._turn:
            states = [seen.state or "to do" for seen in self._seen]
            counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            drawn = self._drawn() if len(self._seen) <= _DRAWN else ""
            told = "".join(
                f"<div><b>{escape(node.label)}</b> {escape(seen.why)}</div>"
                for node, seen in zip(self._plan.nodes, self._seen, strict=True)
                if seen.state in ("failed", "retrying") or "calling process" in seen.why
            )
        return f'<div style="{_STYLE}"><div><b>{escape(self._plan.name)}</b> {escape(counts)}</div>{drawn}{told}</div>'

    def _drawn(self) -> str:
        columns: list[list[int]] = []
        depths: list[int] = []
        for node in self._plan.nodes:
            depth = 1 + max((depths[index] for index in node.inputs), default=-1)
            depths.append(depth)
            while len(columns) <= depth:
                columns.append([])
            columns[depth].append(node.index)
        width = 22 + _LETTER * max((len(_short(node.label)) for node in self._plan.nodes), default=0)
        width = max(width, 110.0)
        places = {
            index: (depth * (width + _ACROSS) + 1, row * (_HEIGHT + _DOWN) + 1)
            for depth, column in enumerate(columns)
            for row, index in enumerate(column)
        }
        edges = "".join(_edge(places[source], places[node.index], width) for node in self._plan.nodes for source in node.inputs)
        boxes = "".join(self._box(index, place, width) for index, place in places.items())
        across = len(columns) * (width + _ACROSS) - _ACROSS + 2
        down = max((len(column) for column in columns), default=0) * (_HEIGHT + _DOWN) - _DOWN + 2
        size = f'width="{across:.0f}" height="{max(down, 0):.0f}"'
        return f'<svg {size} style="margin: 6px 0; overflow: visible" role="img" font-size="12" fill="currentColor">{edges}{boxes}</svg>'

    def _box(self, index: int, place: tuple[float, float], width: float) -> str:
        seen, (x, y) = self._seen[index], place
        tint = _TINTS.get(seen.state, "#888888")
        fill = 0.18 if seen.state in _TINTS else 0.0
        size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HEIGHT}"'
        box = f'<rect {size} rx="5" fill="{tint}" fill-opacity="{fill}" stroke="{tint}"/>'
        name = f'<text x="{x + 9:.1f}" y="{y + 16:.1f}" font-weight="600">{escape(_short(self._plan.nodes[index].label))}</text>'
        said = f'<text x="{x + 9:.1f}" y="{y + 31:.1f}" opacity="0.8">{escape(self._said(seen))}</text>'
        return f"<g><title>{escape(seen.why)}</title>{box}{name}{said}</g>"

    def _said(self, seen: _Seen) -> str:
        if not seen.state:
            return "to do"
        seconds = clock.monotonic() - seen.since if seen.state in _MOVING else seen.seconds
        counted = f" {seen.ended}/{seen.items}" if seen.items else ""
        return f"{seen.state}{counted}" if seen.state in ("hit", "skipped", "not run") else f"{seen.state}{counted} {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return a time for people: ``12 ms``, ``3.4 s``, ``2 min 5 s``, ``1 h 3 min``.

    Args:
        seconds: how long.
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def table(title: str, state: str, steps: Iterable[tuple[str, str, float, str]], metrics: Mapping[str, float]) -> str:
    """Return a run that has ended as HTML.

    Args:
        title: pipeline and run.
        state: how the run ended.
        steps: label, state, seconds and why of each.
        metrics: by name.
    """
    cell = "text-align: left; padding: 1px 12px 1px 0; background: none; white-space: nowrap"
    every = list(steps)
    rows = "".join(
        f'<tr style="background: none"><td style="{cell}">{escape(label)}</td>'
        f'<td style="{cell}; color: {_TINTS.get(ended, "inherit")}">{escape(ended)}</td>'
        f'<td style="{cell}; text-align: right">{"" if ended in ("hit", "skipped") else duration(seconds)}</td>'
        f'<td style="{cell}; white-space: normal">{escape(why)}</td></tr>'
        for label, ended, seconds, why in every[:_ROWS]
    )
    more = f"<div>… and {len(every) - _ROWS} more</div>" if len(every) > _ROWS else ""
    numbers = ", ".join(f"{escape(name)} = {value:.6g}" for name, value in metrics.items())
    head = "".join(f'<th style="{cell}">{name}</th>' for name in ("step", "state", "time", "why"))
    plain = "font: inherit; color: inherit; border-collapse: collapse; margin: 6px 0"
    return (
        f'<div style="{_STYLE}"><div><b>{escape(title)}</b> {escape(state)}</div>'
        f'<table style="{plain}"><tr style="background: none">{head}</tr>{rows}</table>{more}'
        f"<div>{numbers}</div></div>"
    )


def _edge(source: tuple[float, float], target: tuple[float, float], width: float) -> str:
    (x, y), (right, down) = source, target
    x, y, down = x + width, y + _HEIGHT / 2, down + _HEIGHT / 2
    middle = (x + right) / 2
    # One that passes a column goes below the steps in it.
    bow = _HEIGHT if right - x > _ACROSS + 1 else 0
    curve = f"M{x:.1f} {y:.1f} C{middle:.1f} {y + bow:.1f} {middle:.1f} {down + bow:.1f} {right:.1f} {down:.1f}"
    return f'<path d="{curve}" fill="none" stroke="currentColor" stroke-opacity="0.35"/>'


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
