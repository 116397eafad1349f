"""What makes two runs different: data, parameters, code or environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plimsoll import codec
from plimsoll.errors import PlimsollError
from plimsoll.pipelines.history.differences import compare_steps, only_here
from plimsoll.pipelines.history.past import Past
from plimsoll.pipelines.history.why import merged, told
from plimsoll.records.pipeline import StepRecord
from plimsoll.records.pipelines.history import Category, Change, CompareRuns, Difference, RunComparison, StepChange
from plimsoll.records.run import Run, RunDetail
from plimsoll.store.contracts import Blobs, Context

#: In the order in which they are named.
_CATEGORIES: tuple[Category, ...] = ("data", "parameters", "code", "environment", "unknown")


def compare_runs(request: CompareRuns, context: Context) -> RunComparison:
    """Say what makes two runs different: the differences that explain all others, and what else was recorded.

    Raises:
        NotFound: there is no such run.
        InvalidInput: several runs begin with an id.
    """
    past = Past(context)
    old, new = past.detail(request.old), past.detail(request.new)
    steps, differences = _steps(past, old.run, new.run)
    blobs = context.stores.blobs
    packages = changes(packages_of(old.run, blobs), packages_of(new.run, blobs))
    params = changes(old.run.params, new.run.params)
    data = changes({each.name: each.digest for each in old.inputs}, {each.name: each.digest for each in new.inputs})
    keyed = past.steps(old.run.id) and past.steps(new.run.id)
    if not keyed:
        differences = _recorded(old, new, params, data, packages)
    causes = tuple(category for category in _CATEGORIES if any(each.category == category for each in differences))
    metrics = [{metric.name: metric.last for metric in detail.metrics} for detail in (old, new)]
    return RunComparison(
        old=old.run,
        new=new.run,
        causes=causes,
        summary=_summary(causes, differences, bool(keyed)),
        differences=tuple(differences),
        params=params,
        data=data,
        packages=packages,
        metrics=tuple(Change(name=name, old=metrics[0].get(name), new=metrics[1].get(name)) for name in sorted({*metrics[0], *metrics[1]})),
        steps=tuple(steps),
    )


def _steps(past: Past, old: Run, new: Run) -> tuple[list[StepChange], list[Difference]]:
    before, after = past.steps(old.id), past.steps(new.id)
    changes: list[StepChange] = []
    found: list[Difference] = []
    paired = set()
    for record in after:
        like = past.like(old.id, record)
        changes.append(_step(record.name, like, record))
        if like is None:
            found += only_here(past, record, old.id, gone=False)
            continue
        paired.add(like.index)
        local = compare_steps(past, like, record)
        found += [replace(root, via=()) for root in local.roots]
    for record in before:
        if record.index not in paired:
            changes.append(_step(record.name, record, None))
            found += only_here(past, record, new.id, gone=True)
    return changes, merged(found)


def _step(name: str, old: StepRecord | None, new: StepRecord | None) -> StepChange:
    keys = [None if step is None else step.key for step in (old, new)]
    outputs = [None if step is None or step.output is None else step.output.digest for step in (old, new)]
    return StepChange(
        name=name,
        old=None if old is None else old.state,
        new=None if new is None else new.state,
        same_key=None if None in keys else keys[0] == keys[1],
        same_output=None if None in outputs else outputs[0] == outputs[1],
    )


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the values that two mappings do not share, by name.

    Args:
        old: values by name.
        new: the same of the later run.
    """
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name) or (name in old) != (name in new))
    return tuple(Change(name=name, old=old.get(name), new=new.get(name)) for name in names)


def packages_of(run: Run, blobs: Blobs) -> dict[str, str]:
    """Return the exact versions of a run's packages by name, ``python`` among them; empty when they were not recorded.

    Args:
        run: the run.
        blobs: where its environment is stored.
    """
    if run.environment is None:
        return {}
    try:
        return codec.from_json(blobs.get(run.environment), dict[str, str], "The run's environment")
    except PlimsollError:
        return {}  # pruned or damaged: what is not known is not compared


def _recorded(
    old: RunDetail, new: RunDetail, params: tuple[Change, ...], data: tuple[Change, ...], packages: tuple[Change, ...]
) -> list[Difference]:
    """Return what was recorded of runs that have no steps, of which nobody knows what their results depend on."""
    rows: list[tuple[Category, str, tuple[Change, ...]]] = [
        ("parameters", "param", params), ("data", "input", data), ("environment", "environment", packages),
    ]  # fmt: skip
    found = [
        Difference(
            category=category,
            kind=kind,
            name=change.name,
            old=None if change.old is None else str(change.old),
            new=None if change.new is None else str(change.new),
            text=f"{kind if kind != 'environment' else ''} {change.name}: {change.old} -> {change.new}".strip(),
        )
        for category, kind, listed in rows
        for change in listed
    ]
    codes = [(run.code.commit, run.code.dirty_diff) for run in (old.run, new.run)]
    if codes[0] != codes[1]:
        texts = [code_text(run) for run in (old.run, new.run)]
        found.append(Difference(category="code", kind="commit", name="git", old=texts[0], new=texts[1], text=f"{texts[0]} -> {texts[1]}"))
    return found


def code_text(run: Run) -> str:
    """Return in a few words which code a run executed.

    Args:
        run: the run.
    """
    commit = "no commit" if run.code.commit is None else f"commit {run.code.commit[:10]}"
    return commit if run.code.dirty_diff is None else f"{commit} with changes {run.code.dirty_diff[:10]}"


def _summary(causes: tuple[Category, ...], differences: list[Difference], keyed: bool) -> str:
    if not causes:
        return "nothing that a step depends on: same data, parameters, code and environment" if keyed else "nothing that was recorded"
    names = list(causes)
    return f"{', '.join(names[:-1])}{' and ' if names[:-1] else ''}{names[-1]}: {told(differences)}"
