"""Whether what runs have left to send is readable. Journals are only looked at: whoever opens one repairs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plimsoll import clock
from plimsoll.cli.keeping.finding import Finding, shortened
from plimsoll.errors import PlimsollError
from plimsoll.sdk.journal import frames
from plimsoll.sdk.tracking.left import all_journals

#: Microseconds for which the last record of a journal may be half written: its run is under way.
_YOUNG = 60_000_000


def journal_findings(home: Path) -> Iterator[Finding]:
    """Yield what is to be said of journals.

    Args:
        home: the home that is looked at; its journals are, and those that this project's runs write elsewhere.
    """
    folders = dict.fromkeys([home / "journal", *all_journals()])
    waiting = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.journal"))]
    wrong = [finding for path in waiting if (finding := _damage(path)) is not None]
    for folder in folders:
        for end, what in ((".refused", "was refused by its platform for good"), (".damaged", "holds the damaged end of a journal")):
            for path in sorted(folder.glob(f"*{end}")) if folder.is_dir() else ():
                wrong.append(Finding(f"journal {path.name}", False, f"{path} {what}", "Delete it when nobody misses what it holds."))
    yield from shortened(wrong, "journals")
    if waiting:
        yield Finding("journals", True, f"{len(waiting)} of runs that are under way or wait to be sent", "plimsoll sync")
    else:
        yield Finding("journals", True, "nothing waits to be sent")


def _damage(path: Path) -> Finding | None:
    try:
        changed, data = path.stat().st_mtime_ns // 1000, path.read_bytes()
        ends = [end for _, end in frames(data)]
    except FileNotFoundError:
        return None  # sent this moment
    except OSError as error:
        return Finding(f"journal {path.name}", False, f"{path} cannot be read: {error.strerror}", "Give yourself access to it.")
    except PlimsollError as error:
        return Finding(f"journal {path.name}", False, f"{path}: {error.fact}", error.remedy)
    end = ends[-1] if ends else 0
    if end == len(data) or clock.now() - changed < _YOUNG:
        return None
    found = f"record {len(ends) + 1} of {path}, at byte {end} of {len(data)}, is damaged or was cut off; those before it count"
    return Finding(f"journal {path.name}", False, found, "plimsoll sync, which sends those and puts the rest beside it")
