"""The job that examines a version: gathers the evidence, asks every check, and records one report.

It runs in a process of its own, so the model's code may run here once a person has trusted it. A check that raises is a failed
check with the exception's words; the report is recorded at the end in one transaction, so a killed examination leaves none.
"""

from __future__ import annotations

import math
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll import clock
from plimsoll.data.project import load_object, read_project
from plimsoll.data.snapshot import get_tree
from plimsoll.data.tables.table import get_table
from plimsoll.errors import InvalidInput, NotFound, PlimsollError, Untrusted
from plimsoll.records.deployment import GetDeployment, GetRelease, Release
from plimsoll.records.model import CheckReport, CheckVersion, GetVersion, ListGrants, Purpose, RecordReport, Verdict, Version
from plimsoll.records.request import Json
from plimsoll.registry.checks.availability import check_availability
from plimsoll.registry.checks.evidence import Answers, Bools, Champion, Data, Floats
from plimsoll.registry.checks.footprint import check_footprint
from plimsoll.registry.checks.money import check_baseline, check_champion
from plimsoll.registry.checks.parity import check_parity
from plimsoll.registry.checks.quality import check_purpose, check_quality
from plimsoll.registry.checks.slices import check_slices
from plimsoll.registry.checks.stability import check_stability, disturb
from plimsoll.registry.package import Model, open_package
from plimsoll.registry.trial import Trial, try_package
from plimsoll.store.contracts import JobContext

#: Characters of an exception that a reason repeats; all of it is among the numbers.
_SAID = 400


def check_version(request: CheckVersion, context: JobContext) -> CheckReport:
    """Examine a version with every check, and record the verdicts.

    Raises:
        NotFound: there is no such version.
        Untrusted: the package carries code, or classes that are not known here, that nobody has allowed to run.
        Corrupt: stored bytes do not match their digest.
    """
    version = context.do(GetVersion(ref=request.ref))
    live = _live(context, version.model, request.environment)
    with tempfile.TemporaryDirectory(prefix="plimsoll-checks-") as folder:
        evidence = _Evidence(context, version, live, Path(folder))
        evidence.require_trust()
        verdicts = tuple(_ask(name, check, context) for name, check in _checks(evidence))
    report = CheckReport(
        id=clock.new_id(),
        model=version.model,
        number=version.number,
        champion=None if live is None else live.package,
        verdicts=verdicts,
        created=clock.now(),
    )
    return context.do(RecordReport(report=report))


def _checks(evidence: _Evidence) -> tuple[tuple[str, Callable[[], Verdict]], ...]:
    return (
        ("availability", lambda: check_availability(evidence.data)),
        ("purpose", lambda: check_purpose(evidence.data.purpose, evidence.declared)),
        ("quality", lambda: check_quality(evidence.data)),
        ("baseline", lambda: check_baseline(evidence.answers, evidence.rule)),
        ("champion", lambda: check_champion(evidence.answers, evidence.champion)),
        ("slices", evidence.slices),
        ("stability", evidence.stability),
        ("parity", lambda: check_parity(evidence.trial)),
        ("footprint", lambda: check_footprint(evidence.trial, evidence.data.purpose.budget)),
    )


def _ask(name: str, check: Callable[[], Verdict], context: JobContext) -> Verdict:
    context.progress(f"Checking {name}")
    try:
        verdict = check()
    except Exception as error:
        # A check that could not be made must not pass, and must not hide what the others found.
        said = str(error) if isinstance(error, PlimsollError) else f"{type(error).__name__}: {error}"
        short = textwrap.shorten(said, _SAID, placeholder=" …")
        verdict = Verdict(check=name, outcome="fail", reason=f"This check could not be made. {short}", numbers={"error": said})
    verdict = replace(verdict, numbers=_finite(verdict.numbers))
    context.progress(f"{name}: {verdict.outcome}. {verdict.reason}")
    return verdict


