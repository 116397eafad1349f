"""``plimsoll reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plimsoll.cli.output import Format, next_step, padded, say, show_answer, text_of, width_of
from plimsoll.cli.session import door
from plimsoll.data.project import find_project
from plimsoll.pipelines.again.reproduce import Reproduction
from plimsoll.pipelines.again.reproduce import reproduce as make_anew


def reproduce(
    run: str,
    *,
    environment: bool = True,
    cached: Annotated[bool, Parameter(negative=())] = False,
    form: Format = Format(),
) -> int:
    """Make a run anew from its commit, its packages, its parameters and its files, and compare; exit 3 when it gives something else.

    Args:
        run: the run's id, or the beginning of it.
        environment: install the run's packages when others are here; without, use these and name what differs.
        cached: let the cache give what it holds, instead of computing every step.
        form: how to print.
    """
    with door() as opened:
        found = make_anew(
            run,
            do=opened.do,
            blobs=opened.blobs,
            project=find_project(Path.cwd()),
            home=opened.address if cached else "",
            environment=environment,
            say=say,
        )
    rows = [{"step": step.name, "then": step.old, "now": step.new, "same": step.same} for step in found.steps]
    show_answer(found, form, rows, _told(found))
    if not found.reproduced:
        next_step(f"plimsoll runs show {found.run_id[:16]}")
    return 0 if found.reproduced else 3


def _told(found: Reproduction) -> list[str]:
    lines = [found.summary, ""]
    width = max((width_of(step.name) for step in found.steps), default=0)
    for step in found.steps:
        digests = f"{(step.old or '-')[:12]} -> {(step.new or '-')[:12]}"
        lines.append(f"  {padded(step.name, width)}  {'same' if step.same else f'other  {digests}'}")
    for title, changes in (("metrics", found.metrics), ("packages", found.packages)):
        if changes:
            lines += ["", title, *(f"  {change.name}  {text_of(change.old)} -> {text_of(change.new)}" for change in changes)]
    if found.surroundings:
        lines += ["", "no longer what it read", *(f"  {each}" for each in found.surroundings)]
    return lines
