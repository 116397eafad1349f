"""Where a version, and an answer, come from."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import select

from plimsoll.data.refs.registered import snapshot_of
from plimsoll.errors import NotFound
from plimsoll.records.deployment import ExplainPrediction, Explanation, GetRelease, ListApprovals
from plimsoll.records.model import GetLineage, GetVersion, Lineage
from plimsoll.records.run import GetRun
from plimsoll.registry.promotion import get_release, list_approvals
from plimsoll.registry.versions import get_version, grants_of, newest_report
from plimsoll.runs.lifecycle import get_run
from plimsoll.store.contracts import Context
from plimsoll.store.schema import prediction_index


def get_lineage(request: GetLineage, context: Context) -> Lineage:
    """Return version, run, data, checks and grants."""
    version = get_version(GetVersion(ref=request.ref), context)
    data = version.meta.data if version.meta is not None else {}
    return Lineage(
        version=version,
        run=get_run(GetRun(id=version.run_id), context).run if version.run_id else None,
        data={role: found for role, digest in data.items() if (found := snapshot_of(context, digest)) is not None},
        report=newest_report(context, version.model, version.number),
        grants=() if version.meta is None else grants_of(context, version.digest),
    )


def explain_prediction(request: ExplainPrediction, context: Context) -> Explanation:
    """Return the logged rows of one request, answers first, and the release, approvals and lineage of the version that answered."""
    query = select(prediction_index).where(prediction_index.c.request_id == request.request_id).order_by(prediction_index.c.stream)
    places = context.tx.execute(query).all()
    if not places:
        raise NotFound(
            f"There is no prediction {request.request_id!r}.",
            "Use the id that the answer carried (x-request-id); answers are logged within a second.",
        )
    rows: list[dict[str, Any]] = []
    for place in places:
        frame = context.stores.segments.scan(context.tx, place.stream, place.start, place.end + 1)
        rows += frame.filter(frame["request_id"] == request.request_id).to_dicts()
    # A request that failed may have been sent again under its id: what the caller got in the end stands first.
    rows.sort(key=lambda row: (row["track"] == "shadow", not _answered(row), row["row"]))
    release_id = rows[0]["release_id"] if rows else ""
    if not release_id:
        return Explanation(rows=tuple(rows), release=None, approvals=(), lineage=None)
    release = get_release(GetRelease(id=release_id), context)
    return Explanation(
        rows=tuple(rows),
        release=release,
        approvals=list_approvals(ListApprovals(release_id=release.id), context),
        lineage=get_lineage(GetLineage(ref=release.package), context),
    )


def _answered(row: dict[str, Any]) -> bool:
    return row["status"] == 200 and row["output"] is not None and math.isfinite(row["output"])
