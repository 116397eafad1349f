"""The project: the folder with ``pyproject.toml``, what its ``[tool.plimsoll]`` table declares, and its code."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import os
import re
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.pipelines.part import ExecutorName
from plimsoll.records.request import check_slug

if TYPE_CHECKING:
    from plimsoll.records.deployment import ReleasePolicy, ServingConfig
    from plimsoll.records.model import Purpose
    from plimsoll.records.monitor import RetrainPolicy
    from plimsoll.records.pipelines.trigger import TriggerRule

#: Imports of a project whose folder ``src`` is a package by that name.
_OF_SRC = re.compile(rb"(?m)^\s*(from|import)\s+src\b")

#: The file that makes a folder a project.
PROJECT_FILE = "pyproject.toml"

#: Setting -> what it is when nobody says so. ``home`` is relative to the project; ``url`` is ``home`` unless given.
SETTINGS: dict[str, str | int | None] = {
    "url": None,
    "home": ".plimsoll",
    "host": "127.0.0.1",
    "port": 7600,
    "serving_port": 7601,
    "executor": "processes",
    "ray_address": "local",
    "capture": "all",
    "keep_deleted": "30d",
}


#: What a run around code captures without being asked: everything, all but the machine's series, nothing.
CAPTURES = ("all", "once", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named set of what ``[tool.plimsoll]`` says otherwise, such as ``quick`` or ``production``."""

    #: Settings, not yet checked.
    settings: dict[str, Any]
    #: Pipeline, as ``path.py:name`` -> parameters.
    params: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTable:
    """What ``[tool.plimsoll]`` declares."""

    #: ``tool.plimsoll.name``, else ``project.name``, else the folder's name.
    name: str
    #: Registered name -> what the model is for.
    models: dict[str, Purpose]
    #: Registered name -> how it is served.
    serving: dict[str, ServingConfig]
    #: Registered name -> when a finding may retrain it.
    retrain: dict[str, RetrainPolicy]
    #: Environment -> what it asks of a release.
    environments: dict[str, ReleasePolicy]
    #: Pipeline, as ``path.py:name`` -> parameters that its runs get unless somebody says otherwise.
    params: dict[str, dict[str, Any]]
    #: Pipeline -> variation -> its parameters.
    variations: dict[str, dict[str, dict[str, Any]]]
    #: Name -> settings and parameters that hold while it is chosen.
    profiles: dict[str, Profile]
    #: Name -> when a pipeline starts by itself. Pipelines are in their one spelling, ``all`` variations are named.
    triggers: dict[str, TriggerRule]
    #: Settings that the table gives (url, home, executor …), not yet checked.
    settings: dict[str, Any]


def find_project(start: Path) -> Path:
    """Return the nearest folder, from ``start`` upwards, whose ``pyproject.toml`` has a ``[tool.plimsoll]`` table.

    Without any such table it is the nearest folder with a ``pyproject.toml``.

    Args:
        start: a folder.

    Raises:
        NotFound: there is no ``pyproject.toml`` here or above.
        InvalidInput: one on the way is not valid TOML.
    """
    here = start.resolve()
    found = [folder for folder in (here, *here.parents) if (folder / PROJECT_FILE).is_file()]
    for folder in found:
        if "plimsoll" in _table(_read_toml(folder / PROJECT_FILE), "tool", f"{folder / PROJECT_FILE}"):
            return folder
    if found:
        return found[0]
    raise NotFound(f"There is no {PROJECT_FILE} in {here} or above.", "Make a project here with: plimsoll init")


