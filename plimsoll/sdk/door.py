"""Doors: one way to ask, whether the platform is this process or a server.

``door.do(StartRun(...))`` calls the verb's function in this process, or posts the same record to ``/api/v1/StartRun``.
Results and errors are the same records and classes either way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from plimsoll import clock, codec, verbs
from plimsoll.data.project import find_project, setting
from plimsoll.errors import Corrupt, Denied, InvalidInput, NotFound, PlimsollError, Unauthenticated, Unreachable, from_wire
from plimsoll.records.access import Actor, GetJob, Job
from plimsoll.records.request import Request, check_digest, result_type
from plimsoll.store.contracts import Blobs
from plimsoll.workspace import Workspace, open_workspace

R = TypeVar("R")

_MSGPACK = "application/msgpack"

#: Seconds to wait for an answer; a job is polled, so no single answer takes minutes.
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)

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


class HttpBlobs:
    """Blobs of a server.

    Args:
        client: an HTTP client with the server's address and token.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its digest; bytes that are there already are not sent.

        Args:
            data: any bytes.
        """
        digest = codec.digest(data)
        if not self.has(digest):
            _checked(_send(self._client, "PUT", f"/blobs/{digest}", content=data))
        return digest

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content and return its digest and size in bytes.

        Args:
            path: the file.
        """
        digest, size = codec.digest_file(path)
        if not self.has(digest):
            with path.open("rb") as file:
                _checked(_send(self._client, "PUT", f"/blobs/{digest}", content=file))
        return digest, size

    def get(self, digest: str) -> bytes:
        """Return the bytes, verified.

        Args:
            digest: 64 hex digits.
        """
        data = _checked(_send(self._client, "GET", f"/blobs/{digest}")).content
        if codec.digest(data) != digest:
            raise Corrupt(f"The server sent other bytes than {digest[:12]}.", "Run: plimsoll doctor")
        return data

    def get_file(self, digest: str, path: Path) -> None:
        """Write the verified bytes to ``path``, whole or not at all.

        Args:
            digest: 64 hex digits.
            path: where to; parent folders are made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{clock.new_id()}")
        try:
            with self._client.stream("GET", f"/blobs/{digest}") as response, unfinished.open("wb") as file:
                if response.status_code >= 400:
                    response.read()
                _checked(response)
                for part in response.iter_bytes():
                    file.write(part)
            if codec.digest_file(unfinished)[0] != digest:
                raise Corrupt(f"The server sent other bytes than {digest[:12]}.", "Run: plimsoll doctor")
            unfinished.replace(path)
        except httpx.TransportError as error:
            raise _unreachable(self._client, error) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def has(self, digest: str) -> bool:
        """Return whether the server has the blob.

        Args:
            digest: 64 hex digits.
        """
        return self._size(digest) is not None

    def size(self, digest: str) -> int:
        """Return the blob's bytes.

        Args:
            digest: 64 hex digits.
        """
        size = self._size(digest)
        if size is None:
            raise NotFound(f"There is no blob {digest[:12]}.", "It may have been collected; make it again.")
        return size

    def _size(self, digest: str) -> int | None:
        check_digest("Blob", digest)
        response = _send(self._client, "HEAD", f"/blobs/{digest}")
        if response.status_code == 404:
            return None
        # An answer to HEAD has no body, so an error is told by its status alone.
        for error in (Unauthenticated, Denied):
            if response.status_code == error.status:
                raise error(f"{self._client.base_url} does not let this actor see blobs.", "Use a token with the role 'read'.")
        return int(_checked(response).headers["content-length"])

    def delete(self, digest: str) -> None:
        """Drop bytes that the server finds damaged as well, so that they can be stored again; one that is not there is no error.

        Args:
            digest: 64 hex digits.

        Raises:
            Refused: the bytes are sound; only the server collects those.
        """
        _checked(_send(self._client, "DELETE", f"/blobs/{digest}"))


class HttpDoor:
    """The platform behind a server.

    Args:
        url: such as ``http://127.0.0.1:5151``.
        token: the actor's bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.address = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}", "accept": _MSGPACK}
        self._client = httpx.Client(base_url=self.address, headers=headers, timeout=_TIMEOUT, trust_env=False)
        self.blobs: Blobs = HttpBlobs(self._client)

    def _post(self, request: Request[Any], key: str | None) -> httpx.Response:
        headers = {"content-type": _MSGPACK} | ({"idempotency-key": key} if key else {})
        path = f"/api/v1/{type(request).__name__}"
        return _checked(_send(self._client, "POST", path, content=codec.to_msgpack(request), headers=headers))

    def do(self, request: Request[R], /) -> R:
        """Post the verb and return its result; a job is polled until it ends.

        Args:
            request: what to do.
        """
        response = self._post(request, None)
        expected = result_type(type(request))
        if response.status_code == 202:
            job = self.wait(codec.from_msgpack(response.content, Job))
            if job.error is not None:
                raise from_wire(job.error)
            done: R = codec.convert(job.result, expected, "The job's result")
            return done
        result: R = codec.from_msgpack(response.content, expected, "The server's answer")
        return result

    def submit(self, request: Request[Any], key: str | None = None) -> Job:
        """Leave a job for the server's worker.

        Args:
            request: a request whose row is a job.
            key: a waiting or working job with the same key is returned instead.
        """
        if verbs.find(type(request).__name__).kind != "job":
            raise InvalidInput(f"{type(request).__name__} is no job.", "Do it directly.")
        return codec.from_msgpack(self._post(request, key).content, Job)

    def wait(self, job: Job) -> Job:
        """Return the job once it has ended.

        Args:
            job: as :meth:`submit` gave it.
        """
        pause = 0.02
        while job.state in ("waiting", "working"):
            clock.sleep(pause)
            pause = min(0.5, pause * 1.5)
            job = self.do(GetJob(id=job.id))
        return job

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _unreachable(client: httpx.Client, error: Exception) -> Unreachable:
    return Unreachable(f"The server at {client.base_url} does not answer: {error}.", "Start it with: plimsoll up")


