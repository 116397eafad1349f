"""Bytes of any length through both doors: in parts, cut, damaged, on a full disk."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter

from plimsoll import clock, codec
from plimsoll.errors import Corrupt
from plimsoll.records.access import AddActor
from plimsoll.server.streams.sent import Sender
from plimsoll.store.contracts import StreamedBlobs
from plimsoll.store.disk.incoming import LocalIncoming
from tests.unit.conftest import Running

#: Of several blocks.
LONG = bytes(range(256)) * 4096 * 3 + b"tail"


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    headers = {"authorization": f"Bearer {running.yard.workspace.token('owner')}"}
    with httpx.Client(base_url=running.address.url, headers=headers, trust_env=False, timeout=60) as opened:
        yield opened


@pytest.fixture
def root(client: httpx.Client) -> str:
    """Where files of a new run are addressed."""
    made = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()
    return f"/api/2.0/mlflow-artifacts/artifacts/0/{made['run']['info']['run_id']}/artifacts"


def unfinished(running: Running) -> list[Path]:
    home = running.yard.workspace.home
    return [*(home / "blobs" / "tmp").iterdir(), *(home / "uploads").glob("*")]


def damage(running: Running, digest: str, data: bytes) -> None:
    path = running.yard.workspace.home / "blobs" / digest[:2] / digest
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("asked", "status", "expected", "told"),
    [
        ("bytes=0-9", 206, LONG[:10], f"bytes 0-9/{len(LONG)}"),
        ("bytes=2000000-3000000", 206, LONG[2_000_000:3_000_001], f"bytes 2000000-3000000/{len(LONG)}"),
        ("bytes=3145728-", 206, b"tail", f"bytes 3145728-3145731/{len(LONG)}"),
        ("bytes=-4", 206, b"tail", f"bytes 3145728-3145731/{len(LONG)}"),
        (f"bytes=0-{10**17}", 206, LONG, f"bytes 0-{len(LONG) - 1}/{len(LONG)}"),
        (f"bytes=-{10**17}", 206, LONG, f"bytes 0-{len(LONG) - 1}/{len(LONG)}"),
        (f"bytes={len(LONG)}-", 416, b"", f"bytes */{len(LONG)}"),
        ("bytes=-0", 416, b"", f"bytes */{len(LONG)}"),
        *((text, 200, LONG, None) for text in ("bytes=5-2", "bytes=0-1,5-6", "lines=0-1", "bytes=-", "bytes=a-b", "")),
    ],
)
def test_a_part_is_sent_as_asked_and_what_is_no_range_gets_the_whole(
    running: Running, client: httpx.Client, root: str, asked: str, status: int, expected: bytes, told: str | None
) -> None:
    assert client.put(f"{root}/a", content=LONG).status_code == 200
    for url in (f"{root}/a", f"/blobs/{codec.digest(LONG)}"):
        answer = client.get(url, headers={"range": asked})
        assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (status, expected, told)
        assert answer.headers["accept-ranges"] == "bytes"
        old = client.get(url, headers={"range": "bytes=0-1", "if-range": '"other"'})
        assert (old.status_code, len(old.content)) == (200, len(LONG))


def test_damaged_bytes_never_come_whole(running: Running, client: httpx.Client, root: str) -> None:
    data = LONG + clock.new_id().encode()
    assert client.put(f"{root}/a", content=data).status_code == 200
    part = {"range": "bytes=0-9"}
    assert client.get(f"{root}/a", headers=part).status_code == 206
    damage(running, codec.digest(data), b"x" + data[1:])
    for url in (f"{root}/a", f"/blobs/{codec.digest(data)}"):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(url)
        assert client.get(url, headers=part).status_code == 500


def test_our_own_client_tells_damage_from_a_server_that_is_gone(running: Running, tmp_path: Path) -> None:
    data = LONG + clock.new_id().encode()
    (tmp_path / "file").write_bytes(data)
    blobs = running.http().blobs
    digest, _ = blobs.put_file(tmp_path / "file")
    blobs.get_file(digest, tmp_path / "sound")
    assert (tmp_path / "sound").read_bytes() == data
    damage(running, digest, data[:-1] + b"?")
    with pytest.raises(Corrupt):
        blobs.get_file(digest, tmp_path / "damaged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "sound"]


def test_parts_of_one_long_file_take_one_thread_while_it_is_hashed(tmp_path: Path) -> None:
    long, parts, go, main = tmp_path / "long", 12, threading.Event(), threading.get_ident()
    long.write_bytes(LONG)
    opened: list[str] = []

    class Held(io.FileIO):
        def fileno(self) -> int:
            if threading.get_ident() != main:
                go.wait(60)
            return super().fileno()

    class One:
        def open(self, digest: str) -> BinaryIO:
            opened.append(digest)
            return cast(BinaryIO, Held(long))

    async def hashed() -> tuple[list[int], int]:
        sender, limiter = Sender(cast(StreamedBlobs, One())), current_default_thread_limiter()
        asked = [asyncio.create_task(sender.check(codec.digest(LONG))) for _ in range(parts)]
        deadline = clock.monotonic() + 60
        # An opening gives its thread back a moment later.
        while (len(opened) < parts or limiter.borrowed_tokens != 1) and clock.monotonic() < deadline:
            await asyncio.sleep(0.01)
        taken = limiter.borrowed_tokens
        go.set()
        return [await task for task in asked], taken

    sizes, threads = asyncio.run(hashed())
    assert sizes == [len(LONG)] * parts
    assert threads == 1


def settled(running: Running, begun: bool) -> bool:
    """Whether the server came to hold part of an upload, or let go of all, in time."""
    deadline = clock.monotonic() + 60
    while bool(unfinished(running)) != begun and clock.monotonic() < deadline:
        clock.sleep(0.01)
    return bool(unfinished(running)) == begun


def test_an_upload_that_is_cut_leaves_nothing(running: Running, client: httpx.Client, root: str) -> None:
    token = running.yard.workspace.token("owner")
    blobs = len(list((running.yard.workspace.home / "blobs").rglob("*")))
    for path in (f"{root}/cut", f"/blobs/{codec.digest(LONG)}"):
        with socket.create_connection((running.address.host, running.address.port)) as wire:
            head = f"PUT {path} HTTP/1.1\r\nhost: {client.base_url.netloc.decode()}\r\nauthorization: Bearer {token}\r\n"
            wire.sendall(f"{head}content-length: {len(LONG)}\r\n\r\n".encode() + LONG[: 2 << 20])
            assert settled(running, begun=True)
        assert settled(running, begun=False)
    assert len(list((running.yard.workspace.home / "blobs").rglob("*"))) == blobs
    assert client.get(f"{root}/cut").status_code == 404


def test_a_full_disk_is_told_as_such_and_leaves_nothing(
    running: Running, client: httpx.Client, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("plimsoll.store.disk.incoming.os.fsync", full)
        data = LONG + clock.new_id().encode()
        answers = [client.put(f"{root}/full", content=data), client.put(f"/blobs/{codec.digest(data)}", content=data)]
    for answer in answers:
        assert answer.status_code == 507
        assert "full" in answer.text
        assert str(running.yard.workspace.home) not in answer.text
    assert answers[0].json()["error_code"] == "RESOURCE_EXHAUSTED"
    assert unfinished(running) == []
    assert client.get(f"{root}/full").status_code == 404


def test_no_answer_says_where_things_lie_on_the_server(running: Running, client: httpx.Client, root: str) -> None:
    data = clock.new_id().encode()
    assert client.put(f"{root}/a", content=data).status_code == 200
    (running.yard.workspace.home / "blobs" / codec.digest(data)[:2]).rename(running.yard.workspace.home / "aside")
    (running.yard.workspace.home / "blobs" / codec.digest(data)[:2]).write_bytes(b"no folder")
    try:
        for url in (f"{root}/a", f"/blobs/{codec.digest(data)}"):
            answer = client.get(url)
            assert answer.status_code >= 400
            assert str(running.yard.workspace.home) not in answer.text
            assert "Traceback" not in answer.text
    finally:
        (running.yard.workspace.home / "blobs" / codec.digest(data)[:2]).unlink()
        (running.yard.workspace.home / "aside").rename(running.yard.workspace.home / "blobs" / codec.digest(data)[:2])


def begin(client: httpx.Client, root: str, count: Any, name: str = "/home/me/big.bin") -> httpx.Response:
    return client.post(f"{root.replace('/artifacts/', '/mpu/create/', 1)}/sub", json={"path": name, "num_parts": count})


def test_a_file_sent_in_parts_is_there_when_all_are_joined_and_not_before(running: Running, client: httpx.Client, root: str) -> None:
    made = begin(client, root, 3).json()
    cuts = [LONG[:1_000_000], LONG[1_000_000:2_000_000], LONG[2_000_000:]]
    parts = []
    for credential in reversed(made["credentials"]):
        sent = httpx.put(
            credential["url"], content=cuts[credential["part_number"] - 1], headers=credential["headers"], trust_env=False, timeout=60
        )
        parts.append({"part_number": credential["part_number"], "etag": sent.headers["etag"], "url": credential["url"]})
    assert client.get(f"{root}/sub/big.bin").status_code == 404
    end = f"{root.replace('/artifacts/', '/mpu/complete/', 1)}/sub"
    body = {"path": "/home/me/big.bin", "upload_id": made["upload_id"], "parts": parts}
    for wrong in (
        {"parts": parts[1:]},
        {"parts": [{**parts[0], "etag": "0" * 64}, *parts[1:]]},
        {"parts": [None]},
        {"path": "other.bin"},
        {"upload_id": "0" * 32},
        {"upload_id": "../blobs"},
    ):
        assert client.post(end, json=body | wrong).status_code in (400, 404), wrong
    assert client.post(end, json=body).status_code == 200
    assert client.get(f"{root}/sub/big.bin").content == LONG
    assert unfinished(running) == []
    assert client.post(end, json=body).status_code == 404


def test_parts_are_taken_only_from_who_began_and_an_aborted_upload_leaves_nothing(
    running: Running, client: httpx.Client, root: str
) -> None:
    assert begin(client, root, 0).status_code == begin(client, root, 10_001).status_code == 400
    assert begin(client, root, 1, "..").status_code == begin(client, root, 1, "a/").status_code == 400
    made = begin(client, root, 2).json()
    (first, _) = made["credentials"]
    token = running.yard.workspace.do(AddActor(name="other", roles=("read", "write")), running.yard.owner).token
    assert (
        httpx.put(first["url"], content=b"x", headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60).status_code == 404
    )
    assert httpx.put(first["url"], content=b"x", trust_env=False, timeout=60).status_code == 401
    assert client.put(first["url"], content=b"x").status_code == 200
    assert client.put(first["url"].removesuffix("1") + "3", content=b"x").status_code == 400
    end = {
        "path": "/home/me/big.bin",
        "upload_id": made["upload_id"],
        "parts": [{"part_number": 1, "etag": "x"}, {"part_number": 2, "etag": "x"}],
    }
    assert (
        "was not sent"
        in client.post(
            f"{root.replace('/artifacts/', '/mpu/complete/', 1)}/sub",
            json={**end, "parts": [{"part_number": 1, "etag": codec.digest(b"x")}, {"part_number": 2, "etag": "x"}]},
        ).json()["message"]
    )
    assert client.post(f"{root.replace('/artifacts/', '/mpu/abort/', 1)}/sub", json=end).status_code == 200
    assert unfinished(running) == []
    assert client.put(first["url"], content=b"x").status_code == 404


def test_an_upload_that_is_under_way_outlives_the_next_one_and_one_of_the_day_before_yesterday_does_not(
    running: Running, client: httpx.Client, root: str
) -> None:
    made = begin(client, root, 1).json()
    (part,) = made["credentials"]
    begin(client, root, 1)
    assert client.put(part["url"], content=b"x").status_code == 200
    long_ago = clock.now() / 1e6 - 2 * 86_400
    os.utime(running.yard.workspace.home / "uploads" / made["upload_id"], (long_ago, long_ago))
    begin(client, root, 1)
    assert client.put(part["url"], content=b"x").status_code == 404


def test_a_reader_who_fetches_in_parts_is_told_where(running: Running, client: httpx.Client, root: str) -> None:
    assert client.put(f"{root}/sub/a b", content=LONG).status_code == 200
    told = client.get(f"{root.replace('/artifacts/', '/presigned/', 1)}/sub/a b").json()
    assert told["file_size"] == len(LONG)
    headers = told["headers"] | {"range": "bytes=3145728-3145731"}
    assert httpx.get(told["url"], headers=headers, trust_env=False, timeout=60).content == b"tail"
    assert client.get(f"{root.replace('/artifacts/', '/presigned/', 1)}/none").status_code == 404


def test_what_was_kept_is_not_dropped(running: Running) -> None:
    blobs = running.yard.workspace.stores.blobs
    coming = blobs.incoming()
    assert isinstance(coming, LocalIncoming)
    coming.write(b"kept")
    digest, _ = coming.keep()
    coming.drop()
    assert blobs.get(digest) == b"kept"