def read_project(project: Path) -> ProjectTable:
    """Return what the project's ``[tool.plimsoll]`` declares; a project without the table declares nothing.

    Keys may be written with ``-`` or ``_``.

    Args:
        project: folder with ``pyproject.toml``, or that file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is not valid TOML, or a key is unknown or has a wrong value; the message names the key.
    """
    path = project if project.name == PROJECT_FILE else project / PROJECT_FILE
    document = _read_toml(path)
    table = _declared(document)
    name = table.get("name", _table(document, "project", "pyproject.toml").get("name", path.resolve().parent.name))
    if not isinstance(name, str):
        raise InvalidInput(f"The key name in [tool.plimsoll] is {name!r}, not text.", "Write it in quotes.")
    found = ProjectTable(
        name=name,
        models=_section(table, "models", "model:Purpose"),
        serving=_section(table, "serving", "deployment:ServingConfig"),
        retrain=_section(table, "retrain", "monitor:RetrainPolicy"),
        environments=_section(table, "environments", "deployment:ReleasePolicy"),
        params=_by_pipeline(table, "params", "[tool.plimsoll]"),
        variations=_variations(table),
        profiles=_profiles(table),
        triggers=_section(table, "triggers", "pipelines.trigger:TriggerRule"),
        settings={key: table[key] for key in SETTINGS if key in table},
    )
    return replace(found, triggers={name: _checked_trigger(found, name, rule) for name, rule in found.triggers.items()})


def chosen_profile(flag: str | None, project: Path | None) -> tuple[str, Profile | None]:
    """Return name and content of the profile that a flag or ``PLIMSOLL_PROFILE`` chooses; an empty name and None for none.

    Args:
        flag: what the command line gave, or None.
        project: the project's folder, or None outside of one.

    Raises:
        NotFound: the project declares no profile of this name.
    """
    name = flag if flag is not None else os.environ.get("PLIMSOLL_PROFILE", "")
    if not name:
        return "", None
    profiles = {} if project is None else _profiles(_declared(_read_toml(project / PROJECT_FILE)))
    if name not in profiles:
        said = "" if flag is not None else ", which PLIMSOLL_PROFILE names"
        raise NotFound(
            f"The project declares no profile {name!r}{said}.", nearest(name, profiles, "Declare [tool.plimsoll.profiles.NAME].")
        )
    return name, profiles[name]


def setting(name: str, flag: str | int | None, project: Path | None, profile: str | None = None) -> tuple[str | int, str]:
    """Return a setting and where it comes from: flag, ``PLIMSOLL_*``, profile, ``[tool.plimsoll]``, user file, default.

    ``home`` is always an absolute path; so is ``url`` when it names a folder. Ports are ints.

    Args:
        name: ``url``, ``home``, ``host``, ``port``, ``serving_port``, ``executor``, ``ray_address``, ``capture`` or ``keep_deleted``.
        flag: what the command line gave, or None.
        project: the project's folder, or None outside of one.
        profile: name of a profile; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: there is no such setting, or its value makes no sense; the message names its origin.
        NotFound: the project declares no such profile.
    """
    if name not in SETTINGS:
        raise InvalidInput(f"There is no setting {name!r}.", nearest(name, SETTINGS))
    variable = f"PLIMSOLL_{name.upper()}"
    own_file = user_file()
    named, content = chosen_profile(profile, project)
    value: Any
    if flag is not None:
        value, origin, root = flag, f"flag --{name.replace('_', '-')}", Path.cwd()
    elif os.environ.get(variable):
        value, origin, root = os.environ[variable], f"environment variable {variable}", Path.cwd()
    elif content is not None and project is not None and name in content.settings:
        value, origin, root = content.settings[name], f"profile {named} in {project / PROJECT_FILE}", project
    elif project is not None and name in (declared := _declared(_read_toml(project / PROJECT_FILE))):
        value, origin, root = declared[name], f"[tool.plimsoll] in {project / PROJECT_FILE}", project
    elif own_file.is_file() and name in (chosen := _user_settings(own_file)):
        value, origin, root = chosen[name], f"user file {own_file}", Path.home()
    elif name == "url":
        home, origin = setting("home", None, project, profile)
        return home, f"home ({origin})"
    else:
        value, origin, root = SETTINGS[name], "default", project or Path.cwd()
    return _checked_setting(name, value, origin, root), origin


