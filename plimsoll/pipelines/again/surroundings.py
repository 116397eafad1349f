"""The packages of a run that has ended, installed into a virtual environment of their own."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path

from plimsoll.data.environment import capture, version
from plimsoll.errors import Unavailable
from plimsoll.records.pipelines.history import Change

#: Seconds that installing may take.
_SECONDS = 1800.0

#: What every virtual environment brings, or only installers use.
_TOOLS = frozenset({"pip", "setuptools", "wheel", "uv"})


def differing_packages(wanted: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the packages whose versions here are others than those of a run, ``python`` among them.

    Args:
        wanted: the run's exact versions by name.
    """
    here = capture()
    names = sorted(name for name in {*wanted, *here} if wanted.get(name) != here.get(name))
    return tuple(Change(name=name, old=wanted.get(name), new=here.get(name)) for name in names)


def install(wanted: Mapping[str, str], folder: Path) -> str:
    """Make a virtual environment with exact versions, and return the path of its interpreter.

    What was installed here from a folder or an address, which no index has, is taken over as it is here.

    Args:
        wanted: exact versions by name, ``python`` among them.
        folder: where to; made here.

    Raises:
        Unavailable: an interpreter or a package cannot be had; the message says which, and what may be done offline.
    """
    uv = _uv()
    python = wanted.get("python", platform.python_version())
    if uv is not None:
        chosen = sys.executable if python == platform.python_version() else python
        _do([uv, "venv", "--quiet", "--python", chosen, str(folder)], f"Python {python} cannot be had")
    elif _minor(python) == _minor(platform.python_version()):
        bare = ["--without-pip"] if _pip_reaches_others() else []
        _do([sys.executable, "-m", "venv", *bare, str(folder)], "a virtual environment cannot be made")
    else:
        raise Unavailable(f"The run used Python {python}; here is {platform.python_version()}, and uv is not installed.", _REMEDY)
    interpreter = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    if uv is not None:
        pip = [uv, "pip", "install", "--quiet", "--python", interpreter]
    elif _pip_reaches_others():
        pip = [sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet"]
    else:
        pip = [interpreter, "-m", "pip", "install", "--quiet"]
    local = _local()
    listed = folder.with_name(f"{folder.name}.txt")
    lines = [f"{name}=={version}" for name, version in wanted.items() if name not in _TOOLS | {"python"} and name not in local]
    listed.write_text("\n".join(lines) + "\n")
    # Without resolving: the list is complete, and what a project required may have been overruled by hand.
    _do([*pip, "--no-deps", "-r", str(listed)], "a package cannot be installed")
    for name in sorted(local.keys() & wanted.keys()):
        if local[name].version != wanted[name]:
            raise Unavailable(f"The run used {name} {wanted[name]}, and no index has it; here is {local[name].version}.", _REMEDY)
        _take_over(local[name], interpreter)
    return interpreter


_REMEDY = "Repeat it here with --no-environment, which names the versions that differ; offline, fill uv's or pip's cache first."


def _uv() -> str | None:
    """Return the path of uv, or None when there is none that runs."""
    found = shutil.which("uv")
    asked = found and subprocess.run([found, "--version"], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    # A version manager's stand-in is found for tools that its present version does not have.
    return found if asked and asked.returncode == 0 else None


def _pip_reaches_others() -> bool:
    """Return whether the pip that is here installs for another interpreter: to give each its own takes longer than to use it."""
    return int((version("pip") or "0").partition(".")[0]) >= 23


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _local() -> dict[str, metadata.Distribution]:
    """Return the distributions that were installed from a folder or an address, by their normal names."""
    named = ((re.sub(r"[-_.]+", "-", each.metadata["Name"] or "").lower(), each) for each in metadata.distributions())
    return {name: each for name, each in named if name and each.read_text("direct_url.json")}


def _take_over(distribution: metadata.Distribution, interpreter: str) -> None:
    """Copy what belongs to a distribution; of an editable one that is its metadata, and a line that leads to its sources."""
    asked = [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    target = Path(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.strip())
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
            continue  # scripts, and byte code of this interpreter
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target / file)


def _do(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"The run's environment cannot be made: {what}: {type(error).__name__}.", _REMEDY) from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(f"The run's environment cannot be made: {what}: {' '.join(said[-3:])[:500]}", _REMEDY)


class Environments:
    """Interpreters with the packages of one run, some of them as another run has them; each is installed once.

    Args:
        old: the first run's exact versions by normal name.
        new: the second run's.
        names: the packages that are taken one by one; others that differ come with the first that is.
        folder: where to; made here.
    """

    def __init__(self, old: Mapping[str, str], new: Mapping[str, str], names: Collection[str], folder: Path) -> None:
        self._old, self._new, self._names, self._folder = dict(old), dict(new), frozenset(names), folder
        self._made: dict[frozenset[str], str] = {}

    def python(self, taken: Collection[str]) -> str:
        """Return the interpreter that has the second run's versions of some packages.

        Args:
            taken: of ``names``.

        Raises:
            Unavailable: it cannot be installed.
        """
        chosen = frozenset(taken)
        if chosen not in self._made:
            wanted = dict(self._new if chosen else self._old)
            for name in self._names - chosen if chosen else ():
                wanted.pop(name, None)
                wanted |= {name: self._old[name]} if name in self._old else {}
            same = not differing_packages(wanted)
            self._folder.mkdir(exist_ok=True)
            self._made[chosen] = sys.executable if same else install(wanted, self._folder / str(len(self._made)))
        return self._made[chosen]
