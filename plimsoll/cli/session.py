"""What a command stands on: the project, its settings, and a door to the platform."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from plimsoll.data.project import find_project, setting
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.sdk.door import Door, open_door
from plimsoll.workspace import is_home


def project_folder() -> Path | None:
    """Return the folder of the nearest project, or None outside of one."""
    try:
        return find_project(Path.cwd())
    except NotFound:
        return None


def home_folder(flag: str | None = None) -> Path:
    """Return the home that the settings name.

    Args:
        flag: value of ``--home``, or None.
    """
    return Path(str(setting("home", flag, project_folder())[0]))


def local_home(flag: str | None = None) -> Path:
    """Return the home that the settings name, which is there and on this machine.

    Args:
        flag: value of ``--home``, or None.

    Raises:
        InvalidInput: the settings name a server.
        NotFound: there is no project, or no home yet.
    """
    project = project_folder()
    url = str(setting("url", None, project)[0])
    if flag is None and url.startswith("http"):
        raise InvalidInput(f"The platform is at {url}; this is done where its home is.", "Do it there, or name a home with --home.")
    home = home_folder(flag)
    if not is_home(home):
        if project is None and flag is None:
            find_project(Path.cwd())
        raise NotFound(f"There is no home at {home} yet.", "Make one with: plimsoll init")
    return home


@contextlib.contextmanager
def door(create: bool = False, profile: str | None = None) -> Iterator[Door]:
    """Open the platform that the settings name, and close it again.

    Args:
        create: make the home when it is not there; only commands that begin something do.
        profile: name of a profile; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        NotFound: there is no project, no home yet, or no such profile.
    """
    project = project_folder()
    url = str(setting("url", None, project, profile)[0])
    if not url.startswith("http") and not create and not is_home(Path(url)):
        if project is None:
            find_project(Path.cwd())
        raise NotFound(f"There is no home at {url} yet.", "Make one with: plimsoll init")
    opened = open_door(url, project=project, profile=profile)
    try:
        yield opened
    finally:
        opened.close()
