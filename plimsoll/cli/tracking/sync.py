"""``plimsoll sync``."""

from __future__ import annotations

import contextlib
from pathlib import Path

from plimsoll.cli.output import Format, say, show_list
from plimsoll.errors import NotFound
from plimsoll.sdk.door import Door, open_door
from plimsoll.sdk.tracking.left import Left, again, all_journals, replay
from plimsoll.workspace import is_home


def sync(*, form: Format = Format()) -> int:
    """Send what runs have left in their journals, each thing once; sending again changes nothing.

    Each journal goes to the platform that its run began on; one that was refused before, because its run was deleted, say, is
    tried again. A run whose process died without saying how ends as lost. The
    exit code is 1 when something is left.

    Args:
        form: how to print.
    """
    with contextlib.ExitStack() as stack:
        doors: dict[str, Door] = {}

        def door(address: str) -> Door:
            if address not in doors:
                if not address.startswith(("http://", "https://")) and not is_home(Path(address)):
                    # Opening it would make an empty one.
                    raise NotFound(f"There is no home at {address} any more.", "Bring it back, or delete the journal.")
                doors[address] = open_door(address)
                stack.callback(doors[address].close)
            return doors[address]

        folders = all_journals()
        for folder in folders:
            again(folder)
        found = [left for folder in folders for left in replay(folder, door)]
    show_list([_row(left) for left in found], form, "No run has left anything to send.")
    if any(left.state == "busy" for left in found) and not form.json:
        say("A run that is under way sends its own journal.")
    return int(any(left.state in ("waiting", "refused") for left in found))


def _row(left: Left) -> dict[str, object]:
    return {
        "run": left.run_id,
        "state": left.state,
        "points": left.points,
        "others": left.requests,
        "end": left.end,
        "platform": left.address,
        "note": left.fact,
    }
