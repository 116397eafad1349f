"""What a step returns, stored by its type and read back as exactly that. Nothing is ever pickled."""

from __future__ import annotations

import atexit
import base64
import binascii
import importlib
import shutil
import tempfile
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from plimsoll import clock, codec
from plimsoll.data import exact
from plimsoll.data.snapshot import get_manifest, get_tree, outputs_in, put_manifest, put_tree
from plimsoll.data.trace.files.places import OWN
from plimsoll.errors import Corrupt, InvalidInput, Unfingerprintable, Untrusted
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.pipeline import Output
from plimsoll.store.contracts import Blobs

#: The document of a value; arrays and frames inside it are files beside it.
VALUE_FILE = "value.msgpack"

#: Bytes up to which a value's document is kept in its manifest: one blob instead of two.
_INLINE = 4096

#: Packages whose classes are frames and series, or are extended by such.
_FRAMES = {"polars", "pandas"}

#: Name of an output's manifest among the files of several outputs, and folder of its files.
_MANIFEST, _FILES = "manifest.json", "files"


def save(value: Any, blobs: Blobs, project: Path) -> Output:
    """Store what a step returned.

    * A polars frame is a table; so are a pandas frame and series that come back from one unchanged.
    * ``Path`` to a folder or file is a tree. Times, permissions and empty folders are not kept.
    * A class of Plimsoll with ``__plimsoll_save__`` (a model) writes its own files.
    * NumPy arrays, and plain values, frames and arrays inside lists, tuples, sets and dicts are a value.

    Args:
        value: what the step returned.
        blobs: where to.
        project: folder of the project, for objects that pack code.

    Raises:
        Unfingerprintable: the value, or one inside it, is of a type that cannot be stored exactly.
        InvalidInput: a path does not exist, or holds links or special files.
    """
    if _is_framed(value) and (table := _tables().put_frame(blobs, value)) is not None:
        digest, size = table
        return Output(digest=digest, kind="table", size=size)
    if isinstance(value, Path):
        return _save_path(value, blobs)
    if hasattr(type(value), "__plimsoll_save__"):
        return _save_object(value, blobs, project)
    return _save_value(value, blobs)


def load(output: Output, blobs: Blobs, folder: Path | None = None, *, trusted: bool = False, project: Path | None = None) -> Any:
    """Return what :func:`save` stored.

    Args:
        output: what :func:`save` gave.
        blobs: where from.
        folder: where a tree's or a model's files go; None takes a temporary folder that goes away with the process.
        trusted: code that a model packs may run: its digest was granted, or this very run has made it.
        project: folder of the project whose own code may run; a model that packs the same needs no grant.

    Raises:
        NotFound: something of it is not stored.
        Corrupt: stored bytes do not match their digest, or cannot be read.
        Untrusted: reading it would import a module that is not Plimsoll's, or run packed code that nobody has granted.
    """
    manifest = get_manifest(blobs, output.digest)
    if manifest.kind != output.kind:
        raise Corrupt(f"{output.digest[:12]} is a {manifest.kind}, not a {output.kind}.", "Drop the cache entry and run the step again.")
    if manifest.kind == "table":
        tables = _tables()
        frame = tables.get_table(blobs, output.digest)
        return _read_pandas(tables, frame, manifest.meta["pandas"]) if "pandas" in manifest.meta else frame
    if manifest.kind == "value":
        return _load_value(manifest, blobs)
    if manifest.kind == "outputs":
        parts = {
            name: load(part, blobs, None if folder is None else folder / name, trusted=trusted, project=project)
            for name, part in outputs_in(manifest).items()
        }
        return namedtuple("Outputs", parts)(**parts)
    target = folder if folder is not None else _temporary() / "files"
    if manifest.kind == "tree":
        get_tree(blobs, output.digest, target)
        return target / manifest.files[0].path if manifest.meta.get("path") == "file" else target
    loader = _loader(manifest)
    get_tree(blobs, output.digest, target)
    return loader.__plimsoll_load__(target, manifest.meta, trusted, project)


def save_outputs(values: Mapping[str, Any], blobs: Blobs, project: Path) -> Output:
    """Store the several outputs of a step, each by itself, and return the one that stands for all of them.

    Args:
        values: output by name.
        blobs: where to.
        project: folder of the project, for objects that pack code.

    Raises:
        Unfingerprintable: a value, or one inside it, is of a type that cannot be stored exactly.
        InvalidInput: a path does not exist, or holds links or special files.
    """
    parts = {name: save(value, blobs, project) for name, value in values.items()}
    files: list[FileEntry] = []
    for name, part in parts.items():
        files.append(FileEntry(path=f"{name}/{_MANIFEST}", digest=part.digest, size=blobs.size(part.digest)))
        # All files are named here, so that whoever copies or checks an output need not know of outputs inside it.
        files.extend(replace(entry, path=f"{name}/{_FILES}/{entry.path}") for entry in get_manifest(blobs, part.digest).files)
    meta: dict[str, Any] = {"outputs": [[name, codec.plain(part)] for name, part in parts.items()]}
    manifest = Manifest(kind="outputs", files=tuple(sorted(files, key=lambda entry: entry.path)), meta=meta)
    return Output(digest=put_manifest(blobs, manifest), kind="outputs", size=sum(part.size for part in parts.values()))


