"""What a run around code begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plimsoll import clock
from plimsoll.errors import InvalidInput
from plimsoll.records.request import check_title
from plimsoll.records.run import ResumeRun, Run, StartRun, check_run_id
from plimsoll.runs.logger import RunLogger


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAsked:
    """What a run around code begins with."""

    #: Groups runs.
    experiment: str = ""
    #: A name for people.
    name: str = ""
    #: Parameters by name.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Tags by name.
    tags: Mapping[str, str] = field(default_factory=dict)
    #: What people should know of it, in Markdown.
    notes: str = ""
    #: Starts with the same key are one run.
    key: str | None = None
    #: Id of a run that goes on.
    run_id: str | None = None
    #: The run that it belongs to, or its id.
    parent: RunLogger | str | None = None
    #: It belongs to the run that this code executes in.
    nested: bool = False

    def __post_init__(self) -> None:
        for name in ("experiment", "name", "notes", "key", "run_id"):
            given = getattr(self, name)
            if not isinstance(given, str) and (given is not None or name not in ("key", "run_id")):
                raise InvalidInput(f"{name}={given!r} is no text.", f"Give a text, or leave {name} out.")
        for name in ("params", "tags"):
            if not isinstance(given := getattr(self, name), Mapping):
                raise InvalidInput(f"{name}={given!r} are not given by name.", f'Write them as {name}={{"name": "value"}}.')
        if not isinstance(self.parent, RunLogger | str | None):
            raise InvalidInput(f"parent={self.parent!r} is no run.", "Give the run, or its whole id.")
        if self.key is not None:
            # Starts with the same key are one run: an empty one, as of a variable that is not set, would gather strangers.
            check_title("Run key", self.key)
        if self.run_id is not None:
            check_run_id(self.run_id)
            if self.experiment or self.name or self.key is not None or self.parent is not None or self.nested:
                raise InvalidInput(
                    f"The run {self.run_id} has its experiment, name, key and parent already.", "Give only run_id, params, tags and notes."
                )
        if self.nested and self.parent is not None:
            raise InvalidInput("A run has one parent.", "Give nested=True or parent, not both.")


def provisional(begin: StartRun | ResumeRun, id: str) -> Run:
    """Return a run as its own process knows it, before the platform has answered.

    Args:
        begin: how it begins.
        id: the run's id.
    """
    start = begin if isinstance(begin, StartRun) else StartRun()
    return Run(
        id=id,
        experiment=start.experiment,
        experiment_id="",
        name=start.name or f"run-{id[-6:]}",
        state="running",
        params=begin.params,
        tags=begin.tags,
        author="",
        cause=start.cause,
        code=start.code,
        environment=start.environment,
        started=start.started or clock.now(),
    )
