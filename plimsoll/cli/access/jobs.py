"""``plimsoll jobs``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, show_list, when
from plimsoll.cli.session import door
from plimsoll.records.access import JobState, ListJobs

app = App(name="jobs")


@app.command(name="list")
def list_(*, state: JobState | None = None, limit: int = 20, form: Format = Format()) -> None:
    """List jobs, newest first.

    Args:
        state: only jobs in this state.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListJobs(state=state, limit=limit))
    rows = [
        {
            "id": job.id[:16],
            "verb": job.verb,
            "state": job.state,
            "for": job.actor,
            "created": when(job.created),
            "tries": job.attempts,
            "progress": (job.error or {}).get("fact") or job.progress,
        }
        for job in found
    ]
    show_list(rows, form, "There are no jobs.")
