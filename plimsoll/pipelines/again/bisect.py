"""Which difference between two runs moved a metric, found by running the first with differences of the second.

What can be taken from one run into the other is a parameter, or a file of the project as git has it for both. Each rerun uses the
home's cache, so steps that a difference does not reach are not computed. Single differences are tried first; when none of
them explains the metric alone, the smallest set that does is found by delta debugging: halves, their complements, and finer
parts, until nothing can be left out.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.again.checkout import files_of, mixed, repository, write_code
from plimsoll.pipelines.again.rerun import Asked, bring_files, entry_of, module_paths, read_by, run_again, value_of, working_folder
from plimsoll.records.pipeline import ListSteps
from plimsoll.records.pipelines.history import CompareRuns, Difference, RunComparison
from plimsoll.records.request import Json
from plimsoll.records.run import Run
from plimsoll.store.contracts import Blobs, Do

#: Reruns that one search may take.
_RERUNS = 100

#: Relative difference up to which two values of a metric are the same.
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A difference that can be taken from one run into the other."""

    #: ``param``, ``variable`` or ``file``.
    kind: str
    #: Name of the parameter or variable, or path of the file in the repository.
    name: str
    #: What it is about, such as ``param depth: 4 -> 6``.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The first run with some differences of the second."""

    #: Names of the differences.
    taken: tuple[str, ...]
    #: The metric; None when the run failed or did not give it.
    value: float | None
    #: Why it failed; empty when it did not.
    error: str = ""


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
    #: The smallest set of differences that takes the metric from ``old`` to ``new``; empty when none was found.
    guilty: tuple[Candidate, ...]
    #: Every rerun, in order.
    trials: tuple[Trial, ...]
    #: Differences that cannot be taken from one run into the other, and why.
    left_out: tuple[str, ...]


class _Search:
    """Runs the first run with sets of differences, each set once."""

    def __init__(self, run: Callable[[frozenset[int]], Trial], target: float) -> None:
        self._run, self._target = run, target
        self.known: dict[frozenset[int], Trial] = {}

    def trial(self, taken: frozenset[int]) -> Trial:
        if taken not in self.known:
            if len(self.known) >= _RERUNS:
                raise InvalidInput(f"{_RERUNS} reruns did not find it.", "Compare runs that differ in less.")
            self.known[taken] = self._run(taken)
        return self.known[taken]

    def reaches(self, taken: frozenset[int]) -> bool:
        """Return whether these differences alone give the second run's value."""
        value = self.trial(taken).value
        return value is not None and same_value(value, self._target)

    def smallest(self, every: frozenset[int]) -> frozenset[int]:
        """Return a set of which nothing can be left out; ``every`` must reach the value."""
        singles = [frozenset({index}) for index in sorted(every)]
        # All of them, also after the first that explains it: the table is half of the answer.
        reached = [single for single in singles if self.reaches(single)]
        if reached:
            return reached[0]
        left, parts = sorted(every), 2
        while len(left) >= 2:
            size = math.ceil(len(left) / parts)
            chunks = [frozenset(left[start : start + size]) for start in range(0, len(left), size)]
            smaller = next((chunk for chunk in chunks if self.reaches(chunk)), None)
            if smaller is not None:
                left, parts = sorted(smaller), 2
                continue
            rest = next((chunk for chunk in chunks if self.reaches(frozenset(left) - chunk)), None) if parts > 1 else None
            if rest is not None:
                left, parts = sorted(set(left) - rest), max(parts - 1, 2)
            elif parts >= len(left):
                break
            else:
                parts = min(len(left), parts * 2)
        return frozenset(left)


def same_value(first: float, second: float) -> bool:
    """Return whether two values of a metric are the same, but for rounding.

    Args:
        first: a value.
        second: another.
    """
    return math.isclose(first, second, rel_tol=_CLOSE, abs_tol=0.0) or (math.isnan(first) and math.isnan(second))


