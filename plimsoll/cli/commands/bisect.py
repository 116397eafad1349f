"""``plimsoll run --bisect``."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cli.output import Format, padded, say, show_answer, width_of
from plimsoll.cli.session import door
from plimsoll.data.project import find_project
from plimsoll.pipelines.again.bisect import Bisection, bisect

#: Characters that the column of what was taken is filled up to.
_WIDE = 60


def bisect_runs(old: str, new: str, metric: str, profile: str | None, form: Format) -> None:
    """Find which difference between two runs moved a metric, and print the table of reruns.

    Args:
        old: the first run's id, or the beginning of it.
        new: the second run's id, or the beginning of it.
        metric: the metric; empty takes the only one that differs.
        profile: name of a declared profile.
        form: how to print.
    """
    with door(profile=profile) as opened:
        found = bisect(old, new, metric, do=opened.do, blobs=opened.blobs, project=find_project(Path.cwd()), home=opened.address, say=say)
    rows = [{"taken from the second run": trial.taken, found.metric: trial.value, "failed": trial.error or None} for trial in found.trials]
    show_answer(found, form, rows, _told(found))


def _told(found: Bisection) -> list[str]:
    names = [", ".join(trial.taken) or "nothing" for trial in found.trials]
    width = min(max(len("taken over"), *map(width_of, names)), _WIDE)
    lines = [found.summary]
    for each in found.guilty:
        lines += [f"  {each.name}", *(f"    {line}" for line in each.diff)] if each.diff else []
    lines += ["", *found.notes] if found.notes else []
    lines += ["", f"  {padded('taken over', width)}  {found.metric}"]
    for name, trial in zip(names, found.trials, strict=True):
        lines.append(f"  {padded(name, width)}  {f'unresolved: {trial.error}' if trial.value is None else f'{trial.value:.6g}'}")
    lines += ["", f"{len(found.trials)} reruns: {found.computed} steps computed, {found.reused} reused."]
    return [*lines, "", "not tried", *(f"  {each}" for each in found.left_out)] if found.left_out else lines
