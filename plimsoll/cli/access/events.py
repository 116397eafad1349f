"""``plimsoll events``."""

from __future__ import annotations

from cyclopts import App

from plimsoll.cli.output import Format, show_list, when
from plimsoll.cli.session import door
from plimsoll.errors import Corrupt
from plimsoll.records.access import ListEvents, VerifyEvents

app = App(name="events")


@app.command(name="list")
def list_(*, subject: str | None = None, limit: int = 20, form: Format = Format()) -> None:
    """List the audit log, newest first.

    Args:
        subject: only what was done to this, such as ``release:0199…``.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListEvents(subject=subject, limit=limit))
    rows = [
        {"sequence": event.sequence, "at": when(event.at), "actor": event.actor, "verb": event.verb, "subject": event.subject}
        for event in found
    ]
    show_list(rows, form, "Nothing happened yet.")


@app.command
def verify() -> None:
    """Recompute the audit chain from its first line.

    Raises:
        Corrupt: a line was changed or is missing.
    """
    with door() as opened:
        found = opened.do(VerifyEvents())
    if found.broken_at is not None:
        raise Corrupt(f"The audit log does not fit from line {found.broken_at} on.", "Compare it with a backup.")
    print(f"{found.events} lines, all fit.")
