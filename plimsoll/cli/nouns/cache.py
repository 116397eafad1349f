"""``plimsoll cache``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.nouns.told import difference_lines, difference_rows
from plimsoll.cli.output import Format, show_answer
from plimsoll.cli.session import door
from plimsoll.records.pipelines.history import ExplainStep

app = App(name="cache")


@app.command
def why(run: str, step: str, *, against: str = "", form: Format = Format()) -> None:
    """Say why a step has another key than in an earlier run, down to the line, value, file or version that differs.

    Args:
        run: the run's id, or the beginning of it.
        step: the step's name, such as ``features`` or ``features#2``.
        against: the run to compare with; the newest earlier one that has the step unless given.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ExplainStep(run_id=run, step=step, against=against))
    lines = [found.summary, *difference_lines(found.roots)]
    lines += ["", *found.notes] if found.notes else []
    show_answer(found, form, difference_rows(found.roots), lines)