def _send(client: httpx.Client, method: str, path: str, **kwargs: Any) -> httpx.Response:
    try:
        return client.request(method, path, **kwargs)
    except httpx.TransportError as error:
        raise _unreachable(client, error) from error


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code < 400:
        return response
    if response.headers.get("content-type", "").startswith(_MSGPACK):
        wire = codec.from_msgpack(response.content, dict[str, Any]).get("error")
        if isinstance(wire, dict):
            raise from_wire(wire)
    raise Unreachable(f"{response.request.url} answered {response.status_code} like something that is not Plimsoll.", "Check the address.")


def open_door(url: str, token: str | None = None, project: Path | None = None) -> HttpDoor | FolderDoor:
    """Return a door to a server or to a home folder.

    Args:
        url: ``http://…`` or ``https://…``, or the path of a home folder.
        token: the actor's token; None takes ``PLIMSOLL_TOKEN``, else the owner's token of a home on this machine, which
            is sent to a server on this machine only.
        project: folder whose code may be run, for a home folder; None takes the home's parent.

    Raises:
        InvalidInput: the address is neither.
        Unauthenticated: a server wants a token and there is none for it.
    """
    token = token or os.environ.get("PLIMSOLL_TOKEN")
    if url.startswith(("http://", "https://")):
        return HttpDoor(url, token or _local_token(url))
    if "://" in url:
        raise InvalidInput(f"The address {url!r} is neither http(s) nor a folder.", "Use http://HOST:PORT or a folder's path.")
    workspace = open_workspace(Path(url), project)
    try:
        return FolderDoor(workspace, workspace.identify(token or workspace.token("owner")))
    except PlimsollError:
        workspace.close()
        raise


def connect(url: str | None = None, token: str | None = None) -> HttpDoor | FolderDoor:
    """Return a door to the platform that the settings name: flag, ``PLIMSOLL_URL``, ``[tool.plimsoll]``, else this project's home.

    Args:
        url: ``http://…``, or the path of a home folder; None takes the setting.
        token: the actor's token; None takes ``PLIMSOLL_TOKEN``, else the owner's token of a home on this machine, which
            is sent to a server on this machine only.

    Raises:
        NotFound: there is neither an address nor a project here.
        Unauthenticated: a server wants a token and there is none for it.
    """
    project = _project()
    address, origin = setting("url", url, project)
    if project is None and origin == "home (default)" and not Path(str(address)).exists():
        # A home made wherever a notebook happens to run would be found by nobody.
        raise NotFound(f"There is no project at {str(Path.cwd())!r} or above it.", "Run: plimsoll init, or set PLIMSOLL_URL.")
    return open_door(str(address), token, project)


def _project() -> Path | None:
    try:
        return find_project(Path.cwd())
    except NotFound:
        return None


def _local_token(url: str) -> str:
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise InvalidInput(f"The address {url!r} is not a URL: {error}.", "Use http://HOST:PORT.") from error
    if host not in _HERE:
        raise Unauthenticated(
            f"The server at {host!r} is not on this machine, so it is not sent the token of this machine's home.",
            "Set PLIMSOLL_TOKEN to the token that you were given for it.",
        )
    path = Path(str(setting("home", None, _project())[0])) / "secrets" / "owner"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Unauthenticated("The server wants to know who asks.", "Set PLIMSOLL_TOKEN to the token you were given.") from error
