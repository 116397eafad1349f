"""What every :class:`~plimsoll.store.contracts.Blobs` must do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plimsoll import codec
from plimsoll.errors import Corrupt, InvalidInput, NotFound
from plimsoll.store.contracts import Blobs

_NONE = "0" * 64

#: Longer than any block that a store reads or writes at once.
_LONG = bytes(range(256)) * 4096 * 5 + b"tail"


class BlobsSuite:
    """Derive from it and override :meth:`blobs` and :meth:`spoil`."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        """Return an empty store."""
        raise NotImplementedError("Override the fixture 'blobs'.")

    @pytest.fixture
    def spoil(self) -> Callable[[str, bytes], None]:
        """Return a function that replaces the stored bytes of a digest behind the store's back."""
        raise NotImplementedError("Override the fixture 'spoil'.")

    @pytest.mark.parametrize("data", [b"", b"x", _LONG], ids=["empty", "one byte", "long"])
    def test_bytes_come_back_under_their_digest(self, blobs: Blobs, data: bytes) -> None:
        digest = blobs.put(data)
        assert digest == codec.digest(data)
        assert blobs.get(digest) == data
        assert blobs.size(digest) == len(data)
        assert blobs.has(digest)

    def test_a_file_comes_back_as_a_file(self, blobs: Blobs, tmp_path: Path) -> None:
        source, target = tmp_path / "source", tmp_path / "new" / "folder" / "target"
        source.write_bytes(_LONG)
        digest, size = blobs.put_file(source)
        assert (digest, size) == (codec.digest(_LONG), len(_LONG))
        blobs.get_file(digest, target)
        assert target.read_bytes() == _LONG
        assert [path.name for path in target.parent.iterdir()] == ["target"]

    def test_several_blobs_are_stored_at_once_and_told_in_order(self, blobs: Blobs) -> None:
        parts = [b"one", b"two", b"one", b"", *(str(number).encode() for number in range(20))]
        digests = blobs.put_all(parts)
        assert [blobs.get(digest) for digest in digests] == parts
        assert blobs.put_all(parts) == digests
        assert blobs.put_all(()) == ()

    def test_the_same_bytes_again_are_the_same_blob(self, blobs: Blobs, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"same")
        assert blobs.put(b"same") == blobs.put(b"same") == blobs.put_file(tmp_path / "file")[0]

    def test_many_may_store_the_same_bytes_at_once(self, blobs: Blobs) -> None:
        with ThreadPoolExecutor(4) as pool:
            digests = set(pool.map(blobs.put, [_LONG] * 8))
        assert len(digests) == 1
        assert blobs.get(digests.pop()) == _LONG

    def test_what_is_not_there_is_not_found(self, blobs: Blobs, tmp_path: Path) -> None:
        assert not blobs.has(_NONE)
        blobs.delete(_NONE)
        with pytest.raises(NotFound):
            blobs.get(_NONE)
        with pytest.raises(NotFound):
            blobs.size(_NONE)
        with pytest.raises(NotFound):
            blobs.get_file(_NONE, tmp_path / "target")
        with pytest.raises(NotFound):
            blobs.put_file(tmp_path / "no file")
        assert not (tmp_path / "target").exists()

    def test_what_is_deleted_is_gone(self, blobs: Blobs) -> None:
        digest = blobs.put(b"short-lived")
        blobs.delete(digest)
        assert not blobs.has(digest)
        assert blobs.put(b"short-lived") == digest
        assert blobs.has(digest)

    def test_only_what_nobody_has_stored_of_late_is_collected(self, blobs: Blobs) -> None:
        digest = blobs.put(b"short-lived")
        assert blobs.collect(digest, 3600.0) == 0
        assert blobs.get(digest) == b"short-lived"
        assert blobs.collect(digest, 0.0) == len(b"short-lived")
        assert not blobs.has(digest)
        assert blobs.collect(digest, 0.0) == 0
        assert blobs.put(b"short-lived") == digest
        assert blobs.get(digest) == b"short-lived"

    @pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "/" + "0" * 63])
    def test_a_name_that_is_no_digest_reaches_no_file(self, blobs: Blobs, name: str, tmp_path: Path) -> None:
        for ask in (blobs.get, blobs.has, blobs.size, blobs.delete, lambda name: blobs.get_file(name, tmp_path / "target")):
            with pytest.raises(InvalidInput):
                ask(name)

    @pytest.mark.parametrize("stored", [b"", b"xriginal", b"original and more"])
    def test_spoiled_bytes_are_never_handed_out(
        self, blobs: Blobs, spoil: Callable[[str, bytes], None], stored: bytes, tmp_path: Path
    ) -> None:
        digest = blobs.put(b"original")
        spoil(digest, stored)
        with pytest.raises(Corrupt) as caught:
            blobs.get(digest)
        assert digest in str(caught.value)
        (tmp_path / "target").write_bytes(b"before")
        with pytest.raises(Corrupt):
            blobs.get_file(digest, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"before"
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["target"]

    def test_a_blob_that_was_cut_short_is_healed_by_storing_it_again(self, blobs: Blobs, spoil: Callable[[str, bytes], None]) -> None:
        digest = blobs.put(b"original")
        spoil(digest, b"orig")
        blobs.put(b"original")
        assert blobs.get(digest) == b"original"
