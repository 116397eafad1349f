"""Which packages and which code a run used. Asking never fails a run: what cannot be known is left empty."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import platform
import re
import shutil
import site
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from blake3 import blake3

from plimsoll import codec
from plimsoll.data.surroundings import shown_url
from plimsoll.records.run import CodeVersion
from plimsoll.store.contracts import Blobs

#: Bytes of a diff that are kept; what is left out is told in its place.
DIFF_LIMIT = 8 * 2**20

#: Seconds that one question to git may take.
GIT_SECONDS = 30.0

#: Untracked files that are part of the code. Others (data, notebooks, secrets) stay out.
_SOURCES = ("*.py", "pyproject.toml", "**/pyproject.toml")

_HEADERS = {name: re.compile(rf"^{name}: *(.*\S)", re.MULTILINE) for name in ("Name", "Version")}

#: Bytes of a distribution's headers that are read at first: its name and its version stand at their beginning.
_BEGINNING = 4096

#: How folders of packages are called.
_PACKAGES = ("/site-packages/", "/dist-packages/")
#: What tells that a package was installed into a folder.
_DISTRIBUTIONS = (".dist-info", ".egg-info", ".egg-link")

#: git's name of the tree without files, to compare with before the first commit.
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def capture() -> dict[str, str]:
    """Return the exact version of every installed distribution by its normal name, and of ``python``."""
    found = {"python": platform.python_version()}
    for distribution in _distributions():
        headers = _headers(distribution)
        # A distribution that was half removed has neither; the first on the path is the one that is imported.
        if headers.keys() == {"Name", "Version"}:
            found.setdefault(re.sub(r"[-_.]+", "-", headers["Name"]).lower(), headers["Version"])
    return dict(sorted(found.items()))


class _Distribution(metadata.PathDistribution):
    """An installed distribution, made at once: Python 3.12 and 3.13 look through all of its class's names to make one."""

    def __new__(cls, path: Any) -> Self:
        return object.__new__(cls)


def _distributions() -> Iterator[metadata.Distribution]:
    """Yield what ``importlib.metadata.distributions`` yields, in its order, in a tenth of its time."""
    # What Python's own finder asks as well; it has no other way to hand out the folders alone, and a later one may not have this.
    folders: Any = getattr(metadata.MetadataPathFinder, "_search_paths", None)
    for finder in sys.meta_path:
        if finder is importlib.machinery.PathFinder and folders is not None:
            yield from map(_Distribution, folders(None, sys.path))
        elif (find := getattr(finder, "find_distributions", None)) is not None:
            yield from find(metadata.DistributionFinder.Context())


def version(name: str) -> str | None:
    """Return the version of an installed distribution; None where there is none.

    Args:
        name: its name.
    """
    try:
        return _headers(metadata.distribution(name)).get("Version")
    except metadata.PackageNotFoundError:
        return None


def _headers(distribution: metadata.Distribution) -> dict[str, str]:
    # Read by hand: parsing all headers of all distributions as the mail that they are takes longer than many a run.
    found = _found_in(_beginning(distribution))
    if found.keys() == _HEADERS.keys():
        return found
    return _found_in(distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "")


def _found_in(text: str) -> dict[str, str]:
    head = text.partition("\n\n")[0]
    return {name: found[1] for name, pattern in _HEADERS.items() if (found := pattern.search(head))}


def _beginning(distribution: metadata.Distribution) -> str:
    """Return the first lines of a distribution's headers; empty when it is no folder, or has none."""
    # ``read_text`` makes paths and reads the description as well, which takes ten times as long.
    folder = getattr(distribution, "_path", None)
    if not isinstance(folder, Path):
        return ""
    try:
        file = os.open(f"{folder}/METADATA", os.O_RDONLY)
    except OSError:
        return ""
    try:
        # Without the last line, which may be cut.
        return os.read(file, _BEGINNING).decode("utf-8", "replace").rpartition("\n")[0]
    finally:
        os.close(file)


