"""``plimsoll init``."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cli.output import next_step, say
from plimsoll.cli.session import apply_project, door, home_folder, project_folder
from plimsoll.data.project import read_project
from plimsoll.sdk.door import FolderDoor

_PROJECT = """[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["plimsoll[sklearn]"]

[tool.plimsoll]
name = "{name}"
"""


def init(*, home: str | None = None) -> None:
    """Make a home for this project, and a pyproject.toml when there is none; doing it again changes nothing.

    Args:
        home: folder for database, blobs and tokens; .plimsoll beside pyproject.toml unless given.
    """
    project = project_folder()
    if project is None:
        file = Path.cwd() / "pyproject.toml"
        file.write_text(_PROJECT.format(name=Path.cwd().name or "project"))
        say(f"Wrote {file}.")
        project = Path.cwd()
    folder = home_folder(home)
    known = (folder / "secrets").is_dir()
    with door(create=True) as opened:
        apply_project(opened, read_project(project))
        where = opened.address if not isinstance(opened, FolderDoor) else opened.workspace.home
    say(f"The home {where} {'is there already' if known else 'is made'}. Keep it out of version control: it holds tokens.")
    next_step("plimsoll up")
