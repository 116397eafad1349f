"""Experiments and runs are moved in through the same verbs that any client uses, so that rights and the audit log hold.

A run is begun under the id that it has at the source and ends last, so one that is cut off is still under way here, and goes on
where it stopped. What is here already is compared and not written again.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from plimsoll import clock
from plimsoll.errors import Conflict, NotFound, PlimsollError, Unreachable
from plimsoll.records.request import LONGEST_EXPERIMENT, check_key, check_title
from plimsoll.records.run import GetRun, RunDetail, StartRun
from plimsoll.records.tracking.change import DeleteRun, LogBatch, LogDatasets, UpdateRun
from plimsoll.records.tracking.experiment import (
    DEFAULT_EXPERIMENT_ID,
    LONGEST_EXPERIMENT_TAG,
    LONGEST_TAG,
    CreateExperiment,
    DeleteExperiment,
    Experiment,
    GetExperiment,
    TagExperiment,
    check_tags,
)
from plimsoll.records.tracking.logged_model import LinkModels
from plimsoll.runs.described import param_text
from plimsoll.sdk.door import Door
from plimsoll.sdk.moving.artifacts import ArtifactCopy
from plimsoll.sdk.moving.catalog import CatalogCopy
from plimsoll.sdk.moving.histories import HistoryCopy, same_point
from plimsoll.sdk.moving.ledger import Ledger
from plimsoll.sdk.moving.sources.source import Owner, Source, SourceExperiment, SourceRun


def move_in(door: Door, source: Source, ledger: Ledger, recheck: bool, tell: Callable[[str], None]) -> None:
    """Copy everything that a source has.

    Args:
        door: where to.
        source: where from; its notes are the ledger's.
        ledger: gets what happened.
        recheck: read histories and files again also where all that can be seen of them is the same.
        tell: told where the copy stands, in a few words.

    Raises:
        Unreachable: the source cannot be read any more.
        PlimsollError: the platform does not take it: no right to write, no room, no answer.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="plimsoll-import-") as folder:
            _Copy(door, source, ledger, recheck, tell, Path(folder)).all()
    except PlimsollError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise Unreachable(f"{source.address} cannot be read any more: {error}", GO_ON) from error
    ledger.settle()


#: What to do when a source fails in the middle.
GO_ON = "Run the same command again once it can be read: it goes on where it stopped."


