"""Artifacts as MLflow's clients address them: ``<experiment>/<run>/artifacts/<name>``. Names, never places: each is looked up.

A run of ours shows its trees, tables and values as the folders of files that they are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import PlimsollError
from plimsoll.records.run import Artifact, LogArtifact, Run, RunDetail
from plimsoll.records.tracking.change import RemoveArtifacts
from plimsoll.server.mlflow.runs import artifact_root, changeable, known
from plimsoll.server.mlflow.speech import INVALID, MISSING, Asked, Spoken

#: An artifact that is one blob, not a manifest of several.
FILE = "file"

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


def safe(path: str) -> str:
    """Return a relative path within a run, or refuse it.

    Args:
        path: what the client sent, decoded once.

    Raises:
        Spoken: it is empty, absolute, climbs, or has a character that somebody could take for something else.
    """
    parts = path.split("/")
    bad = any(part in ("", ".", "..") for part in parts) or _SCHEME.match(path)
    if bad or any(char in "\\;#?%" or ord(char) < 32 or ord(char) == 127 for char in path):
        raise Spoken(INVALID, "Invalid path")
    return path


def _files(asked: Asked, artifacts: Iterable[Artifact]) -> dict[str, tuple[str, int]]:
    """Return path -> digest and size of every file."""
    found: dict[str, tuple[str, int]] = {}
    for artifact in artifacts:
        if artifact.kind == FILE:
            found[artifact.name] = artifact.digest, artifact.size
            continue
        try:
            manifest = get_manifest(asked.blobs, artifact.digest)
        except PlimsollError:
            continue
        if manifest.meta.get("path") == FILE and len(manifest.files) == 1:
            found[artifact.name] = manifest.files[0].digest, manifest.files[0].size
            continue
        found.update({f"{artifact.name}/{entry.path}": (entry.digest, entry.size) for entry in manifest.files})
    return found


def _listed(files: dict[str, tuple[str, int]], folder: str) -> list[dict[str, Any]]:
    """Return what lies directly in a folder, by full path."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for path, (_, size) in files.items():
        if not path.startswith(prefix):
            continue
        head, deeper, _ = path[len(prefix) :].partition("/")
        whole = prefix + head
        found[whole] = {"path": whole, "is_dir": True} if deeper else {"path": whole, "is_dir": False, "file_size": size}
    return [found[path] for path in sorted(found)]


def listing(asked: Asked) -> dict[str, Any]:
    """Return what a run keeps in a folder."""
    path = asked.text("path", required=False)
    detail = known(asked, asked.run_id())
    files = _files(asked, detail.artifacts)
    return {"root_uri": artifact_root(detail.run), "files": _listed(files, safe(path) if path else "")}


def _addressed(asked: Asked, path: str) -> tuple[RunDetail, str]:
    """Return the run that a path names, and the rest of it, which may be empty."""
    experiment, _, rest = safe(path).partition("/")
    run_id, _, rest = rest.partition("/")
    fixed, _, name = rest.partition("/")
    if experiment and run_id == "models":
        raise Spoken(MISSING, f"There is no artifact at {path!r}.")
    detail = known(asked, run_id)
    if fixed != "artifacts" or detail.run.experiment_id != experiment:
        raise Spoken(MISSING, f"There is no artifact at {path!r}.")
    return detail, name


def proxied(asked: Asked) -> dict[str, Any]:
    """Return what lies directly in a folder, by its last name only."""
    path = asked.text("path")
    detail, folder = _addressed(asked, path)
    found = _listed(_files(asked, detail.artifacts), folder)
    return {"files": [{**each, "path": each["path"].rpartition("/")[2]} for each in found]}


def located(asked: Asked, path: str) -> str:
    """Return the digest of the bytes at a path.

    Args:
        asked: the request.
        path: ``<experiment>/<run>/artifacts/<name>``.

    Raises:
        Spoken: there is nothing.
    """
    detail, name = _addressed(asked, path)
    found = _files(asked, detail.artifacts).get(name)
    if found is None:
        raise Spoken(MISSING, f"There is no artifact at {path!r}.")
    return found[0]


def writable(asked: Asked, path: str) -> tuple[Run, str]:
    """Return the run and the name that bytes sent to a path get, before they are taken.

    Args:
        asked: the request.
        path: ``<experiment>/<run>/artifacts/<name>``.

    Raises:
        Spoken: the run is not there or deleted, or the path names no file.
    """
    detail, name = _addressed(asked, path)
    if not name:
        raise Spoken(INVALID, "Invalid path")
    return changeable(asked, detail.run.id), name


def keep(asked: Asked, run: Run, name: str, digest: str, size: int) -> None:
    """Attach bytes that are stored to a run.

    Args:
        asked: the request.
        run: the run.
        name: the artifact's.
        digest: of the bytes.
        size: in bytes.
    """
    asked.do(LogArtifact(run_id=run.id, name=name, kind=FILE, digest=digest, size=size))


def delete(asked: Asked, path: str) -> None:
    """Remove a file, or everything in a folder, that a client has put there; what is not there is left out.

    Args:
        asked: the request.
        path: ``<experiment>/<run>/artifacts/<name>``.

    Raises:
        Spoken: the run is not there or deleted.
    """
    detail, name = _addressed(asked, path)
    run = changeable(asked, detail.run.id)
    names = [each.name for each in detail.artifacts if not name or each.name == name or each.name.startswith(f"{name}/")]
    asked.do(RemoveArtifacts(run_id=run.id, names=tuple(names)))
