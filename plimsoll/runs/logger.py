"""What code inside a run logs to: the object that ``plimsoll.current_run()`` gives.

The current run is a context variable, set by whoever executes the code (a step's process, ``with plimsoll.run()``), so
threads and nested runs do not mix.
"""

from __future__ import annotations

import importlib
import math
import numbers
import operator
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import Any

from plimsoll import clock
from plimsoll.errors import InvalidInput
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Json, Request, check_digest, check_key, check_name
from plimsoll.records.run import LogArtifact, LogInput, PointColumns, SetTags, check_artifact_name, check_step
from plimsoll.records.tracking.change import LogBatch

#: Tags that MLflow's clients know too.
PARENT, NOTES = "mlflow.parentRunId", "mlflow.note.content"

#: Names, steps, times (UTC microseconds) and values of points, of one length.
Columns = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], tuple[float, ...]]


class RunLogger:
    """A run that can be logged to. Everything is handed on at once; whoever executes the code does it.

    Nothing waits for the platform. What is wrong with a name or a value is raised; what the platform refuses later is told.

    Args:
        id: the run's id; empty when nothing is recorded.
        send: takes points, or a request to be done.
        keep: stores a value, or a path's content, and says where; None when it cannot for now, which it has told.
    """

    def __init__(self, id: str, send: Callable[[PointColumns | Request[Any]], None], keep: Callable[[Any], Output | None]) -> None:
        self._id = id
        self._send = send
        self._keep = keep
        self._next: dict[str, int] = {}
        #: Where valid points go.
        self._points: Callable[[Columns], None] = self._send_points

    @property
    def id(self) -> str:
        """The run's id; empty when nothing is recorded."""
        return self._id

    def __repr__(self) -> str:
        return f"<run {self.id}>" if self.id else "<a run that keeps nothing>"

    def log(self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **more: float) -> None:
        """Log metric points. Without ``step`` each metric counts on from its last one, beginning at 0.

        Args:
            values: metric -> value.
            step: position on the metric's axis.
            more: the same as ``values``, as keywords.

        Raises:
            InvalidInput: a name is not valid, a value is no number, or a step is no integer of 64 bits. Nothing is logged then.
        """
        # A loop calls this at every step, and between two steps the processor has forgotten all of it: then each function that is called
        # and each object that is touched costs, whatever is done with it. So this is written out, and a name is checked once.
        given = more if values is None else named("Metrics", values, more)
        counts = self._next
        for name in given:
            if name not in counts:
                check_key("Metric", name)
        if step is None:
            steps = tuple([counts.get(name, 0) for name in given])
            for at in steps:
                check_step(at)
        else:
            at = step if type(step) is int else whole_step(step)
            if not -(2**63) <= at < 2**63:
                check_step(at)
            steps = (at,) * len(given)
        try:
            floats = tuple(map(float, given.values()))
        except Exception as error:  # whatever a value's own conversion raises
            raise _no_number(given) from error
        if step is None:
            for name, at in zip(given, steps, strict=True):
                counts[name] = at + 1
        else:
            at += 1
            for name in given:
                counts[name] = at
        self._points((tuple(given), steps, (clock.now(),) * len(steps), floats))

    def _send_points(self, columns: Columns) -> None:
        names, steps, times, values = columns
        self._send(PointColumns(names=names, steps=steps, times=times, values=values))

    def set_params(self, values: Mapping[str, Json] | None = None, /, **more: Json) -> None:
        """Add parameters that are known only now. A parameter is written once; the same value again changes nothing.

        Args:
            values: parameter -> value; what is no JSON is kept as its text.
            more: the same as ``values``, as keywords.

        Raises:
            InvalidInput: a name is not valid, or the run has the parameter with another value.
        """
        params = {name: plain_param(value) for name, value in named("Params", values, more).items()}
        self._send(LogBatch(run_id=self.id, params=params))

    def set_tags(self, values: Mapping[str, str] | None = None, /, **more: str) -> None:
        """Add or replace tags.

        Args:
            values: tag -> text; other values become their text.
            more: the same as ``values``, as keywords.

        Raises:
            InvalidInput: a name is not valid, or a text is too long.
        """
        self._send(SetTags(id=self.id, tags={name: plain_text(value) for name, value in named("Tags", values, more).items()}))

    def set_notes(self, text: str) -> None:
        """Write what people should know of the run, in place of earlier notes.

        Args:
            text: Markdown.

        Raises:
            InvalidInput: it is no text, or too long.
        """
        if not isinstance(text, str):
            raise InvalidInput(f"The notes {text!r} are no text.", "Give a text.")
        self.set_tags({NOTES: text})

    def log_artifact(self, name: str, value: Any, *, step: int | None = None) -> None:
        """Keep a value, or the file or folder of a path, under a name.

        Args:
            name: relative path within the run, such as ``model/weights.bin``.
            value: a ``Path``, bytes, or what a step could return: a table, arrays, plain values, a model.
            step: for what is kept once a step; it becomes a part of the name.

        Raises:
            InvalidInput: the name is not valid, or the path does not exist.
            Unfingerprintable: the value cannot be stored.
        """
        if isinstance(value, str):
            # A path that was forgotten to be one would be kept as its name.
            raise InvalidInput(f"The text {value[:80]!r} may be a path or a text.", "Use Path(...) for a file, and log_text for a text.")
        check_artifact_name(name)
        check_artifact_name(name := _stepped(name, step))
        if isinstance(value, bytes):
            with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
                path = Path(folder) / PurePosixPath(name).name
                path.write_bytes(value)
                self._attach(name, path)
        else:
            self._attach(name, value)

    def log_text(self, name: str, text: str, *, step: int | None = None) -> None:
        """Keep a text as a file in UTF-8.

        Args:
            name: relative path within the run, such as ``notes.md``.
            text: the text.
            step: for what is kept once a step.

        Raises:
            InvalidInput: the name is not valid, or it is no text.
        """
        if not isinstance(text, str):
            raise InvalidInput(f"A {type(text).__qualname__} is no text.", "Give a str; log_artifact keeps bytes, files and other values.")
        self.log_artifact(name, plain_text(text).encode(), step=step)

    def log_table(self, name: str, table: Any, *, step: int | None = None) -> None:
        """Keep a table as Parquet.

        Args:
            name: relative path within the run.
            table: a frame of polars or pandas, an Arrow table, columns by name, or rows as dicts.
            step: for what is kept once a step.

        Raises:
            InvalidInput: the name is not valid, or it is no table.
            Unfingerprintable: a column cannot be stored exactly.
        """
        self.log_artifact(name, _media().table_of(table), step=step)

    def log_figure(self, name: str, figure: Any, *, step: int | None = None) -> None:
        """Keep a figure of matplotlib as an image, or one of plotly as a page.

        Args:
            name: relative path within the run; without a suffix it gets ``.png`` or ``.html``.
            figure: the figure.
            step: for what is kept once a step.

        Raises:
            InvalidInput: the name is not valid, or it is no figure.
        """
        self.log_artifact(*_media().figure_file(name, figure), step=step)

    def log_image(self, name: str, image: Any, *, step: int | None = None) -> None:
        """Keep an image as a PNG file.

        Args:
            name: relative path within the run; without a suffix it gets ``.png``.
            image: a PIL image, or an array of ``(h, w)``, ``(h, w, 3)`` or ``(h, w, 4)``: uint8, bool, or floats from 0 to 1.
            step: for what is kept once a step.

        Raises:
            InvalidInput: the name is not valid, or it is no image.
        """
        self.log_artifact(*_media().image_file(name, image), step=step)

    def log_input(self, name: str, digest: str) -> None:
        """Record that the run read a registered snapshot.

        Args:
            name: role of the data.
            digest: the snapshot's digest.

        Raises:
            InvalidInput: the name or the digest is not valid.
        """
        check_name("Input", name)
        check_digest("Snapshot", digest)
        self._send(LogInput(run_id=self.id, name=name, digest=digest))

    def flush(self) -> None:
        """Return once nothing that was logged before is lost when this process dies.

        Within a step that is so when a call returns: the process that drives the run has it then. A run that keeps nothing has nothing to
        lose.
        """

    def _attach(self, name: str, value: Any) -> None:
        output = self._keep(value)
        if output is not None:
            self._send(LogArtifact(run_id=self.id, name=name, kind=output.kind, digest=output.digest, size=output.size))


