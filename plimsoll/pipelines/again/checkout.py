"""The code of a run that has ended, written into a folder of its own: its commit, and the changes that it ran with.

Nothing is written into the repository: objects are read, and git's index is one of our own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from plimsoll.errors import Corrupt, InvalidInput, NotFound
from plimsoll.pipelines.again import definitions
from plimsoll.records.run import CodeVersion
from plimsoll.store.contracts import Blobs

#: Seconds that git may take to write a tree.
_SECONDS = 600.0

#: How a line begins that stands for changes which were not kept.
_LEFT_OUT = b"# plimsoll: "


def repository(project: Path) -> Path:
    """Return the top folder of the git repository that a project lies in.

    Args:
        project: folder of the project.

    Raises:
        NotFound: git is not installed, or the project is in no repository.
    """
    if shutil.which("git") is None:
        raise NotFound("git is not installed.", "Install it; the code of earlier runs is read from its repository.")
    done = _git(project, "rev-parse", "--show-toplevel")
    if done.returncode != 0:
        raise NotFound(f"{project} is in no git repository.", "Runs can be repeated when their project is in one: git init")
    return Path(os.fsdecode(done.stdout.rstrip(b"\n")))


def write_code(code: CodeVersion, project: Path, folder: Path, blobs: Blobs) -> Path:
    """Write the code of a run into a new folder, and return the project's folder within it.

    Args:
        code: what the run recorded.
        project: folder of the project, in the repository that has the commit.
        folder: where to; made here.
        blobs: where the run's changes are.

    Raises:
        NotFound: there is no repository, the run recorded no commit, or the repository does not have it.
        InvalidInput: the changes that the run recorded were not kept whole.
        Corrupt: the changes do not fit the commit.
    """
    root = repository(project)
    if code.commit is None and code.dirty_diff is None:
        raise NotFound("The run recorded no commit: it was made outside of a git repository.", "Commit the project, then run it again.")
    folder.mkdir(parents=True)
    if code.commit is not None:
        if _git(root, "cat-file", "-e", f"{code.commit}^{{commit}}").returncode != 0:
            raise NotFound(f"The repository {root} does not have the commit {code.commit}.", "Fetch it: git fetch --all")
        index = folder.with_name(f"{folder.name}.index")
        for arguments in (("read-tree", code.commit), ("checkout-index", "--all", "--force", f"--prefix={folder}{os.sep}")):
            done = _git(root, *arguments, GIT_INDEX_FILE=str(index))
            if done.returncode != 0:
                raise NotFound(f"git cannot write the commit {code.commit[:12]}: {_said(done)}.", "Look at the repository: git fsck")
        index.unlink(missing_ok=True)
    if code.dirty_diff is not None:
        _apply(blobs.get(code.dirty_diff), folder)
    inside = folder / project.resolve().relative_to(root.resolve())
    if not inside.is_dir():
        raise NotFound(f"The project {project} was not there in this run's code.", "Repeat it from the project that it was made in.")
    return inside


def _apply(patch: bytes, folder: Path) -> None:
    left_out = [line for line in patch.split(b"\n") if line.startswith(_LEFT_OUT)]
    if left_out:
        what = left_out[0].removeprefix(_LEFT_OUT).decode("utf-8", "replace")
        raise InvalidInput(f"The changes that the run recorded are not whole: {what}.", "Commit before running, to keep all of the code.")
    # Outside of any repository, so that git takes the folder for what the patch is about.
    done = _git(folder, "apply", "--binary", "--whitespace=nowarn", "-", given=patch, GIT_CEILING_DIRECTORIES=str(folder.parent))
    if done.returncode != 0:
        raise Corrupt(f"The changes that the run recorded do not fit its commit: {_said(done)}.", "Look at them with: git apply --check")


def _git(folder: Path, *arguments: str, given: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    # GIT_DIR and its like are set inside hooks and would point at another repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", **variables}
    fixed = ("core.fsmonitor=false", "core.autocrlf=false")
    command = ["git", *(word for pair in fixed for word in ("-c", pair)), *arguments]
    return subprocess.run(command, cwd=folder, env=kept, input=given, capture_output=True, timeout=_SECONDS, check=False)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode("utf-8", "replace").strip().partition("\n")[0].rstrip(".") or f"exit status {done.returncode}"


def files_of(folder: Path) -> dict[str, Path]:
    """Return the files of a tree by their relative paths, without byte code.

    Args:
        folder: the tree's top.
    """
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def mixed(first: Path, second: Path, taken: Mapping[str, Collection[str] | None], folder: Path) -> None:
    """Write a tree that has some files, or some definitions of them, as another tree has them.

    Args:
        first: the tree that gives all others.
        second: the tree that gives what is taken.
        taken: relative path -> labels of the definitions that are taken, None for the whole file; a file that ``second`` lacks is
            left out.
        folder: where to; made here.
    """
    shutil.copytree(first, folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name, labels in taken.items():
        target, source = folder / name, second / name
        if labels is not None:
            text = definitions.mixed((first / name).read_text("utf-8"), source.read_text("utf-8"), labels)
            target.unlink()
            target.write_text(text, "utf-8")
            continue
        target.unlink(missing_ok=True)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
