"""Bytes that travel to a node which sees neither the driver's blobs nor its project, and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from plimsoll import codec
from plimsoll.data.trace.files.places import OWN
from plimsoll.errors import Corrupt
from plimsoll.pipelines.executors.call import Unsuitable
from plimsoll.store.contracts import Blobs

#: Bytes of a file that travel at once.
_PART = 32 << 20

#: Bytes above which a file of the project is data and does not travel, and bytes of all that may.
_FILE_LIMIT, _LIMIT = 4 << 20, 256 << 20


def parts_of(blobs: Blobs, digest: str) -> Iterator[bytes]:
    """Yield a blob's verified bytes part by part; an empty one has no part.

    Args:
        blobs: where from.
        digest: of the blob.

    Raises:
        NotFound: there is no such blob.
        Corrupt: its bytes are damaged.
    """
    with tempfile.TemporaryDirectory(prefix=f"{OWN}carry-") as made:
        path = Path(made, digest)
        blobs.get_file(digest, path)
        with path.open("rb") as file:
            while part := file.read(_PART):
                yield part


def receive(blobs: Blobs, digest: str, parts: Iterable[bytes]) -> None:
    """Store a blob that came in parts.

    Args:
        blobs: where to.
        digest: of the blob.
        parts: what :func:`parts_of` gave.

    Raises:
        Corrupt: other bytes have arrived.
    """
    with tempfile.TemporaryDirectory(prefix=f"{OWN}carry-") as made:
        path = Path(made, digest)
        with path.open("wb") as file:
            for part in parts:
                file.write(part)
        if codec.digest_file(path)[0] != digest:
            raise Corrupt(f"Other bytes than {digest[:12]} have arrived.", "Run again; if it stays, check the network and the disks.")
        blobs.put_file(path)


def pack(project: Path, without: Path | None) -> bytes:
    """Return the project's files: its code, and what lies beside it up to 4 MiB a file.

    Hidden files and folders, byte code and virtual environments are left out. A step that reads one of those, or a bigger
    one, takes it as an argument or runs where the project's disk is.

    Args:
        project: folder of the project.
        without: a folder to leave out, such as a home inside the project.

    Raises:
        Unsuitable: all of it is more than 256 MiB.
    """
    found: dict[str, bytes] = {}
    size = 0
    for folder, folders, names in os.walk(project):
        here = Path(folder)
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__" and not _is_left_out(here / name, without)]
        for name in names:
            path = here / name
            if name[0] == "." or not path.is_file() or path.stat().st_size > _FILE_LIMIT:
                continue
            found[path.relative_to(project).as_posix()] = path.read_bytes()
            size += len(found[path.relative_to(project).as_posix()])
            if size > _LIMIT:
                raise Unsuitable(
                    f"the project {project} has more than {_LIMIT >> 20} MiB of files, too many to send to another machine",
                    "Keep data outside of it, or put the project on a disk that all nodes share.",
                )
    return codec.to_msgpack(found)


def unpack(data: bytes, project: Path) -> None:
    """Write what :func:`pack` gave.

    Args:
        data: what it gave.
        project: a folder that does not exist yet.
    """
    for name, content in codec.from_msgpack(data, dict[str, bytes], "The project's files").items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _is_left_out(folder: Path, without: Path | None) -> bool:
    return (folder / "pyvenv.cfg").exists() or (without is not None and folder.resolve() == without)
