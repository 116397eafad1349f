"""Immutable versions of data."""

from __future__ import annotations

from typing import Literal

from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request, check_digest, check_limit, check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    #: Name.
    name: str
    #: Polars' name of the type, such as ``Float64`` or ``Datetime(time_unit='us', time_zone='UTC')``.
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a tree."""

    #: Path inside the tree, with ``/``, never absolute and never with ``..``.
    path: str
    #: BLAKE3 of the content.
    digest: str
    #: Bytes.
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The list of a tree's files, by path. Its canonical JSON is a blob, and that blob's digest names the tree."""

    #: Format of this document.
    version: Literal[1] = 1
    #: What the tree is: ``table``, ``tree``, ``value`` or ``model``.
    kind: str
    #: Sorted by path.
    files: tuple[FileEntry, ...]
    #: What a reader needs to know (schema, loader), JSON-able.
    meta: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A registered, immutable version of a dataset."""

    #: Digest of the manifest; its name.
    digest: str
    #: What people call the dataset, such as ``flights``.
    name: str
    #: ``table`` or ``tree``.
    kind: str
    #: Rows of a table, or None.
    rows: int | None
    #: Bytes of all files.
    size: int
    #: Columns of a table; empty for a tree.
    columns: tuple[Column, ...]
    #: UTC microseconds of its first registration.
    created: int
    #: Name of the actor.
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSnapshot(Request[Snapshot]):
    """Register a stored manifest as a version of a dataset. Doing it again changes nothing."""

    #: What people call the dataset.
    name: str
    #: Digest of the manifest; it and all its files must be stored.
    digest: str

    def __post_init__(self) -> None:
        check_name("Dataset", self.name)
        check_digest("Snapshot", self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSnapshot(Request[Snapshot]):
    """Return a snapshot by digest, or by the beginning of its digest when only one has it."""

    #: Digest or at least its first 6 digits.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSnapshots(Request[tuple[Snapshot, ...]]):
    """Return snapshots, newest first."""

    #: Only versions of this dataset.
    name: str | None = None
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)