def load_object(project: Path, ref: str) -> Any:
    """Import a file of the project as a normal module and return a name of it.

    The project's folder becomes the first on ``sys.path``, so ``examples/flights/pipeline.py`` is the module
    ``examples.flights.pipeline``, also without ``__init__.py``, and ``src/flights/pipeline.py`` is ``flights.pipeline``, as it
    is for whoever has installed it. As always in Python a module is imported once a process.

    Args:
        project: the project's folder.
        ref: ``path.py:name``, the path relative to the project, with ``/``; or ``module:name``.

    Raises:
        InvalidInput: the reference is malformed or leaves the project, or the module raises while it is imported; the
            message shows the exception.
        NotFound: the file or the name in it does not exist.
    """
    text, _, name = pipeline_ref(ref, "In the project").partition(":")
    root = project.resolve()
    path = (root / text).resolve()
    if not path.is_relative_to(root) or Path(text).is_absolute():
        raise InvalidInput(f"The path {text!r} leaves the project {root}.", "Give a path inside the project, relative to it.")
    if not path.is_file():
        near = [str(found.relative_to(root)) for found in root.glob(f"{Path(text).parent}/*.py")] if ".." not in text else []
        raise NotFound(f"There is no file {text!r} in the project {root}.", nearest(text, near))
    module = _import(root, path)
    if not hasattr(module, name):
        # What it has imported is hardly meant.
        names = {other: value for other, value in vars(module).items() if not other.startswith("_") and not inspect.ismodule(value)}
        own = [other for other, value in names.items() if getattr(value, "__module__", module.__name__) == module.__name__]
        raise NotFound(f"{text} has no {name!r}.", nearest(name, own))
    return getattr(module, name)


def _import(root: Path, path: Path) -> Any:
    base = _base(root, path)
    parts = path.relative_to(base).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
    if any("." in part for part in parts):
        raise InvalidInput(f"{path.relative_to(root)} cannot be imported: a name on the way has a dot.", "Rename it.")
    wanted = [str(root)] if base == root else [str(root), str(base)]
    if sys.path[: len(wanted)] != wanted:
        sys.path[:] = [*wanted, *(entry for entry in sys.path if entry not in wanted)]
    importlib.invalidate_caches()
    name = ".".join(parts)
    try:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Python looks beside a script as well; whatever else has such a name comes first.
            if not _is_beside(path, error.name or "") or str(path.parent) in sys.path:
                raise
            sys.path.append(str(path.parent))
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        inside = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
        at = f" at {Path(inside[-1].filename).relative_to(root)}:{inside[-1].lineno}" if inside else ""
        raise InvalidInput(
            f"Importing {path.relative_to(root)} failed{at}: {type(error).__name__}: {error}",
            "Correct the file; plimsoll imports it as Python would.",
            traceback="".join(traceback.format_exception(error)),
        ) from error
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != path:
        raise InvalidInput(
            f"The name {name!r} of {path.relative_to(root)} is taken by {origin or 'a built-in module'}.",
            "Rename the file, or load it in a fresh process.",
        )
    return module


def _base(root: Path, path: Path) -> Path:
    """Return the folder of the project that a file's module is named from: its own, ``src`` within it, or one that packages lie in.

    The last is so where the file's package is installed from the project itself, or its folder stands on ``sys.path``: what
    is imported by two names is there twice, and nothing of the one is an instance of the other's classes.
    """
    for base in [each for each in reversed(path.parents) if each.is_relative_to(root) and each != root]:
        top = base / path.relative_to(base).parts[0]
        if base == root / "src":
            if (base / "__init__.py").is_file() or _OF_SRC.search(path.read_bytes()):
                return root
            return base
        if str(base) in sys.path and base != Path.cwd():
            return base
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top.name) if top.is_dir() else None
            if spec is not None and str(top) in (spec.submodule_search_locations or ()):
                return base
    return root


def _is_beside(path: Path, missing: str) -> bool:
    top = missing.partition(".")[0]
    return bool(top) and any(each.exists() for each in (path.parent / f"{top}.py", path.parent / top))