def bisect(
    old: str, new: str, metric: str = "", *, do: Do, blobs: Blobs, project: Path, home: str, say: Callable[[str], None]
) -> Bisection:
    """Find which differences between two runs moved a metric.

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
    name, left_out = _metric(compared, metric), _left_out(compared)
    root = repository(project)
    with tempfile.TemporaryDirectory(prefix="plimsoll-bisect-") as made:
        folder = Path(made)
        places = [_written(run, folder / which, project, do, blobs) for which, run in (("old", first), ("new", second))]
        candidates = _candidates(compared, folder / "old", folder / "new")
        again = _Again(compared, candidates, folder, home, name, (root, *places[1]))

        def run_one(taken: frozenset[int]) -> Trial:
            found = again.trial(taken)
            value = found.error if found.value is None else f"{found.value:.6g}"
            say(f"  {', '.join(found.taken) or 'nothing taken over'}: {name} = {value}")
            return found

        every = frozenset(range(len(candidates)))
        before, after = run_one(frozenset()), run_one(every)
        values = _ends(compared, name, before, after, left_out)
        search = _Search(run_one, values[1])
        search.known |= {frozenset(): before, every: after}
        guilty = tuple(candidates[index] for index in sorted(search.smallest(every)))
    return Bisection(
        metric=name,
        old=values[0],
        new=values[1],
        summary=_summary(name, *values, guilty),
        guilty=guilty,
        trials=tuple(search.known.values()),
        left_out=left_out,
    )


def _written(run: Run, tree: Path, project: Path, do: Do, blobs: Blobs) -> tuple[Path, Path]:
    """Write the code of a run with the files that it read; return the project and the folder to run in as paths within."""
    parts = read_by(do(ListSteps(run_id=run.id)), do)
    inside = write_code(run.code, project, tree, blobs)
    bring_files(parts, project, inside)
    return inside.relative_to(tree), working_folder(parts, inside).relative_to(tree)


class _Again:
    """Runs the first run again with files, variables and parameters of the second."""

    def __init__(
        self,
        compared: RunComparison,
        candidates: Sequence[Candidate],
        folder: Path,
        home: str,
        metric: str,
        repository: tuple[Path, Path, Path],
    ) -> None:
        self._old, self._new = compared.old, compared.new
        self._candidates, self._folder, self._home, self._metric = candidates, folder, home, metric
        #: Top of the repository, and the project and the folder to run in as paths within it.
        self._root, self._inside, self._where = repository
        self._variables = {each.name: each for each in _variables(compared)}
        self._count = 0

    def trial(self, taken: frozenset[int]) -> Trial:
        chosen = [self._candidates[index] for index in sorted(taken)]
        names = {kind: {each.name for each in chosen if each.kind == kind} for kind in ("param", "variable", "file")}
        self._count += 1
        tree = self._folder / f"mix-{self._count}"
        mixed(self._folder / "old", self._folder / "new", names["file"], tree)
        params: dict[str, Json] = {name: value for name, value in self._old.params.items() if name not in names["param"]}
        params |= {name: value for name, value in self._new.params.items() if name in names["param"]}
        variables = {
            name: value_of(each.new, each.new_digest)[1] if name in names["variable"] else value_of(each.old, each.old_digest)[1]
            for name, each in self._variables.items()
        }
        asked = Asked(
            url=self._home, project=str(tree / self._inside), entry=entry_of(self._old), params=params,
            experiment=f"{self._old.experiment}-bisect", tags={"bisect": f"{self._old.id} {self._new.id}"},
            answer=str(self._folder / f"answer-{self._count}.json"), folder=str(tree / self._where), variables=variables,
        )  # fmt: skip
        found = run_again(asked, paths=module_paths(self._root, tree))
        # Copies of a large project would fill the disk.
        shutil.rmtree(tree)
        told = tuple(each.name for each in chosen)
        if found.error:
            return Trial(taken=told, value=None, error=found.error.partition("\n")[0][:200])
        value = found.metrics.get(self._metric)
        return Trial(taken=told, value=value, error="" if value is not None else f"it gave no {self._metric}")


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


def _candidates(compared: RunComparison, old: Path, new: Path) -> list[Candidate]:
    found = [
        Candidate(kind="param", name=change.name, text=f"param {change.name}: {change.old} -> {change.new}") for change in compared.params
    ]
    found += [Candidate(kind="variable", name=each.name, text=each.text) for each in _variables(compared)]
    first, second = files_of(old), files_of(new)
    for name in sorted({*first, *second}):
        what = "is new" if name not in first else "is gone" if name not in second else ""
        if what or first[name].read_bytes() != second[name].read_bytes():
            found.append(Candidate(kind="file", name=name, text=f"file {name} {what or 'changed'}"))
    if not found:
        reasons = "; ".join(_left_out(compared)) or "the runs have the same parameters and code"
        raise InvalidInput(f"Nothing can be taken from one run into the other: {reasons}.", "Compare them with: plimsoll runs diff")
    return found


def _variables(compared: RunComparison) -> list[Difference]:
    """Return the variables that differ and whose values are known on both sides."""
    listed = [each for each in compared.differences if each.kind == "variable"]
    return [each for each in listed if value_of(each.old, each.old_digest)[0] and value_of(each.new, each.new_digest)[0]]


def _left_out(compared: RunComparison) -> tuple[str, ...]:
    """Return the differences of which only one side can be had here, each with what to do."""
    known = _variables(compared)
    return tuple(f"{each.text} ({why})" for each in compared.differences if each not in known and (why := _why_not(each)))


def _why_not(difference: Difference) -> str:
    if difference.kind == "environment":
        return f"install {difference.name} {difference.old} and run it again to see what it does"
    if difference.kind == "variable":
        return "its value is not kept"
    if difference.kind == "file" and Path(difference.name).is_absolute():
        return "it lies outside of the project, and what it held is not kept"
    if difference.kind == "result":
        return "the step gives something else each time"
    return ""


def _ends(compared: RunComparison, name: str, before: Trial, after: Trial, left_out: tuple[str, ...]) -> tuple[float, float]:
    """Return the metric of either run, made of what can be had; when that cannot be run or does not differ, it is refused."""
    values = []
    for trial, run in ((before, compared.old), (after, compared.new)):
        if trial.value is None:
            raise InvalidInput(f"Run {run.id[:16]} cannot be made again: {trial.error}.", f"Try: plimsoll reproduce {run.id[:16]}")
        values.append(trial.value)
    if same_value(*values):
        reasons = "; ".join(left_out) or "what else it read has changed since"
        fact = f"With the files and parameters of either run {name} is {values[0]:g}: what moved it cannot be taken over: {reasons}."
        raise InvalidInput(fact, f"Look at: plimsoll runs diff {compared.old.id[:16]} {compared.new.id[:16]}")
    return values[0], values[1]


def _summary(name: str, old: float, new: float, guilty: tuple[Candidate, ...]) -> str:
    texts = [each.text for each in guilty]
    what = texts[0] if len(texts) == 1 else f"{len(texts)} differences together, {'; '.join(texts)},"
    return f"{name} {old:.6g} -> {new:.6g}: {what} moved it"