class _Copy:
    def __init__(self, door: Door, source: Source, ledger: Ledger, recheck: bool, tell: Callable[[str], None], folder: Path) -> None:
        self._door, self._source, self._ledger, self._recheck, self._tell = door, source, ledger, recheck, tell
        self._histories = HistoryCopy(door, source, ledger)
        self._artifacts = ArtifactCopy(door, source, ledger, recheck, folder)
        self._catalog = CatalogCopy(door, source, ledger, self._artifacts, tell)
        #: Runs that used logged models, which come after the runs.
        self._using: list[SourceRun] = []
        #: What is to be put out of sight at the very end, since what is deleted cannot be changed.
        self._deleted_runs: list[str] = []

    def all(self) -> None:
        """Copy everything."""
        listed = list(self._source.experiments())
        taken = Counter(_fitted(each) for each in listed)
        known = [(found, self._experiment(found, taken[_fitted(found)] == 1)) for found in listed]
        homes = [(found, here) for found, here in known if here is not None]
        for found, here in homes:
            self._runs(found, here)
        for found, here in homes:
            self._catalog.logged(found, here.id)
        for run in self._using:
            with self._ledger.refusals("logged model", f"of run {run.id}"):
                self._link(run)
        self._catalog.registered()
        for id in self._deleted_runs:
            self._door.do(DeleteRun(id=id))
        for found, here in homes:
            if found.deleted and here.deleted is None and here.id != DEFAULT_EXPERIMENT_ID:
                self._door.do(DeleteExperiment(id=here.id))

    def _experiment(self, found: SourceExperiment, alone: bool) -> Experiment | None:
        """Return the experiment here that a source's runs go to: the one of the same name, or a new one."""
        name = _fitted(found)
        if name != found.name:
            if not alone:
                # Two of the source's must not become one.
                name = f"{name[: LONGEST_EXPERIMENT - len(found.id) - 3].strip()} ({found.id})"
            self._ledger.differs("experiment", f"The experiment {found.name!r} is {name!r} here, since its name has other characters.")
        tags = self._fit_tags(found.tags, f"experiment {name}", LONGEST_EXPERIMENT_TAG)
        with self._ledger.refusals("experiment", found.name):
            try:
                here = self._door.do(GetExperiment(name=name))
            except NotFound:
                made = self._door.do(CreateExperiment(name=name, tags=tags, id=self._free(found.id), created=found.created))
                self._ledger.copied("experiment")
                return made
            self._ledger.here("experiment")
            changed = {key: value for key, value in tags.items() if here.tags.get(key) != value}
            if changed and here.deleted is None:
                self._door.do(TagExperiment(id=here.id, tags=changed))
            return here
        return None

    def _free(self, id: str) -> str:
        """Return an experiment's id when nobody has it here and it can be one, else nothing."""
        try:
            self._door.do(GetExperiment(id=id))
        except NotFound:
            return id if id.isascii() and id.isdecimal() and len(id) <= 64 else ""
        return ""

    def _runs(self, found: SourceExperiment, here: Experiment) -> None:
        for number, run in enumerate(self._source.runs(found.id), 1):
            self._tell(f"{found.name}: run {number}, {self._ledger.counts['point'].copied:,} points")
            with self._ledger.refusals("run", run.id):
                self._run(run, found, here)

    def _run(self, run: SourceRun, found: SourceExperiment, here: Experiment) -> None:
        detail, new = self._begun(run, here)
        if detail.run.experiment_id != here.id:
            raise Conflict(f"The run {run.id} is in the experiment {detail.run.experiment!r} here.", "Nothing of it was changed.")
        if detail.run.deleted is None:
            self._described(run, detail)
            settled = run.state != "running" and (detail.run.state, detail.run.ended) == (run.state, _end(run))
            self._histories.copy(run, detail, settled and not self._recheck)
            self._artifacts.copy(Owner(run.id, found.id), {kept.name: kept for kept in detail.artifacts})
            if run.state != "running" and not settled:
                self._door.do(UpdateRun(id=run.id, state=run.state, ended=_end(run)))
            if run.models:
                self._using.append(run)
            if run.deleted:
                self._deleted_runs.append(run.id)
        else:
            self._unseen(run, found, detail)
        self._compare(run, new)

    def _unseen(self, run: SourceRun, found: SourceExperiment, detail: RunDetail) -> None:
        """Count what a run keeps that is deleted here, and so is not changed."""
        self._ledger.here("param", len(run.params))
        self._ledger.here("tag", len(run.tags))
        self._ledger.here("dataset", len(run.datasets))
        self._ledger.here("point", sum(series.count for series in detail.metrics))
        self._artifacts.compare(Owner(run.id, found.id), {kept.name: kept for kept in detail.artifacts})

    def _begun(self, run: SourceRun, here: Experiment) -> tuple[RunDetail, bool]:
        try:
            return self._door.do(GetRun(id=run.id)), False
        except NotFound:
            name = fitting("Run name", run.name, f"run {run.id}") if run.name else ""
            self._door.do(StartRun(experiment_id=here.id, id=run.id, name=name, started=run.started))
            return self._door.do(GetRun(id=run.id)), True

    def _described(self, run: SourceRun, detail: RunDetail) -> None:
        known = detail.run
        params = self._fit_params(run)
        new = {name: value for name, value in params.items() if name not in known.params}
        tags = self._fit_tags(run.tags, f"run {run.id}")
        changed = {name: value for name, value in tags.items() if known.tags.get(name) != value}
        if new or changed:
            self._door.do(LogBatch(run_id=run.id, params=new, tags=changed))
        self._ledger.copied("param", len(new))
        self._ledger.here("param", len(params) - len(new))
        self._ledger.copied("tag", len(changed))
        self._ledger.here("tag", len(tags) - len(changed))
        if run.name and known.name != (name := fitting("Run name", run.name, run.id)):
            self._door.do(UpdateRun(id=run.id, name=name))
        read = tuple(use for use in run.datasets if use not in detail.datasets)
        if read:
            self._door.do(LogDatasets(run_id=run.id, uses=read))
        self._ledger.copied("dataset", len(read))
        self._ledger.here("dataset", len(run.datasets) - len(read))

    def _fit_params(self, run: SourceRun) -> dict[str, str]:
        found = {}
        for name, value in run.params.items():
            with self._ledger.refusals("param", f"{name[:80]} of run {run.id}"):
                check_key("Param", name)
                found[name] = value
        return found

    def _fit_tags(self, tags: dict[str, str], owner: str, longest: int = LONGEST_TAG) -> dict[str, str]:
        found = {}
        for name, value in tags.items():
            with self._ledger.refusals("tag", f"{name[:80]} of {owner}"):
                check_tags({name: value}, longest)
                found[name] = value
        return found

    def _link(self, run: SourceRun) -> None:
        new = tuple(use for use in run.models if use not in self._door.do(GetRun(id=run.id)).models)
        for use in new:
            with self._ledger.refusals("logged model", f"{use.model_id} of run {run.id}"):
                self._door.do(LinkModels(run_id=run.id, uses=(use,)))

    def _compare(self, run: SourceRun, new: bool) -> None:
        """Read a run back, and count it as it is."""
        detail = self._door.do(GetRun(id=run.id))
        here = detail.run
        wrong = [name for name, value in run.params.items() if name in here.params and param_text(here.params[name]) != value]
        wrong += [f"tag {name}" for name, value in run.tags.items() if name in here.tags and here.tags[name] != value]
        last = {series.name: series for series in detail.metrics}
        wrong += [f"metric {name}" for name, point in run.metrics.items() if name in last and not same_point(last[name], point)]
        for what, ours, theirs in (
            ("name", here.name, run.name and fitting("Run name", run.name, run.id)),
            ("start", here.started, run.started),
            ("state", here.state, run.state),
            ("end", here.ended, _end(run)),
        ):
            if theirs and ours != theirs:
                wrong.append(what)
        if wrong:
            self._ledger.differs("run", f"The run {run.id} is not as at the source: {', '.join(wrong[:8])}.")
        elif new:
            self._ledger.copied("run")
        else:
            self._ledger.here("run")


def _end(run: SourceRun) -> int | None:
    """Return when a run ended; one that ended without saying when has ended as it began."""
    if run.state == "running":
        return None
    return run.ended if run.ended is not None else run.started or clock.now()


def _fitted(found: SourceExperiment) -> str:
    return fitting("Experiment", found.name, f"experiment {found.id}", LONGEST_EXPERIMENT)


def fitting(what: str, name: str, otherwise: str, longest: int = 250) -> str:
    """Return a name as it can be kept here: characters that no name can have become ``_``.

    Args:
        what: what is named, for the rule.
        name: as it is at the source.
        otherwise: what it is called when nothing of it is left.
        longest: characters at most.
    """
    kept = "".join(char if char.isprintable() else "_" for char in name).strip()[:longest].strip()
    try:
        check_title(what, kept, longest)
    except PlimsollError:
        return otherwise
    return kept
