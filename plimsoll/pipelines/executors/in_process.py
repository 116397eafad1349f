"""Calls of steps in this very process."""

from __future__ import annotations

import contextlib
import copy
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from plimsoll.clock import Alarms
from plimsoll.data import values
from plimsoll.data.trace.recording import Recorder, kept
from plimsoll.errors import PlimsollError
from plimsoll.pipelines.executors.call import Call, Ran, changeable, load_input, perform
from plimsoll.pipelines.loop.late import LateBlobs, remembered_by
from plimsoll.pipelines.loop.room import one_at_a_time
from plimsoll.pipelines.plan import Argument, Literal, Node, resolve
from plimsoll.runs.logger import RunLogger
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs


class InProcess:
    """Runs each call at once in the thread that submits it. It cannot stop a step, so timeout and memory are not enforced.

    Calls of several threads take turns: the random generators and whatever else is one a process belong to one call at a time.

    Args:
        blobs: where outputs are.
        project: folder of the project.
        many: calls follow each other, and what their recordings watch stays in place from the first one to :meth:`close`.
    """

    def __init__(self, blobs: Blobs, project: Path, many: bool = False) -> None:
        self._blobs = blobs
        self.project = project
        self.room = one_at_a_time()
        #: Begin the threads that a run needs once it takes long; runs at the same time share them with what else is here.
        self.alarms = Alarms()
        self._turn, self._many, self._ends = threading.Lock(), many, contextlib.ExitStack()
        stored = blobs.stored if isinstance(blobs, LateBlobs) else blobs
        hidden = [stored.folder] if isinstance(stored, LocalBlobs) else []
        self._recorder = Recorder(project, hidden, remembered=remembered_by(blobs))

    def submit(self, call: Call) -> Future[Ran]:
        """Run a call to its end and return its future.

        Args:
            call: what to run.
        """
        future: Future[Ran] = Future()
        try:
            loaded = {
                index: load_input(index, output, self._blobs, index in call.trusted, self.project) for index, output in call.inputs.items()
            }
            args, kwargs = _plain_arguments(call.node, loaded)
            logger = RunLogger(call.run_id, call.heard, lambda value: values.save(value, self._blobs, self.project))
            shared = changeable(call.shared, call.inputs, loaded)
            with self._turn:
                if self._many:
                    self._many = False
                    self._ends.enter_context(kept())
                function, variables = call.node.step.function, call.variables
                recording = self._recorder.recording(function, call.known, call.seed, variables, [*args, *kwargs.values()])
                met = call.met()
                with _Running() as running:
                    ran = perform(function, args, kwargs, logger, self._blobs, self.project, recording, variables, shared)
            effects = [f"met what an earlier step has changed ({met})"] if met else []
            effects += ["ran while a step of another run did in this process"] if running.beside else []
            future.set_result(replace(ran, effects=(*ran.effects, *effects)))
        except PlimsollError as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Begin no more threads, and leave nothing in place for further calls."""
        self._ends.close()
        self.alarms.close()


class _Running:
    """A call that runs in this process, where all of them share generators, variables and globals."""

    #: Those that run now.
    now: ClassVar[set[_Running]] = set()

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        #: Whether a call of another thread has run meanwhile; one within this one is of its own thread.
        self.beside = False

    def __enter__(self) -> _Running:
        for other in tuple(self.now):
            if other._thread != self._thread:
                self.beside = other.beside = True
        self.now.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.now.discard(self)


def _plain_arguments(node: Node, loaded: dict[int, Any]) -> tuple[list[Any], dict[str, Any]]:
    # A step that changes its arguments must change neither the plan's copy nor what another parameter of it gets.
    def own(argument: Argument) -> Any:
        value = resolve(argument, loaded.__getitem__)
        try:
            return copy.deepcopy(value) if isinstance(argument, Literal) else value
        except Exception:  # what cannot be copied has no digest either, so nothing is cached that this could spoil
            return value

    return [own(argument) for argument in node.args], {name: own(argument) for name, argument in node.kwargs.items()}
