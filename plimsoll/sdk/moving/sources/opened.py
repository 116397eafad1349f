"""Which kind of source an address is."""

from __future__ import annotations

import importlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.sdk.moving.sources.folder import FolderSource
from plimsoll.sdk.moving.sources.source import Notes, Source
from plimsoll.sdk.moving.sources.sqlite import SqliteSource

_KINDS = "Name a server's URL, a database file such as mlflow.db, or an mlruns folder."


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
    if address.lower().startswith(("http://", "https://")):
        # By name: importing an HTTP client takes longer than most commands.
        made: Source = importlib.import_module("plimsoll.sdk.moving.sources.server").ServerSource(address, notes)
        return made
    if address.startswith("file://"):
        address = unquote(urlsplit(address).path)
    # SQLAlchemy's form: three strokes before a relative path, four before an absolute one.
    address = address.removeprefix("sqlite:///")
    if "://" in address:
        raise InvalidInput(f"The address begins with {address.partition('://')[0]!r}, which is not read.", _KINDS)
    path = Path(address).expanduser().resolve()
    if path.is_dir():
        return FolderSource(path, notes, artifacts)
    if path.exists():
        return SqliteSource(path, notes, artifacts)
    raise NotFound(f"There is nothing at {path}.", _KINDS)
