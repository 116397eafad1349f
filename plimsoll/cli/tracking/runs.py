"""``plimsoll runs``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from plimsoll.cli.nouns.told import difference_lines, difference_rows
from plimsoll.cli.output import (
    Format,
    Id,
    next_step,
    padded,
    say,
    show_answer,
    show_bytes,
    show_list,
    show_record,
    text_of,
    when,
    width_of,
)
from plimsoll.cli.session import door
from plimsoll.data import values
from plimsoll.errors import Conflict, NotFound, PlimsollError
from plimsoll.pipelines.history.compare import code_text
from plimsoll.records.pipeline import ListSteps, Output
from plimsoll.records.pipelines.history import Change, CompareRuns, RunComparison
from plimsoll.records.run import Artifact, CodeVersion, GetRun, GetSeries, RunDetail, RunState
from plimsoll.records.tracking.change import DeleteRun, RestoreRun
from plimsoll.records.tracking.experiment import GetExperiment
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.records.tracking.machine import SYSTEM, Machine
from plimsoll.runs.outputs.files import flat_files
from plimsoll.runs.search.columns import TIMES, cell, columns_of, heading, wanted
from plimsoll.runs.search.language import Name
from plimsoll.sdk.door import Door

app = App(name="runs")

#: Metrics that a person is shown of each run when nothing is asked for.
_SOME = 5

#: The lowest and the highest step that there can be.
_FIRST, _LAST = -(2**63), 2**63 - 1


@app.command(name="list")
def list_(
    *,
    experiment: str | None = None,
    state: RunState | None = None,
    where: str = "",
    order: str = "",
    columns: str = "",
    limit: int = 20,
    deleted: bool = False,
    form: Format = Format(),
) -> None:
    """List runs, newest first.

    Args:
        experiment: only this one.
        state: only runs in this state.
        where: only runs of which this holds, such as "metrics.auc > 0.8 and params.depth = '5'".
        order: what orders them, such as "metrics.auc DESC"; several with commas between.
        columns: what is shown of each, such as name,metrics.auc,params.depth.
        limit: at most so many, up to 50,000.
        deleted: those that are deleted instead.
        form: how to print.
    """
    shown = columns_of(text for text in columns.split(",") if text.strip())
    if state is not None:
        where = f"state = '{state}'" + (f" and ({where})" if where.strip() else "")
    with door() as opened:
        asked = SearchRuns(
            experiments=None if experiment is None else (opened.do(GetExperiment(name=experiment)).id,),
            where=where,
            order=tuple(part.strip() for part in order.split(",") if part.strip()),
            limit=limit,
            view="deleted" if deleted else "active",
            **wanted(shown or None),
        )
        found = opened.do(asked).runs
    whole = form.json or form.csv
    rows = [_row(detail, whole) if not shown else {heading(column): _cell(detail, column) for column in shown} for detail in found]
    show_list(
        rows,
        form,
        "There are no such runs." if where or experiment or deleted else "There are no runs yet. Start one with: plimsoll run PIPELINE",
    )


def _row(detail: RunDetail, whole: bool) -> dict[str, Any]:
    metrics = {metric.name: metric.last for metric in detail.metrics if whole or not metric.name.startswith(SYSTEM)}
    more = 0 if whole else len(metrics) - _SOME
    shown: Any = metrics if more <= 0 else f"{text_of(dict(list(metrics.items())[:_SOME]))}, and {more:,} more"
    return {
        "id": Id(detail.run.id),
        "experiment": detail.run.experiment,
        "name": detail.run.name,
        "state": detail.run.state,
        "author": detail.run.author,
        "cause": f"{detail.run.cause.kind} {detail.run.cause.id[:16]}".strip(),
        "started": when(detail.run.started),
        "metrics": shown,
    }


def _cell(detail: RunDetail, column: Name) -> Any:
    value = cell(detail, column)
    return when(value) if not column.kind and column.key in TIMES and value is not None else value


@app.command
def show(id: str, *, dirty_diff: Annotated[bool, Parameter(negative=())] = False, form: Format = Format()) -> None:
    """Print one run with its steps.

    Args:
        id: the run's id, or the beginning of it.
        dirty_diff: print instead what was changed in its code since the commit, as a patch for git apply.
        form: how to print.
    """
    with door() as opened:
        detail = opened.do(GetRun(id=id))
        if dirty_diff:
            _show_changes(opened, detail.run.id, detail.run.code)
            return
        steps = opened.do(ListSteps(run_id=detail.run.id))
    run = detail.run
    lines = {
        "run": run.id,
        "name": run.name,
        "experiment": run.experiment,
        "state": run.state,
        **({} if run.deleted is None else {"deleted": when(run.deleted)}),
        "error": run.error,
        "author": run.author,
        "cause": f"{run.cause.kind} {run.cause.id}".strip(),
        "started": when(run.started),
        "ended": when(run.ended),
        "commit": run.code.commit,
        "branch": run.code.branch,
        "dirty diff": run.code.dirty_diff and f"{run.code.dirty_diff}, printed by --dirty-diff",
        "remote": run.code.remote,
        "entry": run.code.entry,
        "arguments": " ".join(run.code.arguments) or None,
        "environment": run.environment,
        "machine": run.machine and _machine(run.machine),
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


def _show_changes(opened: Door, id: str, code: CodeVersion) -> None:
    if code.dirty_diff is not None:
        show_bytes(opened.blobs.get(code.dirty_diff))
    elif code.commit is not None:
        say(f"The run {id} began with the commit {code.commit} and no changes since.")
    else:
        say(f"The run {id} recorded no commit: it was made outside of a git repository.")


@app.command
def series(
    id: str, metric: str, *, width: int | None = None, first: int | None = None, last: int | None = None, form: Format = Format()
) -> None:
    """Print a metric's history: every point, those of some steps, or so few that a chart needs.

    Args:
        id: the run's id, or the beginning of it.
        metric: its name.
        width: columns of a chart; the first, smallest, largest and last point of each are printed.
        first: lowest step.
        last: highest step.
        form: how to print.
    """
    steps = None if first is None and last is None else (_FIRST if first is None else first, _LAST if last is None else last)
    with door() as opened:
        run = opened.do(GetRun(id=id)).run
        found = opened.do(GetSeries(run_id=run.id, name=metric, width=width, steps=steps))
    columns = zip(found.steps, found.times, found.values, strict=True)
    show_list([{"step": step, "time": when(time), "value": value} for step, time, value in columns], form, "No point has such a step.")
    if found.sampled:
        say(f"{len(found.steps):,} of {found.count:,} points; without --width it is all of them.")


@app.command
def download(id: str, name: str = "", *, to: str = ".") -> None:
    """Write what a run keeps to files, and print their paths. Nothing that is there is replaced. A plain value becomes JSON.

    Args:
        id: the run's id, or the beginning of it.
        name: an artifact, or a folder of them; everything unless given.
        to: folder to write to.
    """
    with door() as opened:
        detail = opened.do(GetRun(id=id))
        plain = {each.name: text for each in detail.artifacts if each.kind == "value" and (text := _json_of(opened, each)) is not None}
        files = flat_files(opened.blobs, (each for each in detail.artifacts if each.name not in plain))
        files = [entry for entry in files if _is_in(entry.path, name)]
        texts = {f"{artifact}.json": text for artifact, text in plain.items() if _is_in(artifact, name)}
        if not files and not texts:
            names = f"It keeps: {', '.join(each.name for each in detail.artifacts[:20])}" if detail.artifacts else "It keeps nothing."
            raise NotFound(
                f"The run {detail.run.id} has no artifact {name!r}." if name else f"The run {detail.run.id} has no files.", names
            )
        for path in (Path(to) / each for each in (*(entry.path for entry in files), *texts)):
            if path.exists():
                raise Conflict(f"{path} is there already.", "Move it away, or write to another folder with --to.")
        for entry in files:
            opened.blobs.get_file(entry.digest, Path(to) / entry.path)
            print(Path(to) / entry.path)
        for place, text in texts.items():
            (Path(to) / place).parent.mkdir(parents=True, exist_ok=True)
            (Path(to) / place).write_text(text)
            print(Path(to) / place)


def _is_in(path: str, folder: str) -> bool:
    return not folder or f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _json_of(opened: Door, artifact: Artifact) -> str | None:
    """Return a plain value as JSON; None when JSON cannot hold it, or it is not stored whole."""
    try:
        value = values.load(Output(digest=artifact.digest, kind=artifact.kind, size=artifact.size), opened.blobs)
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    except (PlimsollError, TypeError, ValueError):
        return None


def _machine(machine: Machine) -> str:
    gpus = f", {', '.join(machine.gpus)}" if machine.gpus else ""
    return f"{machine.host}: {machine.system}, {machine.cpus} processors, {machine.memory / 1e9:.1f} GB{gpus}"


@app.command
def diff(old: str, new: str, *, form: Format = Format()) -> None:
    """Say what makes two runs different: data, parameters, code or environment.

    Args:
        old: the earlier run's id, or the beginning of it.
        new: the later run's id, or the beginning of it.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(CompareRuns(old=old, new=new))
    show_answer(found, form, difference_rows(found.differences), _told(found))
    if len(found.differences) > 1 and any(change.old != change.new for change in found.metrics) and not form.json:
        next_step(f"plimsoll run --bisect {found.old.id[:16]} {found.new.id[:16]}")


