"""What a step read by itself, as it is now."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from plimsoll.data.code.closure import value_closure
from plimsoll.data.code.source import Sources
from plimsoll.data.environment import version
from plimsoll.data.trace.files.contents import ABSENT
from plimsoll.data.trace.files.places import Places
from plimsoll.errors import Unfingerprintable
from plimsoll.fingerprint import digest_value
from plimsoll.records.pipeline import KeyPart

#: Name of the part that stands for the folder from which relative paths are read.
WORKING_FOLDER = "(working folder)"

#: The same, where the step can tell what it is called; those of the machine that a step may ask.
FOLDER_PATH, PROCESSORS, MACHINE = "(path of the working folder)", "(processors)", "(machine)"

#: The installed packages with their entry points; and, with a module's name, where a module would be found.
INSTALLED, SOUGHT = "(installed packages)", "(place of the module {})"

#: Name of the part that stands for the whole environment.
ALL_VARIABLES = "(all)"

_SECRET = re.compile(r"key|secret|token|passw|credential|auth|cookie|dsn|url", re.IGNORECASE)

#: What differs between two shells of one user.
SESSION = re.compile(
    r"_|SHLVL|PWD|OLDPWD|WINDOWID|TERM|TERM_(PROGRAM|SESSION)\w*|COLUMNS|LINES|DISPLAY|JPY_\w+|VSCODE_\w+|INVOCATION_ID|JOURNAL_STREAM"
    r"|SSH_(CLIENT|CONNECTION|TTY|AUTH_SOCK|AGENT_PID)|XDG_(SESSION_\w+|RUNTIME_DIR|SEAT|VTNR)|DBUS_\w+|TMUX\w*|STY|PYTEST_(CURRENT_TEST|XDIST_\w+)"
    r"|MLFLOW_(TRACKING_URI|EXPERIMENT_ID|SUPPRESS_PRINTING_URL_TO_STDOUT)|(?i:no_proxy)"
    r"|PLIMSOLL_(HOME|URL|TOKEN|PROFILE|DATABASE|EXECUTOR|RAY_ADDRESS|HOST|PORT|SERVING_PORT)"
)

_SHOWN = 60


class Now:
    """Answers for one run what files, variables, modules and distributions are now.

    A file is read again only if it was changed since; modules and distributions are looked at once.

    Args:
        project: folder of the project, to which names of files are relative.
        remembered: where the digests of large files are remembered; None remembers them in this process alone.
    """

    def __init__(self, project: Path, remembered: Path | None = None) -> None:
        self._project = project
        self._sources = Sources()
        self._seen: dict[tuple[str, str], tuple[str, str]] = {}
        self._remembered = remembered

    @functools.cached_property
    def _places(self) -> Places:
        # Many steps read nothing by themselves.
        return Places(self._project, remembered=self._remembered)

    def digest(self, part: KeyPart) -> str:
        """Return the digest that a part of a trace would have now.

        Args:
            part: what a step read.
        """
        return self._look(part)[0]

    def text(self, part: KeyPart) -> str:
        """Return the text that a part of a trace would have now.

        Args:
            part: what a step read.
        """
        return self._look(part)[1]

    def _look(self, part: KeyPart) -> tuple[str, str]:
        place = part.kind, part.name
        if part.kind == "file":
            # A run's own steps write files, so each look asks anew whether the file is as it was.
            return self._places.look(*self._places.path(part.name))
        if part.kind == "variable":
            return variable(part.name, {}, self._places)
        if place not in self._seen:
            self._seen[place] = module(part.name, self._sources) if part.kind == "module" else distribution(part.name)
        return self._seen[place]


def variable(name: str, changed: Mapping[str, str | None], places: Places) -> tuple[str, str]:
    """Return digest and text of an environment variable, of all of them, or of what else a process has around it.

    Args:
        name: its name, or one of the names in brackets above.
        changed: variables that Plimsoll has set in this process -> what they are without it.
        places: names the working folder.
    """
    if name in _AROUND:
        text = _AROUND[name](places)
        return digest_value(text), text
    if name.startswith(_SOUGHT):
        text = _sought(name.removeprefix(_SOUGHT).removesuffix(")"), places)
        return digest_value(text), text
    if name == ALL_VARIABLES:
        kept = {
            each: value for each, value in sorted({**os.environ, **changed}.items()) if value is not None and not SESSION.fullmatch(each)
        }
        # A changed one shows; what it holds does not.
        marks = {each: "" if _SECRET.search(each) else f" {digest_value(value)[:4]}" for each, value in kept.items()}
        return digest_value(kept), ", ".join(f"{each}{mark}" for each, mark in marks.items())
    value = changed[name] if name in changed else os.environ.get(name)
    if value is None:
        return ABSENT, "not set"
    shown = "" if _SECRET.search(name) else repr(value)
    return digest_value(value), shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def _processors(places: Places) -> str:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{os.cpu_count()}, {allowed} of them for this process"


def _installed(places: Places) -> str:
    """Return how many packages are installed, and a digest of their names, versions, modules and entry points."""
    found = list(importlib.metadata.distributions())
    told = [(each.name, each.version, each.read_text("entry_points.txt"), each.read_text("top_level.txt")) for each in found]
    return f"{len(found)} packages {digest_value(sorted(told, key=repr))[:16]}"


def _sought(name: str, places: Places) -> str:
    """Return where a module would be found: a file of the user's by its path, any other by whose it is."""
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
    except (Exception, SystemExit) as error:  # whatever importing its package raises
        return f"not found ({type(error).__name__})"
    if spec is None:
        return "not found"
    folders = [] if spec.submodule_search_locations is None else ["a package", *spec.submodule_search_locations]
    paths = [each for each in (spec.origin, *folders) if each]
    return ", ".join(places.name(each) if places.counts(each) else os.path.basename(each) for each in paths)