def _finite(value: Any) -> Json:
    """Return numbers as JSON can carry them: what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _live(context: JobContext, model: str, environment: str) -> Release | None:
    try:
        deployment = context.do(GetDeployment(model=model, environment=environment))
    except NotFound:
        return None
    return None if deployment.stable is None else context.do(GetRelease(id=deployment.stable))


class _Evidence:
    """Everything that checks ask for, made when it is first needed, so that a part that fails spoils only its own checks."""

    def __init__(self, context: JobContext, version: Version, live: Release | None, folder: Path) -> None:
        self._context = context
        self._version = version
        self._live = live
        self._folder = folder
        self._purpose = version.package.purpose

    def require_trust(self) -> None:
        """Open the candidate's package, which runs its code; other errors than these come back from the checks.

        Raises:
            Untrusted: nobody has allowed what it carries to run.
        """
        name = f"{self._version.model}/{self._version.number}"
        try:
            _ = self._model
        except Untrusted as error:
            remedy = f"Read it with: plimsoll models show {name}; then allow it with: plimsoll models trust {name}"
            raise Untrusted(f"{name} cannot be examined: {error.fact}", remedy, digest=self._version.digest) from error
        except Exception as error:
            self._context.progress(f"{name} cannot be opened: {error}")

    @cached_property
    def _trusted(self) -> bool:
        return bool(self._context.do(ListGrants(digest=self._version.digest)))

    @cached_property
    def _package(self) -> Path:
        get_tree(self._context.stores.blobs, self._version.digest, self._folder / "candidate")
        return self._folder / "candidate"

    @cached_property
    def _model(self) -> Model:
        return open_package(self._package, self._version.digest, self._trusted)

    @cached_property
    def data(self) -> Data:
        """The candidate's tables."""
        return Data(
            purpose=self._purpose,
            inputs=tuple(column.name for column in self._version.package.signature.inputs),
            training=_table(self._context, self._version, "training"),
            holdout=_table(self._context, self._version, "holdout"),
        )

    @property
    def declared(self) -> Purpose | None:
        """What the project's table says about this model now."""
        try:
            return read_project(self._context.project).models.get(self._version.model)
        except NotFound:
            return None

    @cached_property
    def _judged(self) -> pl.DataFrame:
        """The holdout's rows with a label and a time."""
        holdout = self.data.holdout
        if holdout is None:
            raise InvalidInput("The package names no holdout data.", "Give holdout= to plimsoll.Model.")
        for column in (self._purpose.label, self._purpose.time):
            if column not in holdout.columns:
                raise InvalidInput(f"The holdout lacks the column {column!r}.", "Keep it beside the raw inputs.")
        labels = pl.col(self._purpose.label).cast(pl.Float64, strict=False)
        rows = holdout.filter(labels.is_in([0.0, 1.0]), pl.col(self._purpose.time).is_not_null())
        if rows.height == 0:
            raise InvalidInput("No held-out row has a label of 0 or 1 and a time.", "Look at the check of quality.")
        return rows

    @cached_property
    def answers(self) -> Answers:
        """The candidate's answers to the holdout."""
        rows = self._judged
        return Answers(
            purpose=self._purpose,
            labels=rows.get_column(self._purpose.label).cast(pl.Float64).to_numpy(),
            days=_days(rows.get_column(self._purpose.time)),
            candidate=_predicted(self._model, rows, "The candidate"),
        )

    @cached_property
    def rule(self) -> Bools | None:
        """The manual rule's decision on each row of the holdout."""
        ref, rows = self._purpose.baseline, self._judged
        if not ref:
            return None
        given = load_object(self._context.project, ref)(rows)
        acts = np.asarray(given, dtype=np.float64)
        if acts.shape != (rows.height,) or not np.isin(acts, (0, 1)).all():
            raise InvalidInput(f"The manual rule {ref} must return 0 or 1 for each of the {rows.height} rows.", "Correct the rule.")
        decisions: Bools = acts == 1
        return decisions

    @cached_property
    def champion(self) -> Champion | None:
        """The version in production on the candidate's holdout."""
        if self._live is None:
            return None
        name, rows = f"{self._live.model}/{self._live.number}", self._judged
        if self._live.package == self._version.digest:
            return Champion(name=name, answers=self.answers.candidate, same=True)
        try:
            given = _predicted(self._champion_model(self._live.package), rows, name)
        except PlimsollError as error:
            return Champion(name=name, answers=None, reason=str(error))
        return Champion(name=name, answers=given, seen=self._seen(self._live.package, rows))

    def _champion_model(self, digest: str) -> Model:
        get_tree(self._context.stores.blobs, digest, self._folder / "champion")
        trusted = bool(self._context.do(ListGrants(digest=digest)))
        return open_package(self._folder / "champion", digest, trusted)

    def _seen(self, digest: str, rows: pl.DataFrame) -> float | None:
        unit = self._purpose.unit
        training = _table(self._context, self._context.do(GetVersion(ref=digest)), "training")
        if training is None or unit not in training.columns or unit not in rows.columns:
            return None
        known = training.get_column(unit).cast(pl.String).unique().implode()
        return float(rows.get_column(unit).cast(pl.String).is_in(known).sum()) / rows.height

    def slices(self) -> Verdict:
        """Judge the slices."""
        rows = self._judged
        groups: dict[str, npt.NDArray[np.str_]] = {
            name: np.asarray(rows.get_column(name).cast(pl.String).fill_null("null").to_list(), dtype=np.str_)
            for name in self._purpose.slices
            if name in rows.columns
        }
        lacking = tuple(name for name in self._purpose.slices if name not in rows.columns)
        return check_slices(self.answers, self.rule, groups, lacking)

    def stability(self) -> Verdict:
        """Judge the effect of small noise."""
        noise = disturb(self._model.frame(self._judged), self._model.predict, self._purpose.costs.threshold)
        return check_stability(noise)

    @property
    def trial(self) -> Trial:
        """What the package does in a fresh process; raises what went wrong."""
        if isinstance(self._tried, PlimsollError):
            raise self._tried
        return self._tried

    @cached_property
    def _tried(self) -> Trial | PlimsollError:
        # Two checks ask; a package that does not start is waited for once.
        try:
            return try_package(self._package, self._version.digest, trusted=self._trusted)
        except PlimsollError as error:
            return error


def _table(context: JobContext, version: Version, role: str) -> pl.DataFrame | None:
    digest = version.package.data.get(role)
    return None if digest is None else get_table(context.stores.blobs, digest)


def _predicted(model: Model, rows: pl.DataFrame, name: str) -> Floats:
    given = model.predict(rows)
    gaps = int(np.sum(~np.isfinite(given)))
    if gaps:
        raise InvalidInput(f"{name} answers {gaps} of {rows.height} held-out rows with no finite number.", "Correct the model.")
    return given


def _days(times: pl.Series) -> npt.NDArray[np.int64]:
    if times.dtype == pl.Date or isinstance(times.dtype, pl.Datetime):
        return times.cast(pl.Date).to_physical().to_numpy().astype(np.int64)
    raise InvalidInput(f"The time {times.name!r} is of the type {times.dtype}, not a date or a date-time.", "Convert it before training.")
