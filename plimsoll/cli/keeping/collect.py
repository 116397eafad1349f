"""``plimsoll collect``."""

from __future__ import annotations

from plimsoll import clock
from plimsoll.cli.nouns.cache import size_text
from plimsoll.cli.output import Format, next_step, say, show_record
from plimsoll.cli.session import door
from plimsoll.errors import InvalidInput
from plimsoll.records.tracking.collect import Collect


def collect(*, older_than: str = "", dry_run: bool = False, form: Format = Format()) -> None:
    """Remove for good what was deleted long ago, and free the bytes that nothing names any more. A server does so once a day.

    A version's run stays: it is evidence. Bytes that were stored or asked for within a day stay too.

    Args:
        older_than: remove what was deleted this long ago, such as ``7d``; the setting ``keep_deleted`` unless given.
        dry_run: only tell what would go.
        form: how to print.
    """
    try:
        age = clock.seconds_of(older_than) if older_than else None
    except ValueError:
        raise InvalidInput(f"--older-than {older_than!r} makes no sense.", "Write it as --older-than 30d") from None
    with door() as opened:
        found = opened.do(Collect(older_than=age, dry_run=dry_run))
    goes = [f"{each.kind} {each.name} ({each.id})" for each in found.binned if not each.why]
    stays = [f"{each.kind} {each.name} ({each.id}): {each.why}" for each in found.binned if each.why]
    lines = {
        "experiments": found.experiments,
        "runs": found.runs,
        "logged models": found.models,
        "blobs": found.blobs,
        "would free" if dry_run else "freed": size_text(found.freed),
        **({"would go" if dry_run else "gone": goes} if goes else {}),
        **({"stays": stays} if stays else {}),
    }
    show_record(found, form, lines)
    if found.runs and not found.blobs and not form.json:
        say("Bytes that were stored or asked for within a day stay until then.")
    if dry_run and (goes or found.blobs) and not form.json:
        next_step("plimsoll collect" + (f" --older-than {older_than}" if older_than else ""))