def bringing(package: str) -> list[str]:
    """Return the names of the installed distributions that bring a package, usually one.

    ``importlib.metadata.packages_distributions`` asks the disk for each file of each distribution: half a second.

    Args:
        package: top-level importable name.
    """
    name = re.escape(package)
    recorded = re.compile(rf'^"?{name}(/[^,\n]*\.(py|so|pyd)|\.py|(\.[^/,\n]*)?\.(so|pyd))"?,', re.MULTILINE)
    found = []
    for distribution in _distributions():
        declared = (distribution.read_text("top_level.txt") or "").split()
        record = "" if declared else distribution.read_text("RECORD") or ""
        if package in declared or recorded.search(record):
            found += [name for header, name in _headers(distribution).items() if header == "Name"]
    return found


def packages_folder(path: str) -> str | None:
    """Return the folder of installed packages that a path lies in; None for nearly all of the user's.

    It is the interpreter's own, or one that modules are imported from now and that something was installed into.

    Args:
        path: an absolute path; that of a folder ends with a slash.
    """
    for name in _PACKAGES:
        start = path.find(name)
        while start >= 0:
            folder = path[: start + len(name) - 1]
            if folder in _own() or _is_used(folder, tuple(sys.path)):
                return folder
            start = path.find(name, start + 1)
    return None


@functools.cache
def _own() -> frozenset[str]:
    """Return the folders of installed packages that this interpreter has, however they are spelt."""
    paths = sysconfig.get_paths()
    folders = {paths["purelib"], paths["platlib"], site.getusersitepackages(), *site.getsitepackages()}
    return frozenset(folders | {os.path.realpath(folder) for folder in folders})


@functools.lru_cache
def _is_used(folder: str, imported_from: tuple[str, ...]) -> bool:
    real = os.path.realpath(folder)
    if real in _own():
        return True
    if real not in {os.path.realpath(entry) for entry in imported_from}:
        return False
    try:
        return any(name.endswith(_DISTRIBUTIONS) for name in os.listdir(real))
    except OSError:
        return False


def put_environment(blobs: Blobs) -> str:
    """Store :func:`capture` as JSON and return its digest; the same environment gives the same digest.

    Args:
        blobs: where to.
    """
    return blobs.put(codec.canonical(capture()))


def code_version(project: Path, blobs: Blobs, entry: str | None) -> CodeVersion:
    """Return the commit, the branch, the changes since and the remote, as git tells them.

    The changes are a patch for ``git apply``: those of tracked files in the whole repository, and untracked ``*.py`` and
    ``pyproject.toml`` files that git does not ignore. Past 8 MiB a line that begins with ``# plimsoll:`` stands for
    what was left out. Without git, outside of a repository, or when git fails, the fields are None.

    Args:
        project: the project's folder.
        blobs: where the patch goes.
        entry: what was started, such as ``pipeline.py:train``.
    """
    top = _git(project, "rev-parse", "--show-toplevel")
    if top is None:
        return CodeVersion(entry=entry)
    root = Path(os.fsdecode(top.rstrip(b"\n")))
    commit = _line(_git(root, "rev-parse", "--verify", "--quiet", "HEAD"))
    branch = _line(_git(root, "symbolic-ref", "--quiet", "--short", "HEAD"))
    patch = _tracked_changes(root, commit or _EMPTY_TREE)
    patch += _untracked_sources(root, DIFF_LIMIT - len(patch))
    changes = blobs.put(patch) if patch else None
    return CodeVersion(commit=commit, branch=branch, dirty_diff=changes, entry=entry, remote=_remote(root))


def _remote(root: Path) -> str | None:
    told = _git(root, "config", "--get-regexp", r"^remote\..*\.url$") or b""
    urls = dict(line.split(" ", 1) for line in told.decode("utf-8", "replace").splitlines() if " " in line)
    first = next(iter(urls.values()), None)
    chosen = urls.get("remote.origin.url", first)
    return None if chosen is None else shown_url(chosen)


def head(project: Path) -> tuple[str, str]:
    """Return commit and branch of the project's repository; empty texts where there is none, or the branch is none.

    Args:
        project: the project's folder.
    """
    commit = _line(_git(project, "rev-parse", "--verify", "--quiet", "HEAD"))
    return commit or "", (_line(_git(project, "symbolic-ref", "--quiet", "--short", "HEAD")) if commit else None) or ""


def uncommitted(project: Path) -> tuple[str, ...]:
    """Return the tracked files of the project's repository that its commit has otherwise, as paths from the repository's top.

    Args:
        project: the project's folder.
    """
    listed = _git(project, "diff", "--name-only", "-z", "--ignore-submodules=none", "HEAD", "--") or b""
    return tuple(os.fsdecode(name) for name in listed.split(b"\0") if name)


