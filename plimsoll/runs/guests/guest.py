"""MLflow's client inside a run: what it asks is done for that run, as if the run's own logger had been asked.

To the client the run is one that it begins, logs to and ends. To begin a run, where there is one already, gives that run; to end it
changes nothing, for whoever executes the code ends it. Everything else is done as the platform does it for anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from plimsoll import clock
from plimsoll.data.snapshot import put_manifest
from plimsoll.errors import Refused, Unavailable, Unreachable
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.request import Request
from plimsoll.records.run import GetRun, LogArtifact, Run, RunDetail, SetTags, StartRun
from plimsoll.records.tracking.change import DeleteRun, LogBatch, LogDatasets, RemoveArtifacts, RemoveTags, UpdateRun
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT_ID, Experiment, GetExperiment
from plimsoll.records.tracking.logged_model import CreateLoggedModel, GetLoggedModel, LinkModels, LogModelMetrics
from plimsoll.records.tracking.traces.trace import RecordTrace
from plimsoll.runs.logger import PARENT
from plimsoll.runs.outputs.files import FILE
from plimsoll.store.contracts import Blobs, Do

#: How the names of guests begin: a tracking address with one is ours.
MARK = "plimsoll-"

#: What MLflow's client says of the program that begins a run; the run knows it better.
_ITS_OWN = ("mlflow.user", "mlflow.runName", "mlflow.source.")

#: What tells nothing that another run need not find alike.
_QUIET = (GetExperiment, GetLoggedModel, CreateLoggedModel, LogModelMetrics, RecordTrace)

#: Why it is asked again in vain: the client would try for minutes, and the training would wait for it.
_OUTAGES = (Unreachable, Unavailable)


class Guest:
    """One client's way into one run.

    Args:
        run: gives the run as it is known here.
        do: the door.
        write: takes what is logged to the run.
        blobs: where bytes are.
        settle: brings what was logged before to the platform, as far as it can; None when it is there already.
    """

    def __init__(
        self,
        run: Callable[[], Run],
        do: Do,
        write: Callable[[Request[Any]], None],
        blobs: Blobs,
        settle: Callable[[], None] | None = None,
    ) -> None:
        self.name = f"{MARK}{clock.new_secret()}"
        self.blobs = blobs
        self._run, self._do, self._write, self._settle = run, do, write, settle
        #: What was asked besides the run, each as the end of a sentence: another run need not repeat it alike.
        self.effects: dict[str, None] = {}
        #: Runs and logged models that it has begun.
        self._begun: set[str] = set()

    @property
    def run(self) -> Run:
        """The run as it is known here."""
        return self._run()

    def do(self, request: Request[Any], writes: bool = False) -> Any:
        """Do what the client asks, and return the answer.

        Args:
            request: what it asks.
            writes: the client only writes to runs, so what is known here of the run is enough of an answer.

        Raises:
            Refused: the run is to be deleted while it is under way, or the platform does not answer.
            PlimsollError: whatever the platform refuses.
        """
        try:
            return self._done(request, writes and self._settle is not None)
        except _OUTAGES as error:
            raise Refused(f"The platform does not answer: {error.fact}", "The run goes on; this is not in it.") from error

    def _done(self, request: Request[Any], known: bool) -> Any:
        run = self._run()
        match request:
            case StartRun() if self._is_this(request, run):
                return self._begin(request, run)
            case UpdateRun(id=run.id):
                return run if request.name is None else self._ask(UpdateRun(id=run.id, name=request.name))
            case DeleteRun(id=run.id):
                raise Refused(f"The run {run.id} is under way.", "Delete it when it has ended.")
            case GetRun(id=run.id) if known:
                return RunDetail(run=run, metrics=(), artifacts=(), inputs=())
            case GetExperiment(id=id) if known and id in (run.experiment_id, DEFAULT_EXPERIMENT_ID):
                return Experiment(id=id, name=run.experiment, tags={}, created=run.started, updated=run.started)
            case LogArtifact(run_id=run.id, kind="file"):
                return self._write(replace(request, digest=self._tree(request), kind="tree"))
            case LogBatch(run_id=run.id) | LogArtifact(run_id=run.id) | LogDatasets(run_id=run.id) | LinkModels(run_id=run.id):
                return self._write(request)
            case SetTags(id=run.id):
                return self._write(request)
        return self._ask(request)

    def _is_this(self, request: StartRun, run: Run) -> bool:
        """Return whether the client means the run that is under way, and not one within it or elsewhere."""
        return PARENT not in request.tags and request.experiment_id in ("", run.experiment_id, DEFAULT_EXPERIMENT_ID)

    def _begin(self, request: StartRun, run: Run) -> Run:
        tags = {name: value for name, value in request.tags.items() if not name.startswith(_ITS_OWN)}
        if tags:
            self._write(SetTags(id=run.id, tags=tags))
        return run

    def _tree(self, request: LogArtifact) -> str:
        """Return the digest of an artifact as a run's own logger keeps a file: with its bytes go those that name it."""
        entry = FileEntry(path=request.name.rpartition("/")[2], digest=request.digest, size=request.size)
        return put_manifest(self.blobs, Manifest(kind="tree", files=(entry,), meta={"path": FILE}))

    def _ask(self, request: Request[Any]) -> Any:
        if self._settle is not None:
            self._settle()
        self._note(request)
        answer = self._do(request)
        if isinstance(request, StartRun | CreateLoggedModel):
            self._begun.add(answer.id)
        return answer

    def _note(self, request: Request[Any]) -> None:
        about, own = {str(getattr(request, name, "")) for name in ("id", "run_id", "owner")}, self._run().id
        if isinstance(request, StartRun):
            self.effects["began another run through MLflow"] = None
        elif isinstance(request, RemoveTags | RemoveArtifacts) and own in about:
            self.effects["took something from its run through MLflow"] = None
        elif not isinstance(request, _QUIET) and not (isinstance(request, GetRun) and own in about) and not about & self._begun:
            self.effects[f"asked the platform through MLflow ({type(request).__name__})"] = None
