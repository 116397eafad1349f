"""How a plane gets a package: every byte is what its name says, and no path leads out of the package's folder."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll import codec
from plimsoll.errors import Corrupt, Unauthenticated
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.plane import GetDesiredState
from plimsoll.server.plane import ServerLink
from plimsoll.serving.plane import PackageCache
from tests.unit.conftest import Running


@contextlib.contextmanager
def linked(url: str, token: str) -> Iterator[ServerLink]:
    """A plane's way to a server."""
    link = ServerLink(url, token)
    try:
        yield link
    finally:
        link._client.close()


@contextlib.contextmanager
def sending(answer: Callable[[str], bytes]) -> Iterator[str]:
    """The address of a server that sends for each blob whatever it likes."""

    class Sending(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = answer(self.path.removeprefix("/blobs/"))
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sending)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tree(files: dict[str, bytes]) -> bytes:
    """Return the manifest of files by path."""
    entries = tuple(FileEntry(path=path, digest=codec.digest(data), size=len(data)) for path, data in sorted(files.items()))
    return codec.canonical(Manifest(kind="model", files=entries, meta={}))


def test_a_fetched_package_has_every_file_byte_for_byte(running: Running, tmp_path: Path) -> None:
    files = {"package.json": b"{}", "data/training.parquet": bytes(range(256)) * 8192}
    blobs = running.yard.workspace.stores.blobs
    digest = blobs.put(tree(files))
    for data in files.values():
        blobs.put(data)
    with linked(running.address.url, running.yard.workspace.token("plane")) as link:
        found = PackageCache(tmp_path, link.fetch).locate(digest)
        assert link.do(GetDesiredState(environment="production")).models == ()
    assert {path.relative_to(found).as_posix(): path.read_bytes() for path in found.rglob("*") if path.is_file()} == files


def test_a_plane_whose_token_is_not_known_gets_nothing(running: Running, tmp_path: Path) -> None:
    digest = running.yard.workspace.stores.blobs.put(tree({}))
    with linked(running.address.url, "wrong") as link, pytest.raises(Unauthenticated):
        link.fetch(digest, tmp_path / "package")


@pytest.mark.parametrize("way", ["../outside", "code/../../outside", "{}/outside"])
def test_no_path_of_a_package_leads_out_of_its_folder(running: Running, tmp_path: Path, way: str) -> None:
    blobs = running.yard.workspace.stores.blobs
    blobs.put(b"mine")
    digest = blobs.put(tree({way.format(tmp_path): b"mine"}))
    with linked(running.address.url, running.yard.workspace.token("plane")) as link, pytest.raises(Corrupt, match="has the path"):
        PackageCache(tmp_path / "packages", link.fetch).locate(digest)
    assert [path.name for path in tmp_path.rglob("*")] == ["packages"]


@pytest.mark.parametrize("lie", ["manifest", "file"])
def test_other_bytes_than_were_asked_for_are_no_package(tmp_path: Path, lie: str) -> None:
    true, false = {"package.json": b"true"}, {"package.json": b"liar"}
    digest = codec.digest(tree(true))
    sent = {digest: tree(false if lie == "manifest" else true)}
    with sending(lambda asked: sent.get(asked, b"liar")) as url, linked(url, "any") as link:
        cache = PackageCache(tmp_path, link.fetch)
        with pytest.raises(Corrupt, match="sent other bytes"):
            cache.locate(digest)
        assert list(tmp_path.iterdir()) == []
        sent |= {digest: tree(true), codec.digest(b"true"): b"true"}
        assert (cache.locate(digest) / "package.json").read_bytes() == b"true"
