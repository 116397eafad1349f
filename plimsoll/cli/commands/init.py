"""``plimsoll init``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from plimsoll import clock, codec
from plimsoll.cli.applied import apply_project
from plimsoll.cli.output import next_step, say
from plimsoll.cli.session import door, home_folder, project_folder
from plimsoll.data.project import PROJECT_FILE, ProjectTable, read_project
from plimsoll.errors import InvalidInput
from plimsoll.sdk.door import Door, FolderDoor
from plimsoll.workspace import is_home, open_workspace

_PROJECT = """[project]
name = {name}
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["plimsoll[sklearn]"]

[tool.plimsoll]
name = {name}
"""


def init(*, home: str | None = None) -> None:
    """Make a home for this project, and a pyproject.toml when there is none; doing it again changes nothing.

    Args:
        home: folder for database, blobs and tokens; .plimsoll beside pyproject.toml unless given.

    Raises:
        InvalidInput: the home or the file cannot be written; nothing is left of it then.
    """
    project = project_folder()
    # Read before anything is made: a table that is wrong must not leave half a project.
    table = None if project is None else read_project(project)
    folder = home_folder(home)
    known = is_home(folder)
    with _opened(home, project or Path.cwd()) as opened:
        if table is None:
            table = _begin(Path.cwd())
        apply_project(opened, table, project or Path.cwd())
        where = str(folder) if isinstance(opened, FolderDoor) else opened.address
    say(f"The home {where} {'is there already' if known else 'is made'}. Keep it out of version control: it holds tokens.")
    next_step("plimsoll up")


@contextlib.contextmanager
def _opened(home: str | None, project: Path) -> Iterator[Door]:
    if home is None:
        with door(create=True) as opened:
            yield opened
        return
    workspace = open_workspace(home_folder(home), project)
    try:
        yield FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    finally:
        workspace.close()


def _begin(folder: Path) -> ProjectTable:
    """Write a ``pyproject.toml`` that declares nothing yet, whole or not at all."""
    file = folder / PROJECT_FILE
    unfinished = folder / f".{PROJECT_FILE}.{clock.new_id()}"
    # A JSON text is a TOML text as well, whatever signs the folder's name holds.
    name = codec.to_json(folder.name or "project").decode()
    try:
        unfinished.write_text(_PROJECT.format(name=name), encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise InvalidInput(f"{file} cannot be written: {error.strerror}.", "Choose a folder that you can write to.") from error
    say(f"Wrote {file}.")
    return read_project(folder)
