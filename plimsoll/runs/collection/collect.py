"""The job that removes what was deleted long ago and frees bytes that nothing names.

A blob goes only if nothing names it and nobody has stored or asked for it within a day. Both are looked at in one writing
transaction, for which those who would name it wait, so what is named is there; who stores bytes has a day to say what they are for.
Killed at any point, what is left over goes the next time.
"""

from __future__ import annotations

from pathlib import Path

from plimsoll import clock
from plimsoll.data.project import PROJECT_FILE, setting
from plimsoll.records.tracking.collect import Binned, Collect, CollectReport
from plimsoll.runs.collection.named import Named
from plimsoll.runs.collection.overdue import Overdue, overdue, traces_of_experiments
from plimsoll.runs.collection.removal import mark_experiments, remove_experiments, remove_key_parts, remove_models, remove_runs
from plimsoll.runs.collection.turns import turn
from plimsoll.store.contracts import JobContext, StoredBlob

#: Seconds for which bytes stay that nothing names: what is to name them may not be recorded yet.
GRACE = 86_400.0

#: Seconds for which one transaction frees blobs, while those who write wait.
_HOLD = 0.2

#: What is told by name at most.
_TOLD = 1000


def collect(request: Collect, context: JobContext) -> CollectReport:
    """Remove for good what was deleted long ago, and free the bytes that nothing names any more."""
    days = _kept(context.project) if request.older_than is None else request.older_than
    before = clock.now() - round(days * 1e6)
    with context.stores.database.read() as tx:
        found = overdue(tx, before)
    told = _told(found)
    if request.dry_run:
        free = _free(context, found)
        return CollectReport(
            experiments=len(found.experiments),
            runs=len(found.runs),
            models=len(found.models),
            binned=told,
            blobs=len(free),
            freed=sum(blob.size for blob in free),
            dry_run=True,
        )
    marked = mark_experiments(context, [each.id for each in found.experiments], before)
    runs = remove_runs(context, [each.id for each in found.runs], before)
    models = remove_models(context, [each.id for each in found.models], before)
    experiments = remove_experiments(context, marked)
    remove_key_parts(context)
    blobs, freed = _sweep(context)
    return CollectReport(experiments=experiments, runs=runs, models=models, binned=told, blobs=blobs, freed=freed, dry_run=False)


def _kept(project: Path) -> float:
    return clock.seconds_of(str(setting("keep_deleted", None, project if (project / PROJECT_FILE).is_file() else None)[0]))


def _told(found: Overdue) -> tuple[Binned, ...]:
    return (*found.stays, *found.experiments, *found.runs, *found.models)[:_TOLD]


def _old(context: JobContext, named: set[str]) -> list[StoredBlob]:
    oldest = clock.now() - round(GRACE * 1e6)
    return [blob for blob in context.stores.blobs.stored() if blob.used < oldest and blob.digest not in named]


def _free(context: JobContext, found: Overdue) -> list[StoredBlob]:
    """Return the blobs that nothing will name once the rows are gone."""
    experiments = [each.id for each in found.experiments]
    goes = {each.id for each in (*found.experiments, *found.runs, *found.models)}
    with context.stores.database.read() as tx:
        named = Named(context.stores.blobs, context.home / "journal").all(tx, goes | traces_of_experiments(tx, experiments))
    return _old(context, named)


def _sweep(context: JobContext) -> tuple[int, int]:
    """Free what nothing names; return how many blobs went and their bytes."""
    stores, known = context.stores, Named(context.stores.blobs, context.home / "journal")
    with stores.database.read() as tx:
        named = known.all(tx)
    free = _old(context, named)
    blobs = freed = 0
    while free:
        context.progress(f"{blobs} blobs freed, {len(free)} left")
        with turn(stores.database) as tx:
            # Looked at again, now that nobody else can name anything. Manifests that are known are not read again.
            named = known.all(tx)
            until = clock.monotonic() + _HOLD
            while free and clock.monotonic() < until:
                blob = free.pop()
                size = 0 if blob.digest in named else stores.blobs.collect(blob.digest, GRACE)
                blobs, freed = blobs + (size > 0), freed + size
    return blobs, freed