#: The run of the code that executes in this context, or None where none was handed on.
current: ContextVar[RunLogger | None] = ContextVar("plimsoll_current_run", default=None)

#: Attribute of a thread that has the runs which are under way and began there.
_BEGUN = "plimsoll_runs"


def begun_here() -> list[RunLogger]:
    """Return the runs that began in this thread and are under way, to be changed by whoever begins and ends them.

    They lie with the thread, and not with a module: they are gone with it, and a forked process has those of the thread that forked it.
    """
    runs: list[RunLogger] = vars(threading.current_thread()).setdefault(_BEGUN, [])
    return runs


def run_around() -> RunLogger | None:
    """Return the run that this code executes in, or None outside of any run.

    That is the run of the context. Where none was handed on it is the run that began last in this thread, or else the only one that
    is under way in the process.

    Raises:
        InvalidInput: several are under way in other threads, so nobody knows which one is meant.
    """
    if (run := current.get()) is not None:
        return run
    found: list[RunLogger] = []
    for thread in threading.enumerate():
        begun: list[RunLogger] = vars(thread).get(_BEGUN, [])[-1:]
        if begun and thread.ident == threading.get_ident():
            return begun[0]
        found += begun
    if len(found) > 1:
        runs = ", ".join(sorted(run.id for run in found))
        raise InvalidInput(
            f"This thread was begun outside of any run, and several are under way in its process: {runs}.",
            "Hand it its run, or begin it with contextvars.copy_context().run(...).",
        )
    return found[0] if found else None