def _command(*arguments: str) -> list[str] | None:
    git = shutil.which("git")
    # The user's settings must neither change the patch nor start a program of theirs.
    fixed = ("core.quotePath=true", "core.fsmonitor=false", "diff.noprefix=false", "diff.mnemonicPrefix=false", "diff.renames=false")
    return None if git is None else [git, *(word for pair in fixed for word in ("-c", pair)), *arguments]


def _variables() -> dict[str, str]:
    # GIT_DIR and its like are set inside hooks and would point at another repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _git(folder: Path, *arguments: str) -> bytes | None:
    command = _command(*arguments)
    if command is None:
        return None
    try:
        done = subprocess.run(
            command, cwd=folder, env=_variables(), stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _line(output: bytes | None) -> str | None:
    return output.decode("utf-8", "replace").strip() or None if output else None


def _tracked_changes(root: Path, since: str) -> bytes:
    command = _command("diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=none", since, "--")
    if command is None:
        return _note("git went away")
    with tempfile.TemporaryFile() as spool:
        try:
            done = subprocess.run(
                command, cwd=root, env=_variables(), stdin=subprocess.DEVNULL, stdout=spool, stderr=subprocess.DEVNULL,
                timeout=GIT_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return _note(f"git did not tell the changes: {type(error).__name__}")
        if done.returncode != 0:
            return _note(f"git did not tell the changes: exit status {done.returncode}")
        size = spool.seek(0, os.SEEK_END)
        spool.seek(0)
        patch = spool.read(DIFF_LIMIT)
        if size <= DIFF_LIMIT:
            return patch
        hasher = blake3(patch)
        while block := spool.read(2**20):
            hasher.update(block)
    # Two different long patches must not look alike, so the note carries the digest of the whole.
    kept = patch[: patch.rfind(b"\n") + 1]
    return kept + _note(f"cut here: the changes have {size} bytes, of which {DIFF_LIMIT} are kept; BLAKE3 {hasher.hexdigest()}")


def _untracked_sources(root: Path, room: int) -> bytes:
    listed = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *_SOURCES)
    if listed is None:
        return _note("git did not tell the untracked files")
    parts: list[bytes] = []
    left_out = 0
    hasher = blake3()
    for name in sorted(filter(None, listed.split(b"\0"))):
        path = root / os.fsdecode(name)
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            if status.st_size > room:
                left_out += 1
                hasher.update(b"%d:%s%d:%d;" % (len(name), name, status.st_size, status.st_mtime_ns))
                continue
            part = _new_file(name, path.read_bytes(), bool(status.st_mode & 0o100))
        except OSError as error:
            part = _note(f"an untracked file could not be read: {type(error).__name__}")
        parts.append(part)
        room -= len(part)
    if left_out:
        parts.append(_note(f"{left_out} untracked sources left out for their size; BLAKE3 of names, sizes and times {hasher.hexdigest()}"))
    return b"".join(parts)


def _new_file(name: bytes, data: bytes, executable: bool) -> bytes:
    """Return the patch that makes a file, as ``git diff`` writes it."""
    old, new = _quoted(b"a/" + name), _quoted(b"b/" + name)
    head = b"diff --git %s %s\nnew file mode %s\n" % (old, new, b"100755" if executable else b"100644")
    if not data:
        return head + b"index 0000000..e69de29\n"
    lines = data.split(b"\n")
    ended = lines[-1] == b""
    lines = lines[:-1] if ended else lines
    # git ends a name with blanks in it by a tab, so that patch tools see where it ends.
    tab = b"\t" if b" " in name else b""
    count = b"" if len(lines) == 1 else b",%d" % len(lines)
    body = b"".join(b"+" + line + b"\n" for line in lines) + (b"" if ended else b"\\ No newline at end of file\n")
    return head + b"--- /dev/null\n+++ " + new + tab + b"\n@@ -0,0 +1" + count + b" @@\n" + body


def _quoted(name: bytes) -> bytes:
    if all(32 <= byte < 127 and byte not in b'"\\' for byte in name):
        return name
    inside = b"".join(bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\%03o" % byte for byte in name)
    return b'"' + inside + b'"'


def _note(text: str) -> bytes:
    return f"# plimsoll: {text}\n".encode()
