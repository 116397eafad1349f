"""Doors: one way to ask, whether the platform is this process or a server.

``door.do(StartRun(...))`` calls the verb's function in this process, or posts the same record to ``/api/v1/StartRun``.
Results and errors are the same records and classes either way.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from plimsoll.data.project import find_project, setting
from plimsoll.errors import InvalidInput, NotFound, PlimsollError, Unauthenticated
from plimsoll.records.access import Actor, Job
from plimsoll.records.request import Request
from plimsoll.store.contracts import Blobs
from plimsoll.workspace import Workspace, open_workspace

R = TypeVar("R")

#: Hosts that are this machine. Only they are sent the token of a home on this machine.
_HERE = ("127.0.0.1", "localhost", "::1")


class Door(Protocol):
    """Asks the platform."""

    #: Where the platform is: a URL, or a folder.
    address: str
    #: Bytes by digest, through the same door.
    blobs: Blobs

    def do(self, request: Request[R], /) -> R:
        """Return the verb's result, or raise the verb's error; a job is waited for."""
        ...

    def submit(self, request: Request[Any], key: str | None = None) -> Job:
        """Leave a job for the worker and return at once."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class FolderDoor:
    """The platform in this process, on a home folder.

    Args:
        workspace: the opened home.
        actor: who asks.
    """

    def __init__(self, workspace: Workspace, actor: Actor) -> None:
        self.workspace = workspace
        self.actor = actor
        self.address = str(workspace.home)
        self.blobs: Blobs = workspace.stores.blobs

    def do(self, request: Request[R], /) -> R:
        """Do the verb in this process; a job runs here too, since nobody may be at the queue.

        Args:
            request: what to do.
        """
        return self.workspace.do(request, self.actor)

    def submit(self, request: Request[Any], key: str | None = None) -> Job:
        """Leave a job for the worker of this home.

        Args:
            request: a request whose row is a job.
            key: a waiting or working job with the same key is returned instead.
        """
        return self.workspace.submit(request, self.actor, key=key)

    def close(self) -> None:
        """Close the home."""
        self.workspace.close()


def open_door(url: str, token: str | None = None, project: Path | None = None, profile: str | None = None) -> Door:
    """Return a door to a server or to a home folder.

    Args:
        url: ``http://…`` or ``https://…``, or the path of a home folder.
        token: the actor's token; None takes ``PLIMSOLL_TOKEN``, else the owner's token of a home on this machine, which
            is sent to a server on this machine only.
        project: folder whose code may be run, for a home folder; None takes the home's parent.
        profile: name of the profile in which the home's place is looked up; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: the address is neither.
        Unauthenticated: a server wants a token and there is none for it.
    """
    token = token or os.environ.get("PLIMSOLL_TOKEN")
    if url.startswith(("http://", "https://")):
        # By name: most commands work on a folder and need no HTTP client.
        made: Door = importlib.import_module("plimsoll.sdk.http").HttpDoor(url, token or _local_token(url, profile))
        return made
    if "://" in url:
        raise InvalidInput(f"The address {url!r} is neither http(s) nor a folder.", "Use http://HOST:PORT or a folder's path.")
    workspace = open_workspace(Path(url), project)
    try:
        return FolderDoor(workspace, workspace.identify(token or workspace.token("owner")))
    except PlimsollError:
        workspace.close()
        raise


def connect(url: str | None = None, token: str | None = None, profile: str | None = None) -> Door:
    """Return a door to the platform that the settings name: ``PLIMSOLL_URL``, profile, ``[tool.plimsoll]``, else this project's home.

    Args:
        url: ``http://…``, or the path of a home folder; None takes the setting.
        token: the actor's token; None takes ``PLIMSOLL_TOKEN``, else the owner's token of a home on this machine, which
            is sent to a server on this machine only.
        profile: name of a profile of ``[tool.plimsoll]``; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        NotFound: there is neither an address nor a project here, or no such profile.
        Unauthenticated: a server wants a token and there is none for it.
    """
    project = _project()
    address, origin = setting("url", url, project, profile)
    if project is None and origin == "home (default)" and not Path(str(address)).exists():
        # A home made wherever a notebook happens to run would be found by nobody.
        raise NotFound(f"There is no project at {str(Path.cwd())!r} or above it.", "Run: plimsoll init, or set PLIMSOLL_URL.")
    return open_door(str(address), token, project, profile)


def _project() -> Path | None:
    try:
        return find_project(Path.cwd())
    except NotFound:
        return None


def _local_token(url: str, profile: str | None) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"The address {url!r} is not a URL: {error}.", "Use http://HOST:PORT.") from error
    if host not in _HERE:
        raise Unauthenticated(
            f"The server at {host!r} is not on this machine, so it is not sent the token of this machine's home.",
            "Set PLIMSOLL_TOKEN to the token that you were given for it.",
        )
    path = Path(str(setting("home", None, _project(), profile)[0])) / "secrets" / "owner"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Unauthenticated("The server wants to know who asks.", "Set PLIMSOLL_TOKEN to the token you were given.") from error
