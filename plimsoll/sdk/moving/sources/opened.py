"""Which kind of source an address is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.sdk.moving.sources.folder import FolderSource
from plimsoll.sdk.moving.sources.source import Notes, Source


def open_source(address: str, notes: Notes, artifacts: Path | None = None) -> Source:
    """Return the source that an address names.

    Args:
        address: ``http(s)://…`` of a server, a database file or its ``sqlite:///…``, or an ``mlruns`` folder.
        notes: gets what the source cannot tell.
        artifacts: folder in which the files of runs are looked for as well; None takes what lies beside the source.

    Raises:
        InvalidInput: it is none of these.
        NotFound: there is nothing.
    """
    if address.startswith("file://"):
        address = urlsplit(address).path
    if "://" in address:
        raise InvalidInput(f"The address begins with {address.partition('://')[0]!r}, which is not read.", "Name an mlruns folder.")
    path = Path(address).expanduser().resolve()
    if path.is_dir():
        return FolderSource(path, notes, artifacts)
    if path.exists():
        raise InvalidInput(f"{path} is a file.", "Name the mlruns folder.")
    raise NotFound(f"There is nothing at {path}.", "Name an mlruns folder.")
