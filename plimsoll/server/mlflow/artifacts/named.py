"""Artifacts as MLflow's clients address them: ``<experiment>/<run>/artifacts/<name>``. Names, never places: each is looked up.

A run of ours shows its trees, tables and values as the folders of files that they are made of. A logged model's files are at
``<experiment>/models/<model>/artifacts/<name>``, those of a trace at ``<experiment>/traces/<trace>/artifacts/<name>``, and those of a
version, which never change, at ``versions/<digest>/<name>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.data import FileEntry
from plimsoll.records.model import GetVersion
from plimsoll.records.request import check_digest, check_path
from plimsoll.records.run import LogArtifact, Run
from plimsoll.records.tracking.change import RemoveArtifacts
from plimsoll.records.tracking.logged_model import DropModelFiles, KeepModelFile, ListModelFiles, LoggedModel
from plimsoll.records.tracking.traces.span import ListSpans
from plimsoll.records.tracking.traces.trace import KeepTraceFile, ListTraceFiles, RequestTrace
from plimsoll.runs.outputs.files import FILE, flat_files
from plimsoll.server.mlflow.logged_models import files_root, known_logged
from plimsoll.server.mlflow.runs import artifact_root, changeable, known
from plimsoll.server.mlflow.speech import INVALID, MISSING, Asked, Spoken
from plimsoll.server.mlflow.traces.filed import SPANS_FILE, filed
from plimsoll.server.mlflow.traces.recorded import known_trace
from plimsoll.server.mlflow.versions import known_version, version_number

#: The end of the name that clients of 2.22 give an image with a key. Newer ones write + for each %.
_IMAGE = re.compile(r"%step%-?\d+%timestamp%\d+%[0-9a-z-]{36}(%compressed)?\.\w+$")


def safe(path: str) -> str:
    """Return a relative path within a run, or refuse it.

    Args:
        path: what the client sent, decoded once.

    Raises:
        Spoken: it is empty, absolute, climbs, or has a character that somebody could take for something else.
    """
    path = _IMAGE.sub(lambda end: end[0].replace("%", "+"), path)
    try:
        check_path("path", path)
    except InvalidInput:
        raise Spoken(INVALID, "Invalid path") from None
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise Spoken(INVALID, "Invalid path")
    return path


def _folder(path: str) -> str:
    """Return a folder within a run, which clients may end with a slash, or begin with ``.``; empty for all of it."""
    named = "/".join(part for part in (path.removesuffix("/") or path).split("/") if part != ".")
    return safe(named) if named else ""


def _listed(files: Iterable[FileEntry], folder: str) -> list[dict[str, Any]]:
    """Return what lies directly in a folder, by full path."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for entry in files:
        if not entry.path.startswith(prefix):
            continue
        head, deeper, _ = entry.path[len(prefix) :].partition("/")
        whole = prefix + head
        found[whole] = {"path": whole, "is_dir": True} if deeper else {"path": whole, "is_dir": False, "file_size": entry.size}
    return [found[path] for path in sorted(found)]


def listing(asked: Asked) -> dict[str, Any]:
    """Return what a run keeps in a folder."""
    path = asked.text("path", required=False)
    detail = known(asked, asked.run_id())
    files = flat_files(asked.blobs, detail.artifacts)
    return {"root_uri": artifact_root(detail.run), "files": _listed(files, _folder(path))}


def model_listing(asked: Asked) -> dict[str, Any]:
    """Return what a logged model keeps in a folder."""
    path = asked.text("artifact_directory_path", required=False)
    model = known_logged(asked, asked.text("model_id"))
    files = flat_files(asked.blobs, asked.do(ListModelFiles(id=model.id)))
    return {"root_uri": files_root(model), "files": _listed(files, _folder(path))}


#: What keeps files that a client may change.
Owner: TypeAlias = Run | LoggedModel | RequestTrace


