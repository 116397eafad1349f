"""What a run gets when the project has something to say: declared parameters, a profile's, a variation's.

Later ones win: the function's defaults, ``[tool.plimsoll.params]``, the profile's ``params``, the variation, what was asked for.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from plimsoll import codec
from plimsoll.data.project import PROJECT_FILE, ProjectTable, nearest, pipeline_ref, read_project
from plimsoll.errors import InvalidInput, NotFound

#: What stands for every declared variation.
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one run gets."""

    #: Parameters that differ from the function's defaults, with the types of its annotations.
    params: dict[str, Any]
    #: ``variation`` and ``profile``, where there is one.
    tags: dict[str, str]


def settle(
    function: Callable[..., Any], given: Mapping[str, Any], project: Path, ref: str = "", *, variation: str = "", profile: str = ""
) -> Settled:
    """Return what one run of a pipeline gets.

    Args:
        function: the pipeline.
        given: parameters that were asked for, with their types.
        project: folder of the project; without a ``pyproject.toml`` it declares nothing.
        ref: the pipeline as ``path.py:name``; empty takes the file that defines it.
        variation: name of a declared variation; empty for none.
        profile: name of a declared profile; empty for none.

    Raises:
        NotFound: the variation or the profile is not declared.
        InvalidInput: a given or a declared value does not fit the annotation of its parameter, the pipeline lacks a declared one, or the
            project's table is wrong.
    """
    table = _table(project)
    ref = pipeline_ref(ref) if ref else _defined(function, project)
    found, places = dict[str, Any](), dict[str, str]()

    def take(params: Mapping[str, Any], place: str) -> None:
        _check_names(function, params, place)
        found.update(params)
        places.update(dict.fromkeys(params, place))

    if table is not None:
        take(table.params.get(ref, {}), f'[tool.plimsoll.params."{ref}"]')
    if profile:
        profiles = {} if table is None else table.profiles
        if profile not in profiles:
            declare = "Declare [tool.plimsoll.profiles.NAME]."
            raise NotFound(f"The project declares no profile {profile!r}.", nearest(profile, profiles, declare))
        take(profiles[profile].params.get(ref, {}), f'[tool.plimsoll.profiles.{profile}.params."{ref}"]')
    if variation:
        (variation,) = variations(table, ref, [variation])
        assert table is not None
        take(table.variations[ref][variation], f'[tool.plimsoll.variations."{ref}".{variation}]')
    tags = {name: value for name, value in (("variation", variation), ("profile", profile)) if value}
    _check(function, given)
    return Settled(params={**typed_params(function, found, places), **given}, tags=tags)


def variations(table: ProjectTable | None, ref: str, asked: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a pipeline's variations that were asked for, each once, in the order of the asking.

    Args:
        table: what the project declares, or None.
        ref: the pipeline as ``path.py:name``.
        asked: names; ``all`` stands for every declared one.

    Raises:
        NotFound: a name is not declared, or ``all`` is asked for and there is none.
    """
    ref = pipeline_ref(ref) if ref else "A pipeline outside of the project"
    known = {} if table is None else table.variations.get(ref, {})
    declare = f'Declare [tool.plimsoll.variations."{ref}".NAME] with its parameters.'
    found: dict[str, None] = {}
    for name in asked:
        if name != ALL and name not in known:
            raise NotFound(f"{ref} has no variation {name!r}.", nearest(name, known, declare))
        if not known:
            raise NotFound(f"{ref} has no variations.", declare)
        found |= dict.fromkeys(known if name == ALL else [name])
    return tuple(found)


def declared(function: Callable[..., Any], project: Path, asked: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the variations that were asked for, of a pipeline that is at hand; see :func:`variations`.

    Args:
        function: the pipeline.
        project: folder of the project.
        asked: names; ``all`` stands for every declared one.

    Raises:
        NotFound: a name is not declared, or ``all`` is asked for and there is none.
    """
    return variations(_table(project), _defined(function, project), asked)


def typed_params(
    function: Callable[..., Any], params: Mapping[str, Any], places: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Return parameters that came as JSON with the types that the pipeline's annotations ask for.

    JSON has no tuples and no dates, and a list where the default is a tuple would never find an earlier result.

    Args:
        function: a pipeline.
        params: JSON-able values by name; a name the pipeline lacks stays, and is refused when it is traced.
        places: name -> table of ``pyproject.toml`` that it is from.

    Raises:
        InvalidInput: a value does not fit its annotation; the message names the parameter, and its table.
    """
    hints = _hints(function)
    return {name: _typed(name, value, hints[name], places.get(name, "")) if name in hints else value for name, value in params.items()}


def _typed(name: str, value: Any, hint: Any, place: str) -> Any:
    what = f"The parameter {name!r}" + (f" of {place} in {PROJECT_FILE}" if place else "")
    if hint is bool and isinstance(value, str):
        raise InvalidInput(f"{what} is {value[:40]!r}, which is neither true nor false.", "Write true or false.")
    return codec.convert(value, hint, what)


def _check_names(function: Callable[..., Any], params: Mapping[str, Any], place: str) -> None:
    taken = inspect.signature(function).parameters
    unknown = [name for name in params if name not in taken]
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        fact = f"{place} in {PROJECT_FILE} has {unknown[0]!r}, which is no parameter of the pipeline."
        raise InvalidInput(fact, nearest(unknown[0], taken, "It takes none."))


def _check(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse a value that ``--set`` would refuse too. What fits stays as it is, so that the pipeline gets what a plain call gives it."""
    hints = _hints(function)
    taken = inspect.signature(function).parameters
    for name, value in given.items():
        # Only what JSON could say as well: of frames and arrays, Python's own scalars' likes and objects, annotations tell too little.
        if name not in hints or not _is_json(value) or (name in taken and value is taken[name].default):
            continue
        try:
            _typed(name, value, hints[name], "")
        except InvalidInput as error:
            if not isinstance(error.__cause__, TypeError):  # an annotation that cannot be checked
                raise


def _is_json(value: Any) -> bool:
    if type(value) is dict:
        return all(_is_json(key) and _is_json(item) for key, item in value.items())
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_json, value))
    return type(value) in (bool, int, float, str, bytes, type(None))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(inspect.unwrap(function))
    except (NameError, TypeError, AttributeError):
        return {}  # names that only a type checker sees


def _table(project: Path) -> ProjectTable | None:
    return read_project(project) if (project / PROJECT_FILE).is_file() else None


def _defined(function: Callable[..., Any], project: Path) -> str:
    """Return a function as ``path.py:name`` by the file that defines it; empty for a notebook's."""
    plain = inspect.unwrap(function)
    with contextlib.suppress(TypeError):
        source = Path(inspect.getsourcefile(plain) or "").resolve()
        if source.is_relative_to(project.resolve()):
            return f"{source.relative_to(project.resolve()).as_posix()}:{plain.__qualname__}"
    return ""
