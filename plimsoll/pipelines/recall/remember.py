"""Remembers a run that has just ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from plimsoll import codec
from plimsoll.data.code.source import Sources
from plimsoll.data.project import PROJECT_FILE, user_file
from plimsoll.data.trace.files.places import NAMES, Places
from plimsoll.data.trace.found import Trace
from plimsoll.data.trace.now import Now
from plimsoll.pipelines.plan import Plan
from plimsoll.pipelines.recall.memory import Memory, RememberedStep, installed, write
from plimsoll.pipelines.recall.replay import SAID
from plimsoll.pipelines.recall.steady import unsteady
from plimsoll.records.pipeline import KeyPart, RecordSteps, StepRecord
from plimsoll.records.request import Request
from plimsoll.records.run import StartRun


def remember(
    path: Path,
    plan: Plan,
    records: Sequence[StepRecord],
    asked: Sequence[Request[Any]],
    trace: Trace,
    project: Path,
    before: Container[str],
) -> str:
    """Keep what a run came to; return why that cannot be done, or an empty text.

    Args:
        path: where the memory is to lie.
        plan: what was run.
        records: one a step, in the order of the plan.
        asked: what the run asked of the door from its start to its end.
        trace: what was read while the project was imported and the run was planned, all of it in this process.
        project: folder of the project, resolved.
        before: names of the modules that were imported before that.
    """
    if trace.effects:
        return f"importing the project {trace.effects[0]}"
    if len(records) != len(plan.nodes):
        return "its steps depend on what steps gave"
    steps = list[RememberedStep]()
    for node, record in zip(plan.nodes, records, strict=True):
        cache = node.step.options.cache
        # Of one that is computed in every run there may be an entry from before: how a step is kept is no part of its key.
        if cache is False or record.key is None or record.output is None or record.state not in ("hit", "ran") or record.name != node.name:
            return f"the step {node.label} cannot be reused"
        found = RememberedStep(index=node.index, name=node.name, label=node.label, key=record.key, output=record.output.digest, cache=cache)
        steps.append(found)
    sources = Sources()
    modules = list(_own(sources))
    changing = unsteady(modules, before, plan.name.rpartition(".")[2], sources)
    if changing:
        return f"importing the project may come to something else each time ({changing})"
    now = Now(project)
    seen = (KeyPart(kind="file", name=name, digest="") for name in _names(modules, project))
    parts = {(part.kind, part.name): replace(part, digest=now.digest(part)) for part in seen}
    # What was read meanwhile counts as it was then.
    parts |= {(part.kind, part.name): part for part in trace.parts if part.kind in ("file", "variable")}
    starts = [request for request in asked if isinstance(request, StartRun)]
    recorded = [place for place, request in enumerate(asked) if isinstance(request, RecordSteps)]
    if len(starts) != 1 or not recorded:
        return "it is not one run"
    # Before that its steps spoke, which they do not when they are hits.
    last = asked[recorded[-1]]
    ends = [last.end] if isinstance(last, RecordSteps) and last.end is not None else []
    said = [request for request in (*ends, *asked[recorded[-1] + 1 :]) if type(request).__name__ in SAID]
    memory = Memory(
        parts=tuple(parts.values()),
        packages=installed(project),
        start=starts[0],
        steps=tuple(steps),
        said=tuple((type(request).__name__, codec.plain(request)) for request in said),
    )
    write(path, memory)
    return ""


def _own(sources: Sources) -> Iterator[ModuleType]:
    """Yield the imported modules that are the user's own."""
    begun = sys.modules.get("__main__")
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        # What was begun is the command itself, also under the other name that libraries of processes give it.
        if module is not begun and file and sources.origin(name, file) == "user":
            yield module


def _names(modules: list[ModuleType], project: Path) -> Iterator[str]:
    """Yield the names of the files that imports read, and of the folders in which another file could take their place."""
    places = Places(project)
    folders = {str(project), *(os.path.abspath(folder) for folder in sys.path)}
    for module in modules:
        yield places.name(os.path.abspath(module.__file__ or ""))
        folders.add(os.path.dirname(os.path.abspath(module.__file__ or "")))
    for folder in sorted(folders):
        if places.counts(folder + "/"):
            yield places.name(folder) + NAMES
    yield places.name(str(project / PROJECT_FILE))
    yield str(user_file())
