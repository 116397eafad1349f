"""``plimsoll jobs``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, Id, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.records.access import GetJob, JobState, ListJobs

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
            "id": Id(job.id),
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


@app.command
def show(id: str, *, form: Format = Format()) -> None:
    """Print a job and how it went.

    Args:
        id: the job's id, or the beginning of it.
        form: how to print.
    """
    with door() as opened:
        job = opened.do(GetJob(id=id))
    error = job.error or {}
    lines = {
        "job": job.id,
        "verb": job.verb,
        "request": job.payload,
        "for": job.actor,
        "state": job.state,
        "created": when(job.created),
        "due": when(job.due),
        "tries": job.attempts,
        "progress": job.progress,
        "result": job.result["id"] if isinstance(job.result, dict) and "id" in job.result else job.result,
        "error": error.get("fact"),
        "fix": error.get("remedy"),
    }
    show_record(job, form, lines)