class Place(NamedTuple):
    """What an address names: a run, a logged model, a trace or a version, and a path within its files."""

    #: Who keeps the files; None for a version, whose files never change.
    owner: Owner | None
    #: All files there.
    files: Sequence[FileEntry]
    #: The path, which may be empty.
    name: str


def _addressed(asked: Asked, path: str) -> Place:
    """Return what a path names: ``EXPERIMENT/RUN/artifacts/…``, ``EXPERIMENT/models/MODEL/artifacts/…`` or ``versions/DIGEST/…``."""
    experiment, _, rest = safe(path).partition("/")
    head, _, rest = rest.partition("/")
    if experiment == "versions":
        return Place(None, _version_files(asked, head), rest)
    owner: Owner
    if head in ("models", "traces"):
        id, _, rest = rest.partition("/")
        owner = known_logged(asked, id) if head == "models" else known_trace(asked, id)
        files = flat_files(asked.blobs, asked.do(ListModelFiles(id=id) if head == "models" else ListTraceFiles(id=id)))
    else:
        detail = known(asked, head)
        owner, files = detail.run, flat_files(asked.blobs, detail.artifacts)
    fixed, _, name = rest.partition("/")
    if name:
        safe(name)
    if fixed != "artifacts" or owner.experiment_id != experiment:
        raise _missing(path)
    return Place(owner, files, name)


def _missing(path: str) -> Spoken:
    return Spoken(MISSING, f"No such artifact: {path!r}")


def _version_files(asked: Asked, digest: str) -> Sequence[FileEntry]:
    """Return the files of a version; a digest that is none of a version names nothing."""
    try:
        check_digest("Version", digest)
        return get_manifest(asked.blobs, asked.do(GetVersion(ref=digest)).digest).files
    except (InvalidInput, NotFound):
        raise Spoken(MISSING, f"There is no version with the digest {digest[:80]!r}.") from None


def proxied(asked: Asked) -> dict[str, Any]:
    """Return what lies directly in a folder, by its last name only."""
    place = _addressed(asked, _folder(asked.text("path")))
    return {"files": [{**each, "path": each["path"].rpartition("/")[2]} for each in _listed(place.files, place.name)]}


class File(NamedTuple):
    """A file that is asked for."""

    #: Its name, or a path that ends with it.
    path: str
    #: Of its bytes.
    digest: str


def at_path(asked: Asked) -> File:
    """Return the file at a path such as ``<experiment>/<run>/artifacts/<name>``."""
    path = asked.text("path")
    place = _addressed(asked, path)
    return _file(place.files, place.name, path)


def of_run(asked: Asked) -> File:
    """Return a file of a run by its name."""
    name = safe(asked.text("path"))
    return _file(flat_files(asked.blobs, known(asked, asked.run_id()).artifacts), name, name)


def of_model(asked: Asked) -> File:
    """Return a file of a logged model by its name."""
    name, model = safe(asked.text("artifact_file_path")), known_logged(asked, asked.text("model_id"))
    return _file(flat_files(asked.blobs, asked.do(ListModelFiles(id=model.id))), name, name)


def of_version(asked: Asked) -> File:
    """Return a file of a version by its name."""
    name, version = safe(asked.text("path")), known_version(asked, asked.text("name"), version_number(asked))
    return _file(get_manifest(asked.blobs, version.digest).files, name, name)


def of_trace(asked: Asked) -> File | bytes:
    """Return an attachment of a trace by its name, or without a name the file of its spans: as it was sent, or made of them."""
    if not asked.text("request_id", required=False):
        raise Spoken(INVALID, 'Request must include the "request_id" query parameter.')
    trace, name = known_trace(asked, asked.text("request_id")), asked.text("path", required=False)
    files = flat_files(asked.blobs, asked.do(ListTraceFiles(id=trace.id)))
    if name:
        return _file(files, f"attachments/{safe(name)}", name)
    spans = asked.do(ListSpans(trace_id=trace.id))
    return filed(spans) if spans else _file(files, SPANS_FILE, SPANS_FILE)


