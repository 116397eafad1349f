"""Runs that a filter lets through, a page at a time."""

from __future__ import annotations

from plimsoll.errors import InvalidInput
from plimsoll.records.run import RunDetail
from plimsoll.records.tracking.find import RunPage, SearchRuns
from plimsoll.runs.described import described_runs, selected_runs
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import runs


def search_runs(request: SearchRuns, context: Context) -> RunPage:
    """Return a page of runs, newest first."""
    if request.where or request.order:
        raise InvalidInput("Filters and orders are not understood yet.", "Leave both out.")
    query = selected_runs().order_by(runs.c.id.desc()).limit(request.limit + 1)
    if request.experiments is not None:
        query = query.where(runs.c.experiment_id.in_(request.experiments))
    if request.view != "all":
        query = query.where(runs.c.deleted.is_(None) if request.view == "active" else runs.c.deleted.is_not(None))
    if request.page is not None:
        query = query.where(runs.c.id < request.page)
    rows = context.tx.execute(query).all()
    page = described_runs(context.tx, rows[: request.limit], request.params, request.tags)
    metrics = context.stores.points.summaries(context.tx, [run.id for run in page])
    wanted = request.metrics
    return RunPage(
        runs=tuple(
            RunDetail(
                run=run,
                metrics=tuple(each for each in metrics.get(run.id, ()) if wanted is None or each.name in wanted),
                artifacts=(),
                inputs=(),
            )
            for run in page
        ),
        next=page[-1].id if len(rows) > request.limit else None,
    )
