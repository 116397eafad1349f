"""What ``run``, ``submit`` and their like are asked to run, read from their arguments in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll import codec
from plimsoll.data.project import chosen_profile, find_project, load_object, read_project
from plimsoll.errors import InvalidInput, NotFound, PlimsollError
from plimsoll.pipelines.settled import Settled, settle, typed_params, variations
from plimsoll.pipelines.step import is_pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A pipeline, and what it was asked to run with."""

    #: Folder of the project.
    project: Path
    #: The pipeline, as ``path.py:name``.
    ref: str
    #: Parameters of ``--set``, as JSON has them.
    params: dict[str, Any]
    #: Name of the chosen profile; empty for none.
    profile: str
    #: Names of the variations; ``("",)`` for one run without.
    variations: tuple[str, ...]

    def load(self) -> Callable[..., Any]:
        """Import the pipeline.

        Raises:
            NotFound: there is no such file or name.
            InvalidInput: it is no pipeline, or the file cannot be imported.
        """
        function: Callable[..., Any] = load_object(self.project, self.ref)
        if not is_pipeline(function):
            raise InvalidInput(f"{self.ref} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
        return function

    def settled(self, function: Callable[..., Any]) -> dict[str, Settled]:
        """Return variation -> what its run gets; the name is empty for a run without one.

        Args:
            function: what :meth:`load` gave.

        Raises:
            InvalidInput: a parameter does not fit its annotation.
        """
        given = typed_params(function, self.params)
        return {name: settle(function, given, self.project, self.ref, variation=name, profile=self.profile) for name in self.variations}


def asked(pipeline: str | None, set: Iterable[str] | None, variation: Iterable[str] | None, profile: str | None) -> Asked:
    """Return what a command line asks for, checked as far as that goes without importing the pipeline.

    Args:
        pipeline: ``path.py:name``; None takes the pipeline of the project's only model.
        set: parameters as ``name=value``.
        variation: names of variations, or ``all``.
        profile: name of a profile; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        NotFound: there is no project, or nothing of such a name is declared.
        InvalidInput: a parameter is not written as ``name=value``.
    """
    project = find_project(Path.cwd())
    table = read_project(project)
    refs = {purpose.pipeline for purpose in table.models.values() if purpose.pipeline}
    if pipeline is None and len(refs) != 1:
        raise NotFound(f"The project declares {len(refs)} pipelines.", "Name one: plimsoll run path.py:name")
    ref = pipeline or refs.pop()
    names = variations(table, ref, variation) if variation else ("",)
    return Asked(project=project, ref=ref, params=parameters(set or ()), profile=chosen_profile(profile, project)[0], variations=names)


def parameters(pairs: Iterable[str]) -> dict[str, Any]:
    """Return parameters that were written as ``name=value``, where the value is JSON or plain text.

    Args:
        pairs: such as ``depth=6`` or ``months=[1, 2]``.

    Raises:
        InvalidInput: one has no ``=``, or its name is no name in Python.
    """
    found = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name.isidentifier():
            raise InvalidInput(f"{pair!r} is no parameter.", "Write --set name=value")
        try:
            found[name] = codec.from_json(text, object)
        except PlimsollError:
            found[name] = text
    return found