def _file(files: Iterable[FileEntry], name: str, shown: str) -> File:
    found = next((entry for entry in files if entry.path == name), None)
    if found is None:
        raise _missing(shown)
    return File(name, found.digest)


def writable(asked: Asked, path: str) -> tuple[Owner, str]:
    """Return who keeps the files, and the name that bytes sent to a path get there, before they are taken.

    Args:
        asked: the request.
        path: such as ``<experiment>/<run>/artifacts/<name>``.

    Raises:
        Spoken: there is none or it is deleted, or the path names no file, or one of a version, or one where a folder is, or below a file.
    """
    place = _addressed(asked, path)
    if place.owner is None:
        raise Spoken(INVALID, "The files of a version never change. Log a new model and register it.")
    if not place.name:
        raise Spoken(INVALID, "Invalid path")
    if isinstance(place.owner, Run):
        changeable(asked, place.owner.id)
    _check_free(place.files, place.name)
    return place.owner, place.name


def _check_free(files: Iterable[FileEntry], name: str) -> None:
    """Refuse a file below another file, or in the place of a folder: one of them could not be fetched any more."""
    for entry in files:
        if name.startswith(f"{entry.path}/"):
            raise Spoken(INVALID, f"Invalid path: {entry.path!r} is a file, so nothing can lie below it")
        if entry.path.startswith(f"{name}/"):
            raise Spoken(INVALID, f"Invalid path: {name!r} is a folder")


def posted(asked: Asked) -> tuple[Run, str]:
    """Return the run, and the name within it, that MLflow's pages send a file to.

    Args:
        asked: the request.

    Raises:
        Spoken: it names no run or no path, there is no such run, or it is deleted; or a folder is there, or a file above it.
    """
    for name in ("run_uuid", "path"):
        if not asked.text(name, required=False):
            raise Spoken(INVALID, f"Request must specify {name}.")
    name = safe(asked.text("path"))
    run = changeable(asked, asked.run_id())
    _check_free(flat_files(asked.blobs, known(asked, run.id).artifacts), name)
    return run, name


def keep(asked: Asked, owner: Owner, name: str, digest: str, size: int) -> None:
    """Attach bytes that are stored to a run, a logged model or a trace.

    Args:
        asked: the request.
        owner: who keeps the files.
        name: the artifact's.
        digest: of the bytes.
        size: in bytes.
    """
    if isinstance(owner, Run):
        asked.do(LogArtifact(run_id=owner.id, name=name, kind=FILE, digest=digest, size=size))
    elif isinstance(owner, LoggedModel):
        asked.do(KeepModelFile(id=owner.id, name=name, digest=digest, size=size))
    else:
        asked.do(KeepTraceFile(id=owner.id, name=name, digest=digest, size=size))


def delete(asked: Asked, path: str) -> None:
    """Remove a file, or everything in a folder, that a client has put there; what is not there is left out.

    Args:
        asked: the request.
        path: such as ``<experiment>/<run>/artifacts/<name>``.

    Raises:
        Spoken: there is no such run or logged model, it is deleted, or the files are a version's.
    """
    place = _addressed(asked, path)
    if place.owner is None:
        raise Spoken(INVALID, "The files of a version never change. Delete the version instead.")

    def within(name: str) -> bool:
        return not place.name or name == place.name or name.startswith(f"{place.name}/")

    if isinstance(place.owner, Run):
        kept = known(asked, changeable(asked, place.owner.id).id).artifacts
        asked.do(RemoveArtifacts(run_id=place.owner.id, names=tuple(each.name for each in kept if within(each.name))))
    elif isinstance(place.owner, RequestTrace):
        raise Spoken(INVALID, "The files of a trace go with it. Delete the trace instead.")
    else:
        asked.do(DropModelFiles(id=place.owner.id, names=tuple(entry.path for entry in place.files if within(entry.path))))
