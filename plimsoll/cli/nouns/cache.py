"""``plimsoll cache``."""

from __future__ import annotations

import re

from cyclopts import App

from plimsoll.cli.nouns.told import difference_lines, difference_rows
from plimsoll.cli.output import Format, Id, next_step, say, show_answer, show_list, show_record, when
from plimsoll.cli.session import door
from plimsoll.errors import InvalidInput
from plimsoll.records.pipelines.history import ExplainStep
from plimsoll.records.pipelines.kept import ListEntries, PruneCache, VerifyCache

app = App(name="cache")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@app.command
def show(of: str = "", *, limit: int = 100, form: Format = Format()) -> None:
    """List what the cache holds, last used first.

    Args:
        of: a step, a pipeline or a run; everything unless given.
        limit: at most so many, up to 1,000.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListEntries(of=of, limit=limit))
    rows = [
        {
            "step": use.entry.step,
            "size": use.entry.output.size,
            "kind": use.entry.output.kind,
            "hits": use.hits,
            "computed": when(use.entry.created),
            "used": when(use.used),
            "run": Id(use.entry.run_id),
            "key": use.entry.key[:12],
        }
        for use in found.entries
    ]
    show_list(rows, form, "The cache is empty. Fill it with: plimsoll run PIPELINE")
    if rows and not (form.json or form.csv or form.md):
        more = f", of which {len(rows)} are shown" if len(rows) < found.count else ""
        print(f"{found.count} entries{more}; {size_text(found.size)} in all")


@app.command
def why(run: str, step: str = "", *, against: str = "", form: Format = Format()) -> None:
    """Say why a step has another key than in an earlier run, down to the line, value, file or version that differs.

    Args:
        run: the run's id, or the beginning of it; without it, the run that computed the step's newest result.
        step: the step's name, such as ``features`` or ``features#2``.
        against: the run to compare with; the newest earlier one that has the step unless given.
        form: how to print.
    """
    with door() as opened:
        if not step:
            newest = max(opened.do(ListEntries(of=run, limit=1000)).entries, key=lambda use: use.entry.created).entry
            if newest.run_id.startswith(run):
                id, called = newest.run_id[:16], newest.step.partition("[")[0].rpartition(".")[2]
                raise InvalidInput(
                    f"{run!r} is a run, and any of its steps could be meant.",
                    f"Name one, such as: plimsoll cache why {id} {called}, or see all of them: plimsoll runs show {id}",
                )
            # The run that has computed it may have printed another number for it.
            called = newest.step if "[" in run else newest.step.partition("[")[0]
            step, run = called if "#" in run else run, newest.run_id
        found = opened.do(ExplainStep(run_id=run, step=step, against=against))
    lines = [found.summary, *difference_lines(found.roots)]
    lines += ["", *found.notes] if found.notes else []
    show_answer(found, form, difference_rows(found.roots), lines)


@app.command
def verify(*, repair: bool = False, form: Format = Format()) -> int:
    """Read everything that the cache holds and compare it with its digests; exit 3 when something is damaged and stays.

    Args:
        repair: drop what is damaged, so that it is computed again.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(VerifyCache(repair=repair))
    lines = {
        "entries": found.entries,
        "read": size_text(found.size),
        "damaged": [f"{each.step} of run {each.run_id[:16]}: {each.wrong}" for each in found.damaged] or "none",
    }
    show_record(found, form, lines)
    if found.damaged and not repair:
        next_step("plimsoll cache verify --repair")
    return 3 if found.damaged and not repair else 0


@app.command
def prune(*, older_than: str = "", keep_last: int = 0, max_size: str = "", dry_run: bool = False, form: Format = Format()) -> None:
    """Drop what the cache holds and nobody needs, and the bytes that only it named.

    Data that was registered, models, artifacts of their own names, and what runs that are under way have computed stay.

    Args:
        older_than: drop what was not used for this time, such as ``30d`` or ``12h``.
        keep_last: keep the so many last used entries of each step, however old.
        max_size: drop what was not used for longest until all of it has at most this size, such as ``10GB``.
        dry_run: only tell what would go.
        form: how to print.
    """
    request = PruneCache(
        older_than=_measure(older_than, _SECONDS, "--older-than", "30d") if older_than else None,
        keep_last=keep_last,
        max_size=int(_measure(max_size, _BYTES, "--max-size", "10GB")) if max_size else None,
        dry_run=dry_run,
    )
    with door() as opened:
        found = opened.do(request)
    freed = "would free" if dry_run else "freed"
    show_record(found, form, {"dropped": found.dropped, "kept": found.kept, freed: size_text(found.freed)})
    if found.dropped and not found.freed and not dry_run:
        say("Bytes that were stored within the last hour, or that something else names, stay.")


def size_text(size: int) -> str:
    """Return bytes for people.

    Args:
        size: bytes.
    """
    for name, unit in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return "1 byte" if size == 1 else f"{size} bytes"


def _measure(text: str, units: dict[str, int], flag: str, example: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in units:
        raise InvalidInput(f"{flag} {text!r} makes no sense.", f"Write it as {flag} {example}")
    return float(found[1]) * units[found[2]]
