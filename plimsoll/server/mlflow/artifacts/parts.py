"""Files that clients send in several parts at once: each part is a file in a folder of its upload until all are there.

What is left of an upload that nobody ended is removed a day later, when the next one begins. A part that a power cut damaged is
found when the parts are joined, for its client names the digest that it was told.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from blake3 import blake3
from starlette.concurrency import run_in_threadpool

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.store.contracts import StreamedBlobs

_BLOCK = 1 << 20
_MOST = 10_000
_STALE = 24 * 3600 * 1_000_000
_ID = re.compile(r"[0-9a-f]{32}")


class Uploads:
    """Uploads that have begun.

    Args:
        folder: where their parts are; made when the first begins.
        blobs: where whole files go.
    """

    def __init__(self, folder: Path, blobs: StreamedBlobs) -> None:
        self._folder = folder
        self._blobs = blobs

    def begin(self, path: str, actor: str, count: int) -> str:
        """Begin an upload and return its id.

        Args:
            path: where the file goes.
            actor: who sends it; nobody else may go on with it.
            count: number of parts.

        Raises:
            InvalidInput: there are none, or too many.
        """
        if not 1 <= count <= _MOST:
            raise InvalidInput(f"A file of {count} parts cannot be sent.", f"Send 1 to {_MOST:,} parts.")
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            if clock.now() - old.stat().st_mtime_ns // 1000 > _STALE:
                shutil.rmtree(old, ignore_errors=True)
        id = clock.new_id()
        (self._folder / id).mkdir()
        (self._folder / id / "about").write_bytes(codec.to_json({"path": path, "actor": actor, "count": count}))
        return id

    def _known(self, id: str, actor: str) -> tuple[Path, dict[str, object]]:
        folder = self._folder / id
        if _ID.fullmatch(id) and (folder / "about").is_file():
            about = codec.from_json((folder / "about").read_bytes(), dict[str, object])
            if about["actor"] == actor:
                return folder, about
        raise NotFound(f"There is no upload {id[:80]!r} that goes on.", "Begin again.")

    async def take(self, id: str, actor: str, number: int, stream: AsyncIterator[bytes]) -> str:
        """Keep a part and return its digest; the same number again replaces it.

        Args:
            id: the upload's.
            actor: who sends it.
            number: which part, from 1.
            stream: its bytes.

        Raises:
            NotFound: no such upload of this actor goes on.
            InvalidInput: it has no such part.
        """
        folder, about = await run_in_threadpool(self._known, id, actor)
        if not 1 <= number <= int(str(about["count"])):
            raise InvalidInput(f"The upload has no part {number}.", f"It has the parts 1 to {about['count']}.")
        coming, seen = folder / f"coming-{clock.new_id()}", blake3()
        try:
            with coming.open("xb") as file:
                async for data in stream:
                    seen.update(data)
                    await run_in_threadpool(file.write, data)
            coming.replace(folder / str(number))
        except FileNotFoundError as error:
            raise NotFound("The upload was ended meanwhile.", "Begin again.") from error
        finally:
            coming.unlink(missing_ok=True)
        return seen.hexdigest()

    def join(self, id: str, actor: str, path: str, tags: Mapping[int, str]) -> tuple[str, int]:
        """Make a blob of the parts, and return its digest and bytes. The parts stay until they are dropped.

        Args:
            id: the upload's.
            actor: who sent it.
            path: where the file goes, as it was said at the beginning.
            tags: number -> digest of each part.

        Raises:
            NotFound: no such upload of this actor goes on.
            InvalidInput: a part is missing, or not what was sent.
            StorageFull: the disk has no room; nothing is kept.
        """
        folder, about = self._known(id, actor)
        if about["path"] != path:
            raise InvalidInput(f"The upload is for {about['path']!r}.", "Name the same file as at its beginning.")
        numbers = range(1, int(str(about["count"])) + 1)
        if sorted(tags) != list(numbers):
            raise InvalidInput(f"The upload has {len(numbers)} parts and {len(tags)} were named.", "Name each part once.")
        coming = self._blobs.incoming()
        try:
            for number in numbers:
                seen = blake3()
                with (folder / str(number)).open("rb") as file:
                    while block := file.read(_BLOCK):
                        seen.update(block)
                        coming.write(block)
                if seen.hexdigest() != tags[number]:
                    raise InvalidInput(f"Part {number} is not what its etag says.", "Send it again.")
            return coming.keep()
        except FileNotFoundError as error:
            raise InvalidInput(f"Part {Path(str(error.filename)).name} was not sent.", "Send it, then complete the upload.") from error
        finally:
            coming.drop()

    def drop(self, id: str, actor: str) -> None:
        """Forget an upload with its parts.

        Args:
            id: the upload's.
            actor: who sent it.

        Raises:
            NotFound: no such upload of this actor goes on.
        """
        folder, _ = self._known(id, actor)
        # Out of sight first: half of an upload is none.
        gone = folder.with_name(f"gone-{id}")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
