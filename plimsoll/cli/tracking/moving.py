"""``plimsoll import`` and ``plimsoll export``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cyclopts import App
from rich.console import Console

from plimsoll.cli.output import Format, next_step, say, show_answer, show_list, show_record
from plimsoll.cli.session import door
from plimsoll.sdk.leaving.exporting import export
from plimsoll.sdk.moving.copying import move_in
from plimsoll.sdk.moving.ledger import KINDS, Ledger
from plimsoll.sdk.moving.sources.opened import open_source

app = App(name="import")

#: Lines of what was left out that are printed; ``--json`` has all of them.
_SHOWN = 20


@app.command
def mlflow(source: str, *, artifacts: Path | None = None, recheck: bool = False, form: Format = Format()) -> int:
    """Copy experiments, runs with whole histories, files, models, versions and aliases from MLflow.

    The source is only read. What is here already is compared and not copied again, so a copy that was cut off goes on, and a
    second one brings what is new. Everything that is written is read back and compared. The exit code is 3 when something was
    left out or is not the same.

    Args:
        source: a server's URL, a database file such as mlflow.db or sqlite:///mlflow.db, or an mlruns folder.
        artifacts: folder in which the files of runs are looked for, when they are not beside the source.
        recheck: read histories and files again also of runs that are here and look the same.
        form: how to print.
    """
    ledger = Ledger()
    with door() as here, contextlib.closing(open_source(source, ledger.notes, artifacts)) as opened, _progress() as tell:
        move_in(here, opened, ledger, recheck, tell)
    _show(ledger, form)
    if ledger.whole and not form.json:
        next_step("plimsoll runs list")
    return 0 if ledger.whole else 3


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status("") as status:
        yield lambda line: status.update(line.replace("[", "\\["))


def _show(ledger: Ledger, form: Format) -> None:
    rows = [
        {"what": KINDS[kind], "copied": n.copied, "here before": n.here, "left out": n.left, "different": n.different}
        for kind, n in ledger.counts.items()
    ]
    left = [{"kind": each.kind, "name": each.name, "reason": each.reason} for each in ledger.notes.left]
    if form.json:
        show_answer({"counts": rows, "left": left, "different": ledger.differences, "whole": ledger.whole}, form, rows, [""])
        return
    show_list(rows, form, "")
    for line in ledger.differences[:_SHOWN]:
        say(f"different: {line}")
    for each in left[:_SHOWN]:
        say(f"left out: {each['kind']} {each['name']}: {each['reason']}")
    hidden = max(0, len(ledger.differences) - _SHOWN) + max(0, len(left) - _SHOWN)
    if hidden:
        say(f"{hidden} more; print all of them with: --json")
    if ledger.whole:
        say("Everything is here, and was compared with the source.")


def export_(folder: Path, *, experiment: str | None = None, form: Format = Format()) -> int:
    """Write experiments, runs with whole histories, files and models to a new folder, as Parquet and blobs.

    The folder appears when it is whole. The exit code is 3 when bytes that are named are not stored any more; the manifest names
    them.

    Args:
        folder: the new folder.
        experiment: name of the only experiment whose runs are written; models are written all the same.
        form: how to print.
    """
    with door() as here, _progress() as tell:
        found = export(here, folder.absolute(), experiment, tell)
    lines = {"folder": str(folder), "rows": found.rows, "blobs": found.blobs, "bytes": found.bytes, "missing": len(found.missing)}
    show_record(found, form, lines)
    return 3 if found.missing else 0