_SOUGHT = SOUGHT.partition("{")[0]
_AROUND: Mapping[str, Callable[[Places], str]] = {
    WORKING_FOLDER: lambda places: places.name(os.getcwd()),
    FOLDER_PATH: lambda places: os.getcwd(),
    PROCESSORS: _processors,
    # Not its processor's name, for which another program is run.
    MACHINE: lambda places: " ".join(platform.uname()[:5]),
    INSTALLED: _installed,
}


def is_around(part: KeyPart) -> bool:
    """Return whether a part is what a process has around it, and neither a file nor an environment variable.

    Args:
        part: of a trace.
    """
    return part.kind == "variable" and (part.name in _AROUND or part.name.startswith(_SOUGHT))


def module(name: str, sources: Sources) -> tuple[str, str]:
    """Return digest and text of a module of the user's, whole, with all that it reaches; it is imported if need be.

    Args:
        name: its dotted name.
        sources: where code is read from.
    """
    try:
        found = sys.modules.get(name) or importlib.import_module(name)
        return module_digest(found, sources), ""
    except Unfingerprintable as error:
        return digest_value(("unseen", error.fact)), "cannot be fingerprinted"
    except (Exception, SystemExit) as error:  # whatever importing the user's module raises
        return digest_value(("absent", type(error).__name__)), f"cannot be imported ({type(error).__name__})"


def module_digest(found: ModuleType, sources: Sources) -> str:
    """Return the digest of a module with all that it reaches.

    Args:
        found: the imported module.
        sources: where code is read from.

    Raises:
        Unfingerprintable: something in it cannot be seen.
    """
    digest, parts = value_closure(found, sources)
    return digest_value((digest, [(part.kind, part.name, part.digest) for part in parts]))


def distribution(name: str) -> tuple[str, str]:
    """Return digest and version of an installed distribution.

    Args:
        name: its name.
    """
    found = version(name)
    return (ABSENT, "not installed") if found is None else (digest_value(found), found)
