"""What a run around code begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plimsoll.errors import InvalidInput
from plimsoll.records.run import check_run_id
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
        if self.run_id is not None:
            check_run_id(self.run_id)
            if self.experiment or self.name or self.key is not None or self.parent is not None or self.nested:
                raise InvalidInput(
                    f"The run {self.run_id} has its experiment, name, key and parent already.", "Give only run_id, params, tags and notes."
                )
        if self.nested and self.parent is not None:
            raise InvalidInput("A run has one parent.", "Give nested=True or parent, not both.")
