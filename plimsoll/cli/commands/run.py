"""``plimsoll run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from plimsoll import codec
from plimsoll.cli.output import next_step, say
from plimsoll.cli.session import door
from plimsoll.data.project import find_project, load_object, read_project
from plimsoll.errors import InvalidInput, NotFound, PlimsollError, StepFailed
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.running import execute, typed_params
from plimsoll.pipelines.step import is_pipeline
from plimsoll.records.model import ListVersions


def run(pipeline: str | None = None, *, set: Annotated[list[str] | None, Parameter(negative=())] = None, experiment: str = "") -> None:
    """Run a pipeline; steps that nothing has changed for are not run again.

    Args:
        pipeline: ``path.py:name``; without it, the pipeline of the project's only model.
        set: a parameter as ``name=value``, where the value is JSON or plain text; may be given several times.
        experiment: groups runs; the pipeline's name unless given.
    """
    project = find_project(Path.cwd())
    ref = pipeline or _only(project)
    function = load_object(project, ref)
    # Before a home is made for it: what cannot run must leave nothing behind.
    if not is_pipeline(function):
        raise InvalidInput(f"{ref} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    params = typed_params(function, _params(set or []))
    with door(create=True) as opened:
        try:
            result = execute(
                function,
                params,
                do=opened.do,
                blobs=opened.blobs,
                project=project,
                experiment=experiment,
                on_step=_tell,
            )
        except StepFailed as error:
            sys.stderr.write(error.details.get("traceback", ""))
            raise
        states = [step.state for step in result.steps]
        say(
            f"{states.count('ran')} of {len(states)} steps ran, {states.count('hit')} were reused."
            if "ran" in states
            else "Nothing changed: no step ran."
        )
        made = [version for version in opened.do(ListVersions(limit=10)) if version.run_id == result.id]
    print(result.id)
    if made:
        next_step(f"plimsoll checks run {made[0].model}/{made[0].number}")
    else:
        next_step(f"plimsoll runs show {result.id[:16]}")


def _tell(event: StepEvent) -> None:
    if event.state != "started":
        say(f"  {event.label:<20} {event.state:<8} {event.why}".rstrip())


def _only(project: Path) -> str:
    refs = {purpose.pipeline for purpose in read_project(project).models.values() if purpose.pipeline}
    if len(refs) != 1:
        raise NotFound(f"The project declares {len(refs)} pipelines.", "Name one: plimsoll run path.py:name")
    return refs.pop()


def _params(pairs: list[str]) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name.isidentifier():
            raise InvalidInput(f"{pair!r} is no parameter.", "Write --set name=value")
        try:
            found[name] = codec.from_json(text, object)
        except PlimsollError:
            found[name] = text
    return found
