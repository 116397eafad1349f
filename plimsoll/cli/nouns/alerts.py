"""``plimsoll alerts``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, Id, say, show_list, when
from plimsoll.cli.session import door
from plimsoll.records.monitor import AcknowledgeAlert, ListAlerts, ListWindows

app = App(name="alerts")


@app.command(name="list")
def list_(model: str | None = None, *, open_only: bool = False, limit: int = 20, form: Format = Format()) -> None:
    """List alerts, newest first.

    Args:
        model: only of this one.
        open_only: only those that nobody acknowledged.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListAlerts(model=model, open_only=open_only, limit=limit))
    rows = [
        {
            "id": Id(alert.id),
            "model": alert.model,
            "window": f"{when(alert.start)[:10]} to {when(alert.end)[:10]}",
            "kind": alert.finding.kind,
            "subject": alert.finding.subject,
            "reason": alert.finding.reason,
            "decision": alert.decision,
            "seen by": alert.acknowledged,
        }
        for alert in found
    ]
    show_list(rows, form, "There are no alerts.")


@app.command
def windows(model: str, *, environment: str = "production", limit: int = 20, form: Format = Format()) -> None:
    """List what was found in each window of a deployment's traffic, newest first.

    Args:
        model: registered name.
        environment: where.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListWindows(model=model, environment=environment, limit=limit))
    rows = [
        {
            "window": f"{when(report.start)[:10]} to {when(report.end)[:10]}",
            "rows": report.rows,
            "labels": report.labels,
            "metrics": report.metrics,
            "findings": [finding.subject for finding in report.findings if finding.alarming],
        }
        for report in found
    ]
    show_list(rows, form, "No window was watched yet.")


@app.command
def ack(id: str) -> None:
    """Say that you saw an alert.

    Args:
        id: the alert's id, or the beginning of it.
    """
    with door() as opened:
        alert = opened.do(AcknowledgeAlert(id=id))
    say(f"{alert.id[:16]} was seen by {alert.acknowledged}.")
