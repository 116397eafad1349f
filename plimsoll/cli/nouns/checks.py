"""``plimsoll checks``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, next_step, show_list
from plimsoll.cli.session import door
from plimsoll.records.model import CheckReport, CheckVersion, GetReport

app = App(name="checks")


def _print(report: CheckReport, form: Format) -> int:
    if form.json:
        show_list([{"report": report}], form, "")
    else:
        rows = [{"check": verdict.check, "outcome": verdict.outcome, "reason": verdict.reason} for verdict in report.verdicts]
        show_list(rows, form, "No check ran.")
    name = f"{report.model}/{report.number}"
    if not form.json:
        next_step(f"plimsoll releases create {name}" if report.outcome != "fail" else f"plimsoll models show {name}")
    return 3 if report.outcome == "fail" else 0


@app.command
def run(ref: str, *, environment: str = "production", form: Format = Format()) -> int:
    """Examine a version; exit 3 when a check fails.

    Args:
        ref: ``name/3``, ``name@production``, ``name`` for the newest, or a digest.
        environment: its live version is the one to beat.
        form: how to print.
    """
    with door() as opened:
        return _print(opened.do(CheckVersion(ref=ref, environment=environment)), form)


@app.command
def show(ref: str, *, form: Format = Format()) -> int:
    """Print the newest examination of a version; exit 3 when a check failed.

    Args:
        ref: the version.
        form: how to print.
    """
    with door() as opened:
        return _print(opened.do(GetReport(ref=ref)), form)
