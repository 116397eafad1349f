"""Files of runs and logged models in folders of this machine, read without ever leaving those folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from plimsoll.errors import NotFound
from plimsoll.sdk.moving.sources.source import SourceFile


class Folders:
    """Finds the folder of a run's or a logged model's files, wherever the root has been moved to since.

    An address such as ``file:///home/ann/mlruns/3/RUN/artifacts`` says where the files were. Only its end counts: it is looked
    up under the roots, so that a copied folder works and no address leads anywhere else.

    Args:
        roots: folders with files.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        #: Those that are there.
        self.roots = [root.resolve() for root in roots if root.is_dir()]

    def find(self, address: str, *usual: str) -> Path | None:
        """Return the folder, or None when none of the roots has it.

        Args:
            address: a path or a URI, as the source says it; may be empty.
            usual: paths below a root where such files are when nothing else was said.
        """
        told = [part for part in PurePosixPath(unquote(_split(address).path)).parts if part != "/"]
        ends = ["/".join(told[-length:]) for length in (5, 4, 3, 2) if len(told) >= length]
        for root in self.roots:
            for end in (*usual, *ends):
                folder = (root / end).resolve()
                if end and ".." not in end.split("/") and folder.is_relative_to(root) and folder != root and folder.is_dir():
                    return folder
        return None


def remote(address: str) -> bool:
    """Return whether files are kept where no folder can stand for it, such as ``s3://``.

    Args:
        address: a path or a URI.
    """
    return _split(address).scheme not in ("", "file", "mlflow-artifacts")


def shown(address: str) -> str:
    """Return an address for people, without what somebody could log in with.

    Args:
        address: a path or a URI.
    """
    parts = _split(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def listed(folder: Path) -> Iterator[SourceFile]:
    """Yield every file below a folder, by path; what is no file, or lies elsewhere, is named with its fault.

    Args:
        folder: the files of one run or logged model.
    """
    inside = folder.resolve()
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names + [each for each in folders if (Path(here) / each).is_symlink()]):
            path = Path(here) / name
            shown = path.relative_to(folder).as_posix()
            try:
                target = path.resolve(strict=True)
                found = target.stat()
            except (OSError, RuntimeError) as error:
                yield SourceFile(shown, None, f"It cannot be read: {error}.")
                continue
            if not target.is_relative_to(inside):
                yield SourceFile(shown, None, "It is a link to something outside of the folder.")
            elif not stat.S_ISREG(found.st_mode):
                yield SourceFile(shown, None, "It is no file.")
            else:
                yield SourceFile(shown, found.st_size)


def inside(folder: Path | None, path: str) -> Path:
    """Return a file below a folder.

    Args:
        folder: the files of one run or logged model; None when there are none.
        path: as :func:`listed` gave it.

    Raises:
        NotFound: it is not there, or lies elsewhere.
    """
    found = None if folder is None else (folder / path).resolve()
    if found is None or folder is None or not found.is_relative_to(folder.resolve()) or not found.is_file():
        raise NotFound(f"There is no file {path!r} any more.", "Run the same command again.")
    return found