def _save_path(path: Path, blobs: Blobs) -> Output:
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        what = "is a link" if path.is_symlink() else "is no file and no folder" if path.exists() else "is not there"
        raise InvalidInput(f"The path {str(path)!r} {what}.", "Give the path of a file or folder that has been written.")
    if path.is_dir():
        digest, size = put_tree(blobs, path, "tree", {"path": "folder"})
    else:
        content, size = blobs.put_file(path)
        entry = FileEntry(path=path.name, digest=content, size=size)
        digest = put_manifest(blobs, Manifest(kind="tree", files=(entry,), meta={"path": "file"}))
    return Output(digest=digest, kind="tree", size=size)


def _save_object(value: Any, blobs: Blobs, project: Path) -> Output:
    cls = type(value)
    if not exact.is_own(cls.__module__) or "." in cls.__qualname__:
        raise Unfingerprintable(
            f"{cls.__module__}.{cls.__qualname__} has __plimsoll_save__ but is not a class of Plimsoll, so it could not be read back.",
            "Return a folder's Path, or a plimsoll.Model.",
        )
    with tempfile.TemporaryDirectory(prefix=OWN) as made:
        folder = Path(made)
        meta = value.__plimsoll_save__(folder, project)
        digest, size = put_tree(blobs, folder, "model", {**meta, "loader": f"{cls.__module__}:{cls.__qualname__}"})
    return Output(digest=digest, kind="model", size=size)


def _loader(manifest: Manifest) -> Any:
    module, _, name = str(manifest.meta.get("loader", "")).partition(":")
    if not exact.is_own(module) or not name.isidentifier():
        raise Untrusted(f"Reading this object would import {module!r}.", "Only classes of Plimsoll are imported to read an object.")
    try:
        cls = getattr(importlib.import_module(module), name)
        cls.__plimsoll_load__  # noqa: B018
    except (ModuleNotFoundError, AttributeError) as error:
        raise Corrupt(f"This Plimsoll has no {module}:{name} to read the object.", "Use the release that wrote it.") from error
    return cls


def _save_value(value: Any, blobs: Blobs) -> Output:
    files: list[FileEntry] = []

    def keep(inner: Any) -> list[Any] | None:
        stored = _part(inner)
        if stored is None:
            return None
        node, data, suffix = stored
        path = f"parts/{len(files):06d}.{suffix}"
        files.append(FileEntry(path=path, digest=blobs.put(data), size=len(data)))
        return [node[0], path, *node[1:]]

    document = exact.encode(value, keep)
    if len(document) <= _INLINE:
        meta: dict[str, Any] = {"document": base64.b64encode(document).decode()}
        manifest = Manifest(kind="value", files=tuple(files), meta=meta)
        return Output(digest=put_manifest(blobs, manifest), kind="value", size=len(document) + sum(entry.size for entry in files))
    files.append(FileEntry(path=VALUE_FILE, digest=blobs.put(document), size=len(document)))
    manifest = Manifest(kind="value", files=tuple(sorted(files, key=lambda entry: entry.path)), meta={})
    return Output(digest=put_manifest(blobs, manifest), kind="value", size=sum(entry.size for entry in files))


def _part(value: Any) -> tuple[list[Any], bytes, str] | None:
    if type(value) is np.ndarray and not value.dtype.hasobject:
        try:
            return ["array"], exact.to_npy(value), "npy"
        except ValueError:
            return None
    return _tables().part_of(value) if _is_framed(value) else None


def _read_pandas(tables: Any, frame: Any, described: Any) -> Any:
    try:
        return tables.from_table(frame, described)
    except exact.UNREADABLE as error:
        raise Corrupt(f"A stored frame of pandas cannot be read: {error!r}", "Drop the cache entry and run the step again.") from error


def _load_value(manifest: Manifest, blobs: Blobs) -> Any:
    digests = {entry.path: entry.digest for entry in manifest.files}

    def fetch(node: list[Any]) -> Any:
        kind, path, *rest = node
        data = blobs.get(digests[path])
        if kind == "array":
            return exact.from_npy(data)
        return _tables().read_part(kind, rest, data)

    if "document" in manifest.meta:
        try:
            return exact.decode(base64.b64decode(str(manifest.meta["document"])), fetch)
        except binascii.Error as error:
            raise Corrupt("A stored value's document is no base64.", "Drop the cache entry and run the step again.") from error
    if VALUE_FILE not in digests:
        raise Corrupt("A stored value has no document.", "Drop the cache entry and run the step again.")
    return exact.decode(blobs.get(digests[VALUE_FILE]), fetch)


def _is_framed(value: Any) -> bool:
    return any(cls.__module__.partition(".")[0] in _FRAMES for cls in type(value).__mro__)


def _tables() -> Any:
    # Named, not imported above: it imports polars, which takes longer than most steps that have no frames.
    return importlib.import_module("plimsoll.data.tables.table")


def _temporary() -> Path:
    folder = Path(tempfile.gettempdir()) / f"{OWN}{clock.new_id()}"
    folder.mkdir(mode=0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