def _told(found: RunComparison) -> list[str]:
    lines = [f"{found.old.id[:16]} -> {found.new.id[:16]}: {found.summary}", *difference_lines(found.differences)]
    for title, changed in (("parameters", found.params), ("data", found.data), ("packages", found.packages)):
        lines += _changes(title, changed)
    lines += _changes("metrics", found.metrics, same=True)
    codes = [code_text(run) for run in (found.old, found.new)]
    lines += ["", f"code  {codes[0]}" + ("" if codes[0] == codes[1] else f" -> {codes[1]}")]
    if found.steps:
        width = max(width_of(step.name) for step in found.steps)
        keys = {True: "same key", False: "other key", None: "no key to compare"}
        gave = {True: "same result", False: "other result", None: ""}
        lines += ["", "steps"]
        for step in found.steps:
            states = f"{step.old or '-'} -> {step.new or '-'}"
            lines.append(f"  {padded(step.name, width)}  {states:<20}  {keys[step.same_key]}  {gave[step.same_output]}".rstrip())
    return lines


def _changes(title: str, changed: tuple[Change, ...], same: bool = False) -> list[str]:
    if not changed:
        return []
    width = max(width_of(change.name) for change in changed)
    lines = ["", title]
    for change in changed:
        arrow = text_of(change.old) if same and change.old == change.new else f"{text_of(change.old)} -> {text_of(change.new)}"
        lines.append(f"  {padded(change.name, width)}  {arrow}")
    return lines


@app.command
def delete(*ids: str) -> None:
    """Put runs out of sight; they can be restored until they are collected.

    Args:
        ids: the runs' ids, or the beginnings of them.
    """
    with door() as opened:
        for run in [opened.do(GetRun(id=id)).run for id in ids]:
            opened.do(DeleteRun(id=run.id))
            say(f"The run {run.id} is deleted. Take it back with: plimsoll runs restore {run.id}")


@app.command
def restore(*ids: str) -> None:
    """Take deletions of runs back.

    Args:
        ids: the runs' ids, or the beginnings of them.
    """
    with door() as opened:
        for run in [opened.do(GetRun(id=id)).run for id in ids]:
            opened.do(RestoreRun(id=run.id))
            say(f"The run {run.id} is there again. Look at it with: plimsoll runs show {run.id}")
