"""``plimsoll backup`` and ``plimsoll restore``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plimsoll.cli.nouns.cache import size_text
from plimsoll.cli.output import Format, next_step, say, show_record, when
from plimsoll.cli.session import home_folder, local_home, project_folder
from plimsoll.data.project import PROJECT_FILE
from plimsoll.store.backup.layout import Backup
from plimsoll.store.backup.restoring import SECRETS
from plimsoll.store.backup.restoring import restore as restored
from plimsoll.store.backup.taking import take
from plimsoll.store.blobs import LocalBlobs
from plimsoll.workspace import open_workspace


def backup(target: str, *, copy: Annotated[bool, Parameter(negative=())] = False, home: str | None = None, form: Format = Format()) -> None:
    """Copy the platform, as it is now and while it goes on, into a folder; what is there from before is not copied again.

    A blob on the same disk is linked, which takes no room. The tokens of the home are in the backup, readable by you alone.

    Args:
        target: folder of the backup; made when it is not there. It keeps the newest backup.
        copy: copy every blob, also on the same disk.
        home: the home to copy.
        form: how to print.
    """
    place, project = local_home(home), project_folder()
    workspace = open_workspace(place, project)
    try:
        # A name with a dot is a token that somebody is writing.
        files = {f"{SECRETS}/{path.name}": path for path in (workspace.home / "secrets").iterdir() if path.is_file() and not path.suffix}
        if project is not None:
            files[f"project/{PROJECT_FILE}"] = project / PROJECT_FILE
        blobs = LocalBlobs(workspace.home / "blobs")
        found = take(workspace.stores.database, blobs, files, Path(target), _told, link=not copy)
    finally:
        workspace.close()
    show_record(found, form, _lines(found))
    if not form.json:
        next_step(f"plimsoll restore {target} --home NEW")


def restore(source: str, *, home: str | None = None, form: Format = Format()) -> None:
    """Make a home of a backup, verified byte by byte: all of it, or nothing.

    The backup of a PostgreSQL database goes into the empty one that ``PLIMSOLL_DATABASE`` names.

    Args:
        source: folder of the backup.
        home: where to; nothing is there yet.
        form: how to print.
    """
    place = home_folder(home)
    found = restored(Path(source), place, os.environ.get("PLIMSOLL_DATABASE") or None, _told)
    show_record(found, form, {"home": str(place), **_lines(found)})
    if not form.json:
        next_step(f"plimsoll doctor --home {place}")


def _lines(found: Backup) -> dict[str, object]:
    return {
        "made": when(found.created),
        "by": f"Plimsoll {found.made_by}",
        "database": f"{found.dialect}, {size_text(found.files[0].size)}",
        "blobs": f"{found.blobs}, {size_text(found.size)}",
    }


def _told(line: str) -> None:
    # As everywhere: no progress off a terminal.
    if sys.stderr.isatty():
        say(line)
