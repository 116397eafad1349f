"""What ``run``, ``submit`` and their like are asked to run, read from their arguments in one way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from plimsoll import codec
from plimsoll.cli.output import say
from plimsoll.data.project import chosen_profile, find_project, load_object, read_project
from plimsoll.data.refs.pipeline import pipeline_in
from plimsoll.errors import InvalidInput, NotFound, PlimsollError
from plimsoll.pipelines.settled import Settled, settle, typed_params, variations
from plimsoll.pipelines.step import is_pipeline
from plimsoll.records.pipelines.part import NO_PART, ExecutorName, PartAsked


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run is told beside its pipeline, wherever it is to run.

    Args:
        set: a parameter as ``name=value``, where the value is JSON or plain text; may be given several times.
        variation: name of a declared set of parameters, or ``all``; may be given several times, each is a run of its own.
        profile: name of a declared profile: settings and parameters.
        experiment: groups runs; the pipeline's name unless given.
        executor: where steps run: each in a process of its own, in the run's, or on a Ray cluster; the setting unless given.
        until: a step; it and what it needs are run, and nothing after it.
        from_: a step; it and all that depends on it are computed anew, with what they need of the others.
        only: a step; it alone is computed anew, from results that are in the cache.
    """

    set: Annotated[list[str] | None, Parameter(negative=())] = None
    variation: Annotated[list[str] | None, Parameter(negative=())] = None
    profile: str | None = None
    experiment: str = ""
    executor: ExecutorName | None = None
    until: str = ""
    from_: Annotated[str, Parameter(name="--from")] = ""
    only: str = ""


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
    #: Groups the runs; empty takes the pipeline's name.
    experiment: str = ""
    #: Which steps are run.
    part: PartAsked = NO_PART
    #: Where they run; None takes what the settings say.
    executor: ExecutorName | None = None

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


def asked(pipeline: str | None, told: Told) -> Asked:
    """Return what a command line asks for, checked as far as that goes without importing the pipeline.

    Args:
        pipeline: ``path.py:name`` or ``module:name``; ``folder:name`` or ``name`` of the one file there or in the project which has
            it; None takes the pipeline of the project's only model.
        told: what else it says; without a profile, ``PLIMSOLL_PROFILE`` names it.

    Raises:
        NotFound: there is no project, or nothing of such a name is declared, or in the folder.
        InvalidInput: a parameter is not written as ``name=value``.
    """
    project = find_project(Path.cwd())
    if pipeline is None:
        ref = _only_pipeline(project)
    else:
        project, ref = _located(project, pipeline)
    return Asked(
        project=project,
        ref=ref,
        params=parameters(told.set or ()),
        profile=chosen_profile(told.profile, project)[0],
        variations=variations(read_project(project), ref, told.variation) if told.variation else ("",),
        experiment=told.experiment,
        part=PartAsked(until=told.until, from_=told.from_, only=told.only),
        executor=told.executor,
    )


def _only_pipeline(project: Path) -> str:
    refs = {purpose.pipeline for purpose in read_project(project).models.values() if purpose.pipeline}
    if len(refs) != 1:
        raise NotFound(f"The project declares {len(refs)} pipelines.", "Name one: plimsoll run path.py:name")
    return refs.pop()


def _located(project: Path, written: str) -> tuple[Path, str]:
    """Return the project and the reference of a pipeline; work in another project's folder when it is there."""
    found, ref = pipeline_in(project, written, Path.cwd())
    if found != project:
        named = os.path.relpath(found)
        # Settings, home and relative paths are those of the project, as if one had gone there.
        os.chdir(found)
        say(f"{named} is a project of its own. Look at its runs from there: cd {named}")
    return found, ref


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
