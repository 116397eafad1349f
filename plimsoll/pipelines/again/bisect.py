"""Which difference between two runs moved a metric, found by running the first with differences of the second.

What can be taken from one run into the other is a parameter, an environment variable, a package, a definition of the code, or a file, as
git and the stores have them for both. Each rerun uses the home's cache, so steps that a difference does not reach are not computed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plimsoll.errors import Internal, InvalidInput, Unavailable
from plimsoll.pipelines.again.candidates import Candidate, candidates, left_out, normal, packages_between, reached, variables
from plimsoll.pipelines.again.checkout import mixed, repository, write_code
from plimsoll.pipelines.again.rerun import (
    Asked,
    bring_files,
    entry_of,
    module_paths,
    parts_of,
    read_by,
    run_again,
    value_of,
    working_folder,
)
from plimsoll.pipelines.again.smallest import Search, Trial, same_value
from plimsoll.pipelines.again.surroundings import Environments
from plimsoll.pipelines.history.compare import packages_of
from plimsoll.records.pipeline import KeyPart, ListSteps
from plimsoll.records.pipelines.history import CompareRuns, RunComparison
from plimsoll.records.request import Json
from plimsoll.records.run import Run
from plimsoll.store.contracts import Blobs, Do


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """Which differences moved a metric."""

    #: The metric.
    metric: str
    #: Its value in the first run, run again.
    old: float
    #: Its value in the second run, run again.
    new: float
    #: The answer in one line.
    summary: str
    #: The smallest set of differences that takes the metric from ``old`` to ``new``.
    guilty: tuple[Candidate, ...]
    #: Nothing can be left out of it; else the search ended at its limit.
    complete: bool
    #: Every rerun, in order.
    trials: tuple[Trial, ...]
    #: Steps that the reruns computed, and those that came from the cache.
    computed: int
    reused: int
    #: What else is to be known, one sentence each.
    notes: tuple[str, ...]
    #: Differences that cannot be taken from one run into the other, and why.
    left_out: tuple[str, ...]


def bisect(
    old: str, new: str, metric: str = "", *, do: Do, blobs: Blobs, project: Path, home: str, say: Callable[[str], None]
) -> Bisection:
    """Find which differences between two runs moved a metric.

    Nothing that is there is changed but the home, which gets the reruns; a process that is killed leaves a folder for temporary files.

    Args:
        old: id of the first run, or the beginning of it.
        new: id of the second run, or the beginning of it.
        metric: the metric; empty takes the only one that differs.
        do: the door.
        blobs: where the runs' changes are.
        project: folder of the project, in the git repository that has both commits.
        home: home folder or server that the reruns go to.
        say: gets one line for each rerun.

    Raises:
        NotFound: there is no such run, no repository, or not its commit.
        InvalidInput: the runs are of different pipelines, no metric differs, nothing can be taken over, or the two runs do not give
            their metric again.
    """
    compared = do(CompareRuns(old=old, new=new))
    first, second = compared.old, compared.new
    if (entry := entry_of(first)) != entry_of(second):
        raise InvalidInput(f"The runs are of different pipelines: {entry} and {entry_of(second)}.", "Name two runs of one pipeline.")
    name = _metric(compared, metric)
    root = repository(project)
    with tempfile.TemporaryDirectory(prefix="plimsoll-bisect-") as made:
        folder = Path(made)
        parts = [parts_of(do(ListSteps(run_id=run.id)), do) for run in (first, second)]
        trees = [folder / "old", folder / "new"]
        places = [_written(run, *each, project, blobs) for run, each in zip((first, second), zip(trees, parts, strict=True), strict=True)]
        environments, refused = _environments(compared, folder / "environments", blobs, say)
        names = [each.name for each in packages_between(compared) if each.name not in refused]
        found = candidates(compared, trees[0], trees[1], names)
        untested = left_out(compared, found, refused)
        if not found:
            reasons = "; ".join(untested) or "the runs have the same parameters and code"
            raise InvalidInput(f"Nothing can be taken from one run into the other: {reasons}.", "Compare them with: plimsoll runs diff")
        again = _Again(compared, found, folder, home, name, (root, *places[1]), environments if names else None)

        def run_one(taken: frozenset[int]) -> Trial:
            trial = again.trial(taken)
            value = f"{name} = {trial.value:.6g}" if trial.value is not None else f"unresolved, {trial.error}"
            say(f"  {', '.join(trial.taken) or 'nothing taken over'}: {value}")
            return trial

        every = frozenset(range(len(found)))
        before, after = run_one(frozenset()), run_one(every)
        values = _ends(compared, name, before, after, untested)
        search = Search(run_one, values[1])
        search.known |= {frozenset(): before, every: after}
        likely = reached(found, compared, [*parts[0], *parts[1]], places[1][0].as_posix())
        guilty = search.smallest(likely, every - likely)
    return _told(compared, name, values, found, guilty, search, untested)


def _written(run: Run, tree: Path, parts: Sequence[KeyPart], project: Path, blobs: Blobs) -> tuple[Path, Path]:
    """Write the code of a run with the files that it read; return the project and the folder to run in as paths within."""
    inside = write_code(run.code, project, tree, blobs)
    read = read_by(parts)
    bring_files(read, project, inside, blobs)
    return inside.relative_to(tree), working_folder(read, inside).relative_to(tree)


def _environments(compared: RunComparison, folder: Path, blobs: Blobs, say: Callable[[str], None]) -> tuple[Environments, dict[str, str]]:
    """Return what installs the packages that differ, and for each that cannot be had in both versions why."""
    names = {each.name: normal(each.name) for each in packages_between(compared)}
    old, new = (packages_of(run, blobs) for run in (compared.old, compared.new))
    environments = Environments(old, new, names.values(), folder)
    if not names:
        return environments, {}
    if not all(old.get(each) != new.get(each) for each in names.values()):
        return environments, dict.fromkeys(names, "The run's packages were not recorded, or it is none that an index has.")
    say(f"installing the packages of either run: {', '.join(names)}")
    try:
        environments.python(())
        environments.python(set(names.values()))
    except Unavailable as error:
        return environments, dict.fromkeys(names, error.fact)
    return environments, {}


class _Again:
    """Runs the first run again with files, variables, packages and parameters of the second."""

    def __init__(
        self,
        compared: RunComparison,
        found: Sequence[Candidate],
        folder: Path,
        home: str,
        metric: str,
        repository: tuple[Path, Path, Path],
        environments: Environments | None,
    ) -> None:
        self._old, self._new = compared.old, compared.new
        self._candidates, self._folder, self._home, self._metric = found, folder, home, metric
        #: Top of the repository, and the project and the folder to run in as paths within it.
        self._root, self._inside, self._where = repository
        self._variables = {each.name: each for each in variables(compared)}
        self._environments = environments
        self._count = 0

    def trial(self, taken: frozenset[int]) -> Trial:
        """Make one rerun; a mixture that does not run is told in its error."""
        chosen = [self._candidates[index] for index in sorted(taken)]
        self._count += 1
        told = tuple(each.name for each in chosen)
        try:
            return self._run(chosen, told, self._folder / f"mix-{self._count}")
        except (Internal, Unavailable) as error:  # the process died, or there is no such environment
            return Trial(taken=told, value=None, error=error.fact)

    def _run(self, chosen: Sequence[Candidate], told: tuple[str, ...], tree: Path) -> Trial:
        names = {kind: {each.name for each in chosen if each.kind == kind} for kind in ("param", "variable", "package")}
        python = {} if self._environments is None else {"python": self._environments.python(set(map(normal, names["package"])))}
        mixed(self._folder / "old", self._folder / "new", _files(chosen), tree)
        params: dict[str, Json] = {name: value for name, value in self._old.params.items() if name not in names["param"]}
        params |= {name: value for name, value in self._new.params.items() if name in names["param"]}
        values = {
            name: value_of(each.new, each.new_digest)[1] if name in names["variable"] else value_of(each.old, each.old_digest)[1]
            for name, each in self._variables.items()
        }
        asked = Asked(
            url=self._home, project=str(tree / self._inside), entry=entry_of(self._old), params=params,
            experiment=f"{self._old.experiment}-bisect", tags={"bisect": f"{self._old.id} {self._new.id}"},
            answer=str(tree.with_suffix(".json")), folder=str(tree / self._where), variables=values,
        )  # fmt: skip
        try:
            found = run_again(asked, paths=module_paths(self._root, tree), **python)
        finally:
            # Copies of a large project would fill the disk.
            shutil.rmtree(tree)
        states = [step.state for step in found.steps]
        value = None if found.error else found.metrics.get(self._metric)
        error = found.error.partition("\n")[0][:200] or ("" if value is not None else f"it gave no {self._metric}")
        return Trial(taken=told, value=value, error=error, computed=states.count("ran"), reused=states.count("hit"))


def _files(chosen: Sequence[Candidate]) -> Mapping[str, set[str] | None]:
    """Return what of which file is taken: labels of definitions, or None for all of it."""
    found: dict[str, set[str] | None] = {each.name: None for each in chosen if each.kind == "file"}
    for each in chosen:
        path, label = each.place
        if label:
            labels = found.setdefault(path, set())
            assert labels is not None
            labels.add(label)
    return found


def _metric(compared: RunComparison, metric: str) -> str:
    values = {change.name: (change.old, change.new) for change in compared.metrics}
    both = {name for name, (old, new) in values.items() if old is not None and new is not None}
    moved = sorted(name for name in both if not same_value(*values[name]))
    if metric:
        if metric not in both:
            raise InvalidInput(f"The runs do not both have the metric {metric!r}.", f"They have: {', '.join(sorted(both)) or 'none'}.")
        if metric not in moved:
            raise InvalidInput(
                f"The metric {metric} is {values[metric][0]:g} in both runs.", f"Those that differ: {', '.join(moved) or 'none'}."
            )
        return metric
    if len(moved) != 1:
        said = f"{len(moved)} metrics differ: {', '.join(moved)}" if moved else "no metric differs"
        raise InvalidInput(f"Between these runs {said}.", "Name one with --metric." if moved else "Name two runs that differ.")
    return moved[0]


def _ends(compared: RunComparison, name: str, before: Trial, after: Trial, untested: tuple[str, ...]) -> tuple[float, float]:
    """Return the metric of either run, made of what can be had; when that cannot be run or does not differ, it is refused."""
    values = []
    for trial, run in ((before, compared.old), (after, compared.new)):
        if trial.value is None:
            raise InvalidInput(f"Run {run.id[:16]} cannot be made again: {trial.error}.", f"Try: plimsoll reproduce {run.id[:16]}")
        values.append(trial.value)
    if same_value(*values):
        reasons = "; ".join(untested) or "what else it read has changed since"
        fact = f"With what can be had of either run {name} is {values[0]:g}: what moved it cannot be taken over: {reasons}."
        raise InvalidInput(fact, f"Look at: plimsoll runs diff {compared.old.id[:16]} {compared.new.id[:16]}")
    return values[0], values[1]


def _told(
    compared: RunComparison,
    name: str,
    values: tuple[float, float],
    found: Sequence[Candidate],
    guilty: frozenset[int],
    search: Search,
    untested: tuple[str, ...],
) -> Bisection:
    trials = tuple(search.known.values())
    return Bisection(
        metric=name,
        old=values[0],
        new=values[1],
        summary=f"{name} {values[0]:.6g} -> {values[1]:.6g}: {_answer(found, guilty, search, values[0])}",
        guilty=tuple(found[index] for index in sorted(guilty)),
        complete=search.complete,
        trials=trials,
        computed=sum(trial.computed for trial in trials),
        reused=sum(trial.reused for trial in trials),
        notes=tuple(_notes(compared, name, values, found, guilty, search)),
        left_out=untested,
    )


def _answer(found: Sequence[Candidate], guilty: frozenset[int], search: Search, old: float) -> str:
    if len(guilty) == 1:
        return f"{found[min(guilty)].text} moved it"
    alone = {index: search.known.get(frozenset({index})) for index in sorted(guilty)}
    # What moves it a part of the way is no answer by itself, but says more than that all are needed.
    partly = {
        index: trial.value
        for index, trial in alone.items()
        if trial is not None and trial.value is not None and not same_value(trial.value, old)
    }
    texts = [found[index].text + (f" (alone: {partly[index]:.6g})" if index in partly else "") for index in alone]
    many = f"{len(guilty)} differences together" if search.complete else f"at most these {len(guilty)} differences together"
    return f"{many} moved it{'' if partly else ', none of them alone'}: {'; '.join(texts)}"


def _notes(
    compared: RunComparison, name: str, values: tuple[float, float], found: Sequence[Candidate], guilty: frozenset[int], search: Search
) -> list[str]:
    notes = []
    for run, value, side in ((compared.old, values[0], "old"), (compared.new, values[1], "new")):
        recorded = next(getattr(change, side) for change in compared.metrics if change.name == name)
        if not same_value(recorded, value):
            notes.append(f"Run {run.id[:16]} gave {name} {recorded:.6g} then; with what can be had of it, it gives {value:.6g}.")
    others = [min(taken) for taken in search.known if len(taken) == 1 and taken != guilty and search.reaches(taken)]
    notes += [f"The same is done by this alone: {found[index].text}." for index in others]
    for index in sorted(guilty) if len(guilty) > 1 else ():
        without = search.known.get(guilty - {index})
        if without is not None and without.value is None:
            notes.append(f"Without {found[index].name} the others do not run: {without.error}")
    if not search.complete:
        notes.append(f"The search ended after {len(search.known)} reruns; fewer differences may do it.")
    return notes