def current_run() -> RunLogger:
    """Return the run that this code executes in; outside of any run, one that keeps nothing.

    A step that logs therefore stays a plain function: a test calls it without a run, and its points go nowhere. Threads find the run in
    which they were begun, as long as no other one is under way in their process.

    Raises:
        InvalidInput: this is another thread than those in which runs began, and several are under way.
    """
    return run_around() or RunLogger("", lambda logged: None, lambda value: None)


def plain_param(value: Any) -> Json:
    """Return a parameter as a run's record has it: JSON where it can be, else its text.

    Args:
        value: what was given.

    Raises:
        InvalidInput: it holds itself.
    """
    try:
        return _plain(value)
    except RecursionError as error:
        raise InvalidInput(f"A parameter of type {type(value).__qualname__} holds itself.", "Give a value that ends.") from error


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, numbers.Integral):
        # What does not fit 64 bits would not fit the journal.
        return int(value) if -(2**63) <= int(value) < 2**63 else str(int(value))
    if isinstance(value, numbers.Real):
        # JSON has neither NaN nor infinities.
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {plain_text(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return plain_text(value)


def plain_text(value: Any) -> str:
    """Return a value's text as UTF-8 can hold it; what it cannot, such as bytes of a file's name, is written as ``\\udcff``.

    Args:
        value: whatever has a text.
    """
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def named(what: str, values: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return what was given by name: as a mapping, as keywords, or both.

    Args:
        what: how the error calls it, in the plural.
        values: a mapping, or None.
        more: keywords.

    Raises:
        InvalidInput: it is no mapping.
    """
    try:
        return more if values is None else {**values, **more}
    except TypeError as error:
        remedy = "Write for example run.log(loss=0.3) or run.log({'loss': 0.3}), and the same for params and tags."
        raise InvalidInput(f"{what} are given by name, not as a value of type {type(values).__qualname__}.", remedy) from error


def whole_step(step: Any) -> int:
    """Return a step as a plain integer.

    Args:
        step: an integer of any kind, such as numpy's.

    Raises:
        InvalidInput: it is none.
    """
    if type(step) is int:
        return step
    try:
        return int(operator.index(step))
    except TypeError as error:
        raise InvalidInput(f"The step {step!r} is no integer.", "Count steps in integers; a time belongs to its own metric.") from error


def points(values: Mapping[str, float], steps: Sequence[int]) -> PointColumns:
    """Return points of this moment as columns.

    Args:
        values: metric -> value; whatever ``float`` takes.
        steps: of each metric.

    Raises:
        InvalidInput: a name is not valid, a value is no number, or a step does not fit 64 bits.
    """
    try:
        floats = tuple(map(float, values.values()))
    except Exception as error:  # whatever a value's own conversion raises
        raise _no_number(values) from error
    return PointColumns(names=tuple(values), steps=tuple(steps), times=(clock.now(),) * len(steps), values=floats)


def _no_number(values: Mapping[str, Any]) -> InvalidInput:
    """Return the error for the first value that is none."""
    for name, value in values.items():
        try:
            float(value)
        except Exception as error:
            kind = type(value).__qualname__
            return InvalidInput(f"The value of the metric {name!r}, a {kind}, is no number: {error}.", "Log one number a metric and step.")
    return InvalidInput(f"The values of the metrics {', '.join(map(str, values))} are no numbers.", "Log one number a metric and step.")


def _stepped(name: str, step: int | None) -> str:
    """Return the name of what is logged once a step: ``samples.png`` at 10 is ``samples/step-000000010.png``."""
    if step is None:
        return name
    if (step := whole_step(step)) < 0:
        raise InvalidInput(f"The step {step} of an artifact is below 0.", "Count steps from 0.")
    path = PurePosixPath(name)
    return str(path.with_suffix("") / f"step-{step:09d}{path.suffix}")


def _media() -> Any:
    # Named, not imported above: it imports polars, which begins threads, and steps are forked from a process that has imported this file.
    return importlib.import_module("plimsoll.data.media")
