"""``plimsoll predictions``."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from plimsoll.cli.output import Format, show_record, when
from plimsoll.cli.session import door
from plimsoll.records.deployment import ExplainPrediction

app = App(name="predictions")


@app.command
def why(request_id: str, *, form: Format = Format()) -> None:
    """Print where one answer came from: which model, which data, which code, who approved it.

    Args:
        request_id: as the answer carried it (``x-request-id``).
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ExplainPrediction(request_id=request_id))
    rows: dict[str, Any] = {}
    for row in found.rows:
        inputs = {name.removeprefix("in."): value for name, value in row.items() if name.startswith("in.") and value is not None}
        name = f"row {row['row']} ({row['track']})"
        # Sent again under its id, a request has a row several times.
        times = sum(known == name or known.startswith(f"{name}, ") for known in rows)
        rows[f"{name}, time {times + 1}" if times else name] = {
            "answer": row["output"],
            "at": when(row["at"]),
            "took": f"{row['latency'] / 1000:.1f} ms, status {row['status']}",
            "unit": row["unit"],
            "inputs": inputs,
        }
    lines: dict[str, Any] = {"request": request_id, **rows}
    if found.release is not None and found.lineage is not None and (run := found.lineage.run) is not None:
        version = found.lineage.version
        lines |= {
            "release": f"{found.release.id} in {found.release.environment}, {found.release.state}",
            "approved by": [f"{given.actor} at {when(given.created)}: {given.note or 'no note'}" for given in found.approvals],
            "version": f"{version.model}/{version.number} {version.digest}",
            "made by": f"{version.author} in run {run.id} ({run.experiment}), because of {run.cause.kind} {run.cause.id}".strip(),
            "params": run.params,
            "code": f"commit {run.code.commit or '-'}, uncommitted changes {run.code.dirty_diff or 'none'}, entry {run.code.entry or '-'}",
            "environment": run.environment,
            "data": {role: f"{data.name} {data.digest} {data.rows} rows" for role, data in found.lineage.data.items()},
            "checks": {verdict.check: verdict.outcome for verdict in found.lineage.report.verdicts} if found.lineage.report else "none",
        }
    else:
        lines["release"] = "none: the declared fallback answered"
    show_record(found, form, lines)
