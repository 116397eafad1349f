"""A run made anew from what was recorded of it, and compared digest by digest."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plimsoll.errors import InvalidInput, StepFailed
from plimsoll.pipelines.again.checkout import repository, write_code
from plimsoll.pipelines.again.rerun import (
    Asked,
    Reran,
    bring_files,
    changed,
    entry_of,
    module_paths,
    parts_of,
    read_by,
    run_again,
    working_folder,
)
from plimsoll.pipelines.again.surroundings import differing_packages, install
from plimsoll.pipelines.history.compare import packages_of
from plimsoll.pipelines.history.past import same_step, short
from plimsoll.records.pipeline import ListSteps, StepRecord
from plimsoll.records.pipelines.history import Change
from plimsoll.records.run import GetRun, RunDetail
from plimsoll.store.contracts import Blobs, Do


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStep:
    """A step of a run, and of its repetition."""

    #: Qualified name.
    name: str
    #: Digest of what it gave, or ``skipped``, or ``items`` where only the calls for its items gave something; None: it was not there.
    old: str | None
    #: The same of what it gives now.
    new: str | None

    @property
    def same(self) -> bool:
        """Whether both gave the same."""
        return self.old == self.new and self.old is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Whether a run gives again what it gave."""

    #: The run.
    run_id: str
    #: Every step gave the same bytes, and every metric the same number.
    reproduced: bool
    #: The answer in one line.
    summary: str
    #: Steps in the order of the plan.
    steps: tuple[ComparedStep, ...]
    #: Metrics that differ.
    metrics: tuple[Change, ...]
    #: Packages that were others than those of the run; empty when its environment was rebuilt.
    packages: tuple[Change, ...]
    #: Files and variables that steps read by themselves and that are no longer what they were.
    surroundings: tuple[str, ...]


def reproduce(
    id: str,
    *,
    do: Do,
    blobs: Blobs,
    project: Path,
    home: str = "",
    environment: bool = True,
    say: Callable[[str], None],
) -> Reproduction:
    """Make a run anew in a folder of its own, from its code, its environment, its parameters and the files that it read.

    Nothing that is there is changed; a process that is killed leaves a folder for temporary files.

    Args:
        id: the run's id, or the beginning of it.
        do: the door.
        blobs: where the run's changes and environment are.
        project: folder of the project, in the git repository that has the run's commit.
        home: home or server whose cache may be used; empty computes every step, in a home of its own.
        environment: install the run's packages; else those that are here are used, and what differs is named.
        say: gets one line whenever the work is further.

    Raises:
        NotFound: there is no such run, no repository, or not its commit.
        InvalidInput: it is no run of a pipeline in a file, or has not finished.
        Unavailable: a package cannot be installed.
        StepFailed: a step fails now.
    """
    detail = do(GetRun(id=id))
    run = detail.run
    entry = entry_of(run)
    if run.state != "finished":
        raise InvalidInput(f"The run {run.id[:16]} is {run.state}: there is no result to compare with.", "Name a run that has finished.")
    before = do(ListSteps(run_id=run.id))
    root = repository(project)
    with tempfile.TemporaryDirectory(prefix="plimsoll-reproduce-") as made:
        folder = Path(made)
        say(f"writing the code of run {run.id[:16]}")
        tree = folder / "code"
        inside = write_code(run.code, project, tree, blobs)
        parts = read_by(parts_of(before, do))
        bring_files(parts, project, inside, blobs)
        wanted = packages_of(run, blobs)
        packages = differing_packages(wanted) if wanted else ()
        python = sys.executable
        if environment and packages:
            say(f"installing {len(wanted)} packages")
            python, packages = install(wanted, folder / "environment"), ()
        surroundings = tuple(f"{part.kind} {part.name}" for part in changed(parts, inside))
        say("running it again")
        asked = Asked(
            url=home or str(folder / "home"), project=str(inside), entry=entry, params=run.params,
            experiment=f"{run.experiment}-again", tags={"reproduces": run.id}, answer=str(folder / "answer.json"),
            folder=str(working_folder(parts, inside)), until=_until(run.tags.get("partial", "")),
        )  # fmt: skip
        found = run_again(asked, python=python, paths=module_paths(root, tree))
    return _judged(detail, before, found, packages, surroundings)


def _judged(
    detail: RunDetail, before: tuple[StepRecord, ...], found: Reran, packages: tuple[Change, ...], surroundings: tuple[str, ...]
) -> Reproduction:
    if found.error:
        raise StepFailed(f"Run {detail.run.id[:16]} cannot be made again: {found.error}", _hint(packages, surroundings))
    steps = compare(before, found, "partial" in detail.run.tags)
    metrics = _metrics({metric.name: metric.last for metric in detail.metrics}, found)
    reproduced = not metrics and all(step.same for step in steps)
    return Reproduction(
        run_id=detail.run.id,
        reproduced=reproduced,
        summary=_summary(steps, metrics) if not reproduced else f"reproduced: {len(steps)} steps gave the same, bit by bit",
        steps=steps,
        metrics=metrics,
        packages=packages,
        surroundings=surroundings,
    )


def _until(part: str) -> str:
    """Return the step after which nothing was asked for, of a run's tag ``partial``; empty when there is none."""
    words = part.split()
    asked = dict(zip(words[::2], words[1::2], strict=False))
    # What the step needs came from the cache then and is computed now.
    return asked.get("until") or asked.get("only", "")


def compare(before: tuple[StepRecord, ...], found: Reran, part: bool = False) -> tuple[ComparedStep, ...]:
    """Return each step of a run beside that of its repetition.

    Args:
        before: the run's steps.
        found: its repetition.
        part: only a part of the pipeline was asked for; what was left out is not compared.
    """
    listed = []
    for record in before:
        like = same_step(found.steps, record)
        old, new = _gave(record), None if like is None else _gave(like)
        if old != "skipped" or not part:
            listed.append(ComparedStep(name=record.name, old=old, new=new))
    more = [step for step in found.steps if same_step(before, step) is None and step.output is not None and not part]
    listed += [ComparedStep(name=step.name, old=None, new=_gave(step)) for step in more]
    return tuple(listed)


def _gave(step: StepRecord) -> str:
    if step.output is not None:
        return step.output.digest
    return "skipped" if step.state == "skipped" else "items"


def _metrics(old: dict[str, float], found: Reran) -> tuple[Change, ...]:
    """Return the metrics that the pipeline returned and that differ; those that a step logged are its own doing, not its result."""
    pairs = [(name, old.get(name), value) for name, value in sorted(found.metrics.items())]
    return tuple(Change(name=name, old=was, new=now) for name, was, now in pairs if not _equal(was, now))


def _equal(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is new
    return old == new or (math.isnan(old) and math.isnan(new))


def _summary(steps: tuple[ComparedStep, ...], metrics: tuple[Change, ...]) -> str:
    first = next((step for step in steps if not step.same), None)
    if first is None:
        return f"not reproduced: {metrics[0].name} was {metrics[0].old} and is {metrics[0].new}"
    other = sum(not step.same for step in steps)
    more = f", and {other - 1} after it" if other > 1 else ""
    return f"not reproduced: step {short(first.name)} is the first that gives something else{more}"


def _hint(packages: tuple[Change, ...], surroundings: tuple[str, ...]) -> str:
    if packages:
        return f"{len(packages)} packages are others than then; try it without --no-environment."
    return f"What it read has changed: {', '.join(surroundings[:5])}." if surroundings else "Read the traceback above."