def _declared(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``[tool.plimsoll]`` with its keys in their one spelling, what stands in them not yet checked."""
    table = _table(_table(document, "tool", "pyproject.toml"), "plimsoll", "[tool]")
    known = ["name", "models", "serving", "retrain", "environments", "params", "variations", "profiles", "triggers", *SETTINGS]
    return {_known(key, known, "[tool.plimsoll]"): value for key, value in table.items()}


def _section(table: Mapping[str, Any], key: str, kind: str) -> dict[str, Any]:
    """Return a section's tables as records; ``module:Class`` in ``plimsoll.records`` is imported only for a section that is there."""
    if key not in table:
        return {}
    module, _, name = kind.partition(":")
    record, found = getattr(importlib.import_module(f"plimsoll.records.{module}"), name), dict[str, Any]()
    for name, value in _table(table, key, "[tool.plimsoll]").items():
        where = f"[tool.plimsoll.{key}.{name}]"
        check_slug(f"The name in {where}", name)
        found[name] = codec.convert(_with_known_keys(value, record, where), record, where)
    return found


def _by_pipeline(table: Mapping[str, Any], key: str, where: str) -> dict[str, dict[str, Any]]:
    """Return a table whose keys are pipelines and whose values are tables with free keys."""
    found: dict[str, dict[str, Any]] = {}
    for written in (tables := _table(table, key, where)):
        ref = pipeline_ref(written, f"{where[:-1]}.{key}]")
        if ref in found:
            raise InvalidInput(f"{where[:-1]}.{key}] has the pipeline {ref!r} twice.", "Write it once.")
        found[ref] = _table(tables, written, f"{where[:-1]}.{key}]")
    return found


def _variations(table: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    found = {}
    for ref, sets in _by_pipeline(table, "variations", "[tool.plimsoll]").items():
        where = f'[tool.plimsoll.variations."{ref}"]'
        for name in sets:
            check_slug(f"The variation in {where}", name)
            if name == "all":
                raise InvalidInput(f"A variation in {where} has the name 'all', which stands for all of them.", "Choose another name.")
        found[ref] = {name: _table(sets, name, where) for name in sets}
    return found


def _profiles(table: Mapping[str, Any]) -> dict[str, Profile]:
    found = {}
    for name in (tables := _table(table, "profiles", "[tool.plimsoll]")):
        where = f"[tool.plimsoll.profiles.{name}]"
        check_slug(f"The name in {where}", name)
        keys = _table(tables, name, "[tool.plimsoll.profiles]")
        content = {_known(key, ["params", *SETTINGS], where): value for key, value in keys.items()}
        settings = {key: value for key, value in content.items() if key != "params"}
        found[name] = Profile(settings=settings, params=_by_pipeline(content, "params", where))
    return found


def _checked_trigger(table: ProjectTable, name: str, rule: TriggerRule) -> TriggerRule:
    """Return a rule with its pipeline in its one spelling and ``all`` variations named; what it names is declared."""
    where = f"[tool.plimsoll.triggers.{name}]"
    ref = pipeline_ref(rule.pipeline, where)
    known = table.variations.get(ref, {})
    for variation in rule.variations:
        if not known or variation not in (*known, "all"):
            raise InvalidInput(f"{where} has the variation {variation!r}, which {ref} has not.", nearest(variation, known))
    if rule.profile and rule.profile not in table.profiles:
        raise InvalidInput(f"{where} has the profile {rule.profile!r}, which is not declared.", nearest(rule.profile, table.profiles))
    for model in table.retrain if rule.on == "alert" else ():
        if (
            rule.model in ("", model)
            and (purpose := table.models.get(model))
            and purpose.pipeline
            and pipeline_ref(purpose.pipeline) == ref
        ):
            raise InvalidInput(
                f"An alert of {model} would run {ref} twice: [tool.plimsoll.retrain.{model}] does so as well as {where}.",
                "Keep the policy, which also proposes the version, or let the trigger run something else.",
            )
    variations = tuple(known) if "all" in rule.variations else rule.variations
    return replace(rule, pipeline=ref, variations=variations)


def pipeline_ref(written: str, where: str = "The pipeline") -> str:
    """Return a reference to a pipeline in its one spelling, so that two of them can be compared.

    Args:
        written: ``path.py:name``, perhaps with ``./`` before it, or ``module:name`` as an import would name the file.
        where: how the error names its place.

    Raises:
        InvalidInput: it is no such reference.
    """
    text, _, name = written.partition(":")
    if all(part.isidentifier() for part in text.split(".")) and not text.endswith(".py"):
        text = f"{text.replace('.', '/')}.py"
    if not text.endswith(".py") or not name.isidentifier():
        raise InvalidInput(f"{where}: {written[:200]!r} is not a reference to code.", "Write path.py:name, such as pipeline.py:train.")
    return f"{PurePosixPath(text)}:{name}"


def _with_known_keys(value: Any, record: Any, where: str) -> Any:
    """Spell a table's keys as the record does, all the way down; tables with free keys (``known_at``) stay as they are."""
    if not isinstance(value, dict):
        return value
    hints, result = get_type_hints(record), {}
    names = [field.name for field in fields(record)]
    for written, inner in value.items():
        name = _known(written, names, where)
        if name in result:
            raise InvalidInput(f"{where} has the key {name!r} twice.", "Write it once, with - or with _.")
        hint = hints[name]
        elements = [argument for argument in get_args(hint) if is_dataclass(argument)]
        if is_dataclass(hint):
            inner = _with_known_keys(inner, hint, f"{where[:-1]}.{written}]")
        elif elements and isinstance(inner, list):
            inner = [_with_known_keys(item, elements[0], f"{where[:-1]}.{written}]") for item in inner]
        result[name] = inner
    return result


def _known(written: str, names: Iterable[str], where: str) -> str:
    name = written.replace("-", "_")
    if name not in (known := list(names)):
        raise InvalidInput(f"{where} has the unknown key {written!r}.", nearest(name, known))
    return name


def nearest(name: str, known: Iterable[str], otherwise: str = "Check the spelling.") -> str:
    """Return a remedy for a name that is not known: the ones that look like it, else the first that there are.

    Args:
        name: what was written.
        known: what may be written.
        otherwise: the remedy when nothing may.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There are: {', '.join(names[:20])}." if names else otherwise


def _table(parent: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise InvalidInput(f"The key {key!r} in {where} is not a table.", f"Write it as a table, such as [{key}].")
    return value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "Make a project with: plimsoll init") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}.", "Correct the file.") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error


def user_file() -> Path:
    """Return the path of the user's own settings, which need not exist."""
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(folder) / "plimsoll.toml"


def _user_settings(path: Path) -> dict[str, Any]:
    return {_known(key, SETTINGS, str(path)): value for key, value in _read_toml(path).items()}


def _checked_setting(name: str, value: Any, origin: str, root: Path) -> str | int:
    check: Callable[[str, Any, str], str | int] = _port if name.endswith("port") else _plain_text
    checked = check(name, value, origin)
    if name == "home" or (name == "url" and "://" not in str(checked) and not re.match(r"[\w.-]+:\d+(/|$)", str(checked))):
        return str(Path(os.path.abspath(root / Path(str(checked)).expanduser())))
    if name == "url" and not str(checked).startswith(("http://", "https://")):
        raise InvalidInput(f"The url {checked!r} ({origin}) has no scheme that is known.", "Use http://, https:// or a folder's path.")
    if name == "executor" and checked not in get_args(ExecutorName):
        raise InvalidInput(f"There is no executor {checked!r} ({origin}).", nearest(str(checked), get_args(ExecutorName)))
    if name == "capture" and checked not in CAPTURES:
        raise InvalidInput(f"The setting capture ({origin}) is {checked!r}.", f"Use one of: {', '.join(CAPTURES)}.")
    if name == "keep_deleted":
        try:
            clock.seconds_of(str(checked))
        except ValueError:
            raise InvalidInput(f"The setting keep_deleted ({origin}) is {checked!r}.", "Use a time such as 30d or 12h.") from None
    return checked


def _plain_text(name: str, value: Any, origin: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InvalidInput(f"The setting {name} ({origin}) is {value!r}, not text.", "Give a text that is not empty.")
    return value


def _port(name: str, value: Any, origin: str) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 65535:
        raise InvalidInput(f"The setting {name} ({origin}) is {value!r}, not a port.", "Give a whole number from 0 to 65535.")
    return number
