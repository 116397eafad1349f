"""What the tests of pipelines share: a project whose files are written, imported afresh, and run in a real workspace."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

from plimsoll import clock
from plimsoll.data.project import load_object
from plimsoll.data.snapshot import get_manifest
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.records.access import Actor
from plimsoll.records.pipeline import Output
from plimsoll.records.pipelines.part import NO_PART, PartAsked
from plimsoll.records.request import Request
from plimsoll.workspace import Workspace

#: Of processes that import this very Plimsoll, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

OWNER = Actor(name="dana", roles=("admin",))


class Bench:
    """A workspace and the project beside it.

    Args:
        workspace: the opened home.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.project = workspace.project
        self.events: list[StepEvent] = []

    def do(self, request: Request[Any]) -> Any:
        """Do a verb as the owner."""
        return self.workspace.do(request, OWNER)

    def write(self, name: str, source: str) -> None:
        """Write a file of the project."""
        (self.project / name).write_text(dedent(source))

    def load(self, ref: str = "pipe.py:flow") -> Any:
        """Import a name of the project as a new process would."""
        for name, module in list(sys.modules.items()):
            # Another test's project may have left a module of the same name.
            if "/pytest-of-" in str(getattr(module, "__file__", None) or "") or str(getattr(module, "__file__", "")).startswith(
                str(self.project)
            ):
                del sys.modules[name]
        return load_object(self.project, ref)

    def run(
        self, ref: str = "pipe.py:flow", *, executor: Any = "in_process", key: str | None = None, part: PartAsked = NO_PART, **params: Any
    ) -> PipelineResult:
        """Run a pipeline of the project, imported afresh."""
        self.events.clear()
        return execute(
            self.load(ref),
            params,
            do=self.do,
            blobs=self.workspace.stores.blobs,
            project=self.project,
            key=key,
            executor=executor,
            part=part,
            on_step=self.events.append,
        )

    def blob(self, digest: str) -> Path:
        """Return the file of a stored blob."""
        return self.workspace.home / "blobs" / digest[:2] / digest

    def age(self) -> None:
        """Make every stored byte a day old."""
        yesterday = clock.now() / 1e6 - 86400
        for path in (self.workspace.home / "blobs").rglob("*"):
            if path.is_file():
                os.utime(path, (yesterday, yesterday))

    def files(self, output: Output) -> list[Path]:
        """Return the stored files of an output, without its manifest."""
        return [self.blob(entry.digest) for entry in get_manifest(self.workspace.stores.blobs, output.digest).files]


def states(result: PipelineResult) -> dict[str, str]:
    """Return how each step went, by its short name."""
    return {step.label: step.state for step in result.steps}
