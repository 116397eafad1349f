"""``plimsoll runs``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, next_step, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.records.pipeline import ListSteps
from plimsoll.records.run import GetRun, ListRuns, RunState

app = App(name="runs")


@app.command(name="list")
def list_(*, experiment: str | None = None, state: RunState | None = None, limit: int = 20, form: Format = Format()) -> None:
    """List runs, newest first.

    Args:
        experiment: only this one.
        state: only runs in this state.
        limit: at most so many, up to 1,000.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListRuns(experiment=experiment, state=state, limit=limit))
    rows = [
        {
            "id": detail.run.id[:16],
            "experiment": detail.run.experiment,
            "name": detail.run.name,
            "state": detail.run.state,
            "author": detail.run.author,
            "cause": f"{detail.run.cause.kind} {detail.run.cause.id[:16]}".strip(),
            "started": when(detail.run.started),
            "metrics": {metric.name: metric.last for metric in detail.metrics},
        }
        for detail in found
    ]
    show_list(rows, form, "There are no runs yet. Start one with: plimsoll run PIPELINE")


@app.command
def show(id: str, *, form: Format = Format()) -> None:
    """Print one run with its steps.

    Args:
        id: the run's id, or the beginning of it.
        form: how to print.
    """
    with door() as opened:
        detail = opened.do(GetRun(id=id))
        steps = opened.do(ListSteps(run_id=detail.run.id))
    run = detail.run
    lines = {
        "run": run.id,
        "name": run.name,
        "experiment": run.experiment,
        "state": run.state,
        "error": run.error,
        "author": run.author,
        "cause": f"{run.cause.kind} {run.cause.id}".strip(),
        "started": when(run.started),
        "ended": when(run.ended),
        "commit": run.code.commit,
        "branch": run.code.branch,
        "dirty diff": run.code.dirty_diff,
        "entry": run.code.entry,
        "environment": run.environment,
        "params": run.params,
        "tags": run.tags,
        "metrics": {metric.name: metric.last for metric in detail.metrics},
        "data": {read.name: read.digest for read in detail.inputs},
        "artifacts": {kept.name: f"{kept.kind} {kept.digest[:12]} {kept.size} bytes" for kept in detail.artifacts},
        "steps": {step.name: f"{step.state} {(step.ended - step.started) / 1e6:.2f} s  {step.why}" for step in steps},
    }
    show_record({"detail": detail, "steps": steps}, form, lines)
    if any(kept.kind == "model" for kept in detail.artifacts) and not form.json:
        next_step("plimsoll models list")
