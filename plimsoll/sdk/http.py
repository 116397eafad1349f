"""The door to a server. Apart from :mod:`plimsoll.sdk.door`, because importing httpx takes longer than most commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx
from blake3 import blake3

from plimsoll import clock, codec, verbs
from plimsoll.errors import Corrupt, InvalidInput, NotFound, Refused, Unreachable, from_wire
from plimsoll.records.access import GetJob, Job
from plimsoll.records.request import Request, check_digest, result_type
from plimsoll.store.contracts import Blobs

R = TypeVar("R")

_MSGPACK = "application/msgpack"

#: Seconds to wait for an answer; a job is polled, so no single answer takes minutes.
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class HttpBlobs:
    """Blobs of a server.

    Args:
        client: an HTTP client with the server's address and token.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        #: Monotonic seconds at which a part of a file went out last.
        self.moved = 0.0

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its digest; bytes that are there already are not sent.

        Args:
            data: any bytes.
        """
        digest = codec.digest(data)
        if not self.has(digest):
            _checked(_send(self._client, "PUT", f"/blobs/{digest}", content=data))
        return digest

    def put_all(self, parts: Iterable[bytes]) -> tuple[str, ...]:
        """Store several small blobs and return their digests.

        Args:
            parts: any bytes, all of them in memory.
        """
        return tuple(self.put(data) for data in parts)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content and return its digest and size in bytes.

        Args:
            path: the file.
        """
        digest, size = codec.digest_file(path)
        if not self.has(digest):
            with path.open("rb") as file:
                _checked(_send(self._client, "PUT", f"/blobs/{digest}", content=_Parts(file, self)))
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
        """Write the verified bytes to ``path``, whole or not at all. What was cut on its way goes on where it was cut.

        Args:
            digest: 64 hex digits.
            path: where to; parent folders are made.

        Raises:
            NotFound: there is no such blob.
            Corrupt: its bytes are not those of its name.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{clock.new_id()}")
        seen, size, tried = blake3(), 0, -1
        try:
            with unfinished.open("wb") as file:
                while tried < size:
                    tried = size
                    try:
                        for part in self._sent(digest, size):
                            file.write(part)
                            seen.update(part)
                            size += len(part)
                        break
                    except httpx.TransportError as error:
                        if size == tried:
                            raise _unreachable(self._client, error) from error
            if seen.hexdigest() != digest:
                raise Corrupt(f"The server sent other bytes than {digest[:12]}.", "Run: plimsoll doctor")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _sent(self, digest: str, start: int) -> Iterator[bytes]:
        headers = {"range": f"bytes={start}-"} if start else {}
        with self._client.stream("GET", f"/blobs/{digest}", headers=headers) as response:
            if response.status_code >= 400:
                response.read()
            yield from _checked(response).iter_bytes(1 << 20)

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
        if response.status_code >= 300:
            # An answer to HEAD has no body; the reason is in that to the same question in full.
            try:
                next(self._sent(digest, 0), b"")
            except httpx.TransportError as error:
                raise _unreachable(self._client, error) from error
            raise _stranger(response)
        return int(response.headers["content-length"])

    def delete(self, digest: str) -> None:
        """Drop bytes that the server finds damaged as well, so that they can be stored again; one that is not there is no error.

        Args:
            digest: 64 hex digits.

        Raises:
            Refused: the bytes are sound; only the server collects those.
        """
        _checked(_send(self._client, "DELETE", f"/blobs/{digest}"))

    def collect(self, digest: str, age: float) -> int:
        """Refuse: only the server's own worker collects bytes.

        Args:
            digest: 64 hex digits.
            age: seconds.

        Raises:
            Refused: always.
        """
        raise Refused(f"The bytes {digest[:12]} lie on a server (asked for age {age:g} s).", "Ask it with: plimsoll cache prune")


class _Parts:
    """A file on its way out; its length is told from its handle."""

    def __init__(self, file: BinaryIO, blobs: HttpBlobs) -> None:
        self._file, self._blobs = file, blobs
        self.fileno = file.fileno

    def __iter__(self) -> Iterator[bytes]:
        while part := self._file.read(1 << 18):
            yield part
            self._blobs.moved = clock.monotonic()


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
        self._briefs: dict[type[Request[Any]], codec.Brief] = {}

    def _post(self, request: Request[Any], key: str | None) -> httpx.Response:
        headers = {"content-type": _MSGPACK} | ({"idempotency-key": key} if key else {})
        kind = type(request)
        if (brief := self._briefs.get(kind)) is None:
            brief = self._briefs[kind] = codec.Brief(kind)
        response = _checked(_send(self._client, "POST", f"/api/v1/{kind.__name__}", content=brief.pack(request), headers=headers))
        if not response.headers.get("content-type", "").startswith(_MSGPACK):
            raise _stranger(response)
        return response

    def do(self, request: Request[R], /) -> R:
        """Post the verb and return its result; a job is polled until it ends.

        Args:
            request: what to do.
        """
        response = self._post(request, None)
        expected = result_type(type(request))
        if response.status_code == 202:
            job = self.wait(_understood(response, Job))
            if job.error is not None:
                raise from_wire(job.error)
            done: R = codec.convert(job.result, expected, "The job's result")
            return done
        result: R = _understood(response, expected)
        return result

    def submit(self, request: Request[Any], key: str | None = None) -> Job:
        """Leave a job for the server's worker.

        Args:
            request: a request whose row is a job.
            key: a waiting or working job with the same key is returned instead.
        """
        if verbs.find(type(request).__name__).kind != "job":
            raise InvalidInput(f"{type(request).__name__} is no job.", "Do it directly.")
        left: Job = _understood(self._post(request, key), Job)
        return left

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
    return Unreachable(f"The server at {client.base_url} does not answer: {str(error).rstrip('.')}.", "Start it with: plimsoll up")


def _send(client: httpx.Client, method: str, path: str, **kwargs: Any) -> httpx.Response:
    try:
        return client.request(method, path, **kwargs)
    except httpx.TransportError as error:
        raise _unreachable(client, error) from error


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code < 300:
        return response
    if response.headers.get("content-type", "").startswith(_MSGPACK):
        wire = _understood(response, dict[str, Any]).get("error")
        if isinstance(wire, dict):
            raise from_wire(wire)
    raise _stranger(response)


def _stranger(response: httpx.Response) -> Unreachable:
    return Unreachable(f"{response.request.url} answered {response.status_code} like something that is not Plimsoll.", "Check the address.")


def _understood(response: httpx.Response, type: Any) -> Any:
    """Return what an answer holds. One that makes no sense is no fault of the request, which may be sent again."""
    try:
        return codec.from_msgpack(response.content, type, "The server's answer")
    except InvalidInput as error:
        raise Unreachable(f"{response.request.url}: {error.fact}", "Use releases of Plimsoll here and there that fit together.") from error
