"""Why a step has another key than in an earlier run, followed through its inputs to where that begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from plimsoll.pipelines.history.differences import Local, compare_steps
from plimsoll.pipelines.history.past import Past, find_step, short
from plimsoll.records.pipeline import StepRecord
from plimsoll.records.pipelines.history import Difference, ExplainStep, StepExplanation
from plimsoll.store.contracts import Context

#: How many differences the answer in one line names.
_SHOWN = 3

_VERBS = {"ran": "ran", "hit": "was reused", "failed": "failed", "skipped": "was skipped"}


def explain_step(request: ExplainStep, context: Context) -> StepExplanation:
    """Explain why a step of a run has another key than in an earlier run.

    Raises:
        NotFound: there is no such run, or it has no such step; the message names those that are near.
        InvalidInput: several runs begin with the id.
    """
    past = Past(context)
    run = past.run(request.run_id)
    record = find_step(past.steps(run.id), request.step, run.id)
    against = _against(past, record, request.against)
    if against is None:
        summary = f"{_said(record)}; no earlier run has this step to compare with"
        return StepExplanation(step=record, against=None, summary=summary, differences=(), roots=())
    compared = record
    if "[" not in short(against.name) and (of := past.list_of(record)) is not None:
        # The list had no such item: why it has one now is what there is to be told.
        compared = of
    first, roots, notes = _follow(past, against, compared)
    return StepExplanation(
        step=record,
        against=against,
        summary=_summary(record, against, roots),
        differences=tuple(first.all),
        roots=tuple(roots),
        notes=tuple(dict.fromkeys(notes)),
    )


def _against(past: Past, record: StepRecord, run_id: str) -> StepRecord | None:
    """Return what a step is compared with; of an item that the other run's list lacks, what stands for the list."""
    of = past.list_of(record)
    if not run_id:
        return past.before(record) or (None if of is None else past.before(of))
    other = past.run(run_id).id
    found = past.like(other, record) or (None if of is None else past.like(other, of))
    return found or find_step(past.steps(other), short(record.name), other)


def _follow(past: Past, old: StepRecord, new: StepRecord) -> tuple[Local, list[Difference], list[str]]:
    """Return how a step differs by itself, and the roots of that with the shortest way to each."""
    first: Local | None = None
    roots: list[Difference] = []
    notes: list[str] = []
    seen = {new.index}
    waiting: deque[tuple[StepRecord, StepRecord, tuple[str, ...]]] = deque([(old, new, (short(new.name),))])
    while waiting:
        earlier, later, way = waiting.popleft()
        found = compare_steps(past, earlier, later)
        first = first or found
        notes += found.notes
        roots += [replace(root, via=way[:-1] and way) for root in found.roots]
        for before, after in found.upstream:
            if after.index not in seen:
                seen.add(after.index)
                waiting.append((before, after, (*way, short(after.name))))
    assert first is not None
    return first, merged(roots), notes


def merged(differences: Iterable[Difference]) -> list[Difference]:
    """Return each difference once, with all steps whose keys it changes.

    Args:
        differences: the same helper may be named by each step that reaches it.
    """
    found: dict[tuple[str, ...], Difference] = {}
    for each in differences:
        # An input belongs to its step; parameters, code, files and packages are the same wherever they are reached.
        own = each.steps if each.kind in ("input", "result", "step") else ()
        place = (each.kind, each.name, each.old_digest, each.new_digest, *own)
        known = found.get(place)
        found[place] = each if known is None else replace(known, steps=tuple(dict.fromkeys((*known.steps, *each.steps))))
    return list(found.values())


def told(roots: Iterable[Difference]) -> str:
    """Return the first differences in one line, each with the step it is in when it is not clear from its name.

    Args:
        roots: the differences.
    """
    every = list(roots)
    # Helpers and packages that came or went follow from a change of the code that names them.
    first = [root for root in every if None not in (root.old, root.new) or root.kind not in ("code", "environment")] or every
    texts = [f"{root.text} (in {short(root.steps[0])})" if root.via else root.text for root in first[:_SHOWN]]
    more = f"; and {len(every) - len(texts)} more" if len(every) > len(texts) else ""
    return "; ".join(texts) + more


def _said(record: StepRecord) -> str:
    return f"{short(record.name)} {_VERBS[record.state]}" + (f": {record.why}" if record.why else "")


def _summary(record: StepRecord, against: StepRecord, roots: list[Difference]) -> str:
    name, run = short(record.name), against.run_id[:16]
    if roots:
        said = _said(record) if record.state == "skipped" else f"{name} {_VERBS[record.state]}"
        return f"{said}; since run {run}: {told(roots)}"
    if record.key is None or against.key is None:
        return f"{_said(record)}; nothing can be compared with run {run}"
    return f"{_said(record)}; nothing that it depends on differs from run {run}"
