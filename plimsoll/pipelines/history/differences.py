"""What differs between two calls of a step, part by part, and which of the four it is one of."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace

from plimsoll.errors import Corrupt, NotFound
from plimsoll.pipelines.cache import differing, explain
from plimsoll.pipelines.history.links import Links, not_run
from plimsoll.pipelines.history.past import Parts, Past, short
from plimsoll.records.pipeline import KeyPart, StepRecord
from plimsoll.records.pipelines.history import Category, Difference

#: Kind of a key's part -> which of the four it is one of. A parameter of a step is looked at more closely.
_CATEGORIES: dict[str, Category] = {
    "param": "parameters", "item": "parameters", "project": "parameters", "code": "code", "module": "code", "input": "data",
    "list": "data", "file": "data", "variable": "environment", "environment": "environment",
}  # fmt: skip

#: Kinds that only a step that ended well can have: what it read by itself.
_TRACED = ("file", "variable", "module")

#: Lines of a diff that are kept, and bytes of a file up to which its two contents are compared.
_LINES, _READ = 400, 256 * 1024


@dataclass(slots=True)
class Local:
    """How one step differs from its like in another run, its inputs being taken as they are."""

    #: Everything that differs in the key, inputs included.
    all: list[Difference] = field(default_factory=list)
    #: What no other step explains.
    roots: list[Difference] = field(default_factory=list)
    #: Steps (old, new) that gave the inputs that differ.
    upstream: list[tuple[StepRecord, StepRecord]] = field(default_factory=list)
    #: What could not be compared.
    notes: list[str] = field(default_factory=list)


def compare_steps(past: Past, old: StepRecord, new: StepRecord) -> Local:
    """Return how a step differs from its like in another run.

    Args:
        past: where runs and keys are read.
        old: the step of the earlier run.
        new: the step of the later run.
    """
    found = Local()
    if "skipped" in (old.state, new.state) and old.state != new.state:
        found.upstream += not_run(past, old, new)
        skipped = old if old.state == "skipped" else new
        found.notes.append(f"Step {short(skipped.name)} of run {skipped.run_id[:16]} did not run: {skipped.why}.")
        return found
    before, after = past.parts(old), past.parts(new)
    if before is None or after is None:
        _without_key(found, old, new, before, after)
        return found
    if "failed" in (old.state, new.state) and old.state != new.state:
        # What a failed step read by itself is not known, which is no difference.
        before, after = ({place: part for place, part in parts.items() if place[0] not in _TRACED} for parts in (before, after))
        if before.keys() != after.keys():
            lacking = before if new.state == "failed" else after
            other = after if new.state == "failed" else before
            for place in [place for place in lacking if place[0] == "environment" and place not in other]:
                del lacking[place]
        found.notes.append("What a failed step read by itself (files, variables) is not recorded, so it is not compared.")
    links = Links(past, old, new, before, after)
    items = links.items()
    found.upstream += items.values()
    for place in differing(before, after):
        difference = _of_part(past, before.get(place), after.get(place), old, new)
        found.all.append(difference)
        if place in items:
            continue
        behind = links.behind(place)
        found.upstream += behind
        if not behind:
            found.roots.append(_root(past, links, place, difference, old, new))
    if not found.all and old.output and new.output and old.output.digest != new.output.digest:
        found.roots.append(_another_result(old, new))
    return found


def _root(past: Past, links: Links, place: tuple[str, str], difference: Difference, old: StepRecord, new: StepRecord) -> Difference:
    """Return a difference as one that no other step explains: of an input, where it comes from."""
    first, second = links.producers(place) if place[0] in ("input", "item", "list") else (None, None)
    if place[0] not in ("input", "item", "list") or (first is None and second is None and difference.kind == "param"):
        return difference
    if first is None and second is None and all((text or "").endswith(" items") for text in (difference.old, difference.new)):
        return replace(difference, category=_wired(past, old, new))  # a list that is put together by the pipeline
    said = {True: "nothing", False: "a value"}
    texts = [
        f"step {short(step.name)}" if step is not None else text or said[text is None]
        for step, text in ((first, difference.old), (second, difference.new))
    ]
    shown = [None if text == "nothing" else text for text in texts]
    category: Category = "data" if first is None and second is None else _wired(past, old, new)
    root = replace(difference, category=category, old=shown[0], new=shown[1])
    return replace(root, text=f"input {root.name} comes from {texts[1]} instead of {texts[0]}") if all(shown) else root


def _without_key(found: Local, old: StepRecord, new: StepRecord, before: Parts | None, after: Parts | None) -> None:
    for step, parts in ((old, before), (new, after)):
        if parts is None:
            why = step.why or ("its key was not recorded" if step.key else "it has no key")
            found.notes.append(f"Step {short(step.name)} of run {step.run_id[:16]} cannot be compared part by part: {why}.")
    if old.output and new.output and old.output.digest != new.output.digest:
        category: Category = "unknown"
        note = "What it depends on is not known, because it has no key."
        text = f"step {short(new.name)} gave something else"
        found.roots.append(replace(_another_result(old, new), category=category, note=note, text=text))


def _another_result(old: StepRecord, new: StepRecord) -> Difference:
    assert old.output is not None
    assert new.output is not None
    return Difference(
        category="data",
        kind="result",
        name=short(new.name),
        old=f"result {old.output.digest[:12]}",
        new=f"result {new.output.digest[:12]}",
        old_digest=old.output.digest,
        new_digest=new.output.digest,
        note=f"It was computed in both runs. {new.why}".strip() if new.state == "ran" else new.why,
        steps=(new.name,),
        text=f"step {short(new.name)} gave something else for the same key",
    )


def only_here(past: Past, record: StepRecord, run_id: str, *, gone: bool) -> tuple[Difference, ...]:
    """Return the difference that a step makes which only one of two runs has; none for an item that its list explains.

    Args:
        past: where runs are read.
        record: the step.
        run_id: the run that lacks it.
        gone: it is the later run that lacks it.
    """
    of = past.list_of(record)
    like = None if of is None else past.like(run_id, of)
    if of is not None and like is not None and (like.state in ("skipped", "failed") or (past.parts(of) and past.parts(like))):
        return ()
    name = short(record.name)
    other = next(iter(past.steps(run_id)), None)
    category = _wired(past, record, other) if other is not None else "code"
    old, new = ("a step", None) if gone else (None, "a step")
    text = f"step {name} is not there any more" if gone else f"step {name} is new"
    return (Difference(category=category, kind="step", name=name, old=old, new=new, steps=(record.name,), text=text),)


def _wired(past: Past, old: StepRecord, new: StepRecord) -> Category:
    """Return what a pipeline's other plan comes from: its parameters when they differ, else its own code."""
    return "parameters" if past.run(old.run_id).params != past.run(new.run_id).params else "code"


def _of_part(past: Past, before: KeyPart | None, after: KeyPart | None, old: StepRecord, new: StepRecord) -> Difference:
    part = after or before
    assert part is not None
    kind = "param" if part.kind == "item" and not _is_input(past, before, old) and not _is_input(past, after, new) else part.kind
    kind = "input" if kind in ("item", "list") else kind
    texts = before.text if before else None, after.text if after else None
    category, note = _CATEGORIES.get(part.kind, "unknown"), _note(before, after)
    if kind == "input":
        category = "data"
    elif kind == "param" and part.kind in ("param", "item"):
        category = _wired(past, old, new)
        if category == "code":
            note = "No parameter of the run differs: the pipeline's own code passes another value."
    diff: tuple[str, ...] = ()
    if before and after and (lines := _texts(past, before, after)):
        diff = _unified(*lines)
    named = replace(part, kind="input" if kind == "input" else part.kind)
    return Difference(
        category=category,
        kind=kind,
        name=part.name,
        old=texts[0],
        new=texts[1],
        old_digest=before.digest if before else "",
        new_digest=after.digest if after else "",
        diff=diff,
        note=note,
        steps=(new.name,),
        text=explain(
            (replace(named, digest=before.digest, text=before.text),) if before else (),
            (replace(named, digest=after.digest, text=after.text),) if after else (),
            new.name.partition("#")[0],
        ),
    )


def _is_input(past: Past, part: KeyPart | None, record: StepRecord) -> bool:
    return part is not None and past.producer(record, part) is not None


def _note(before: KeyPart | None, after: KeyPart | None) -> str:
    part = after or before
    assert part is not None
    if part.kind == "variable" and "" in {each.text for each in (before, after) if each}:
        return "Values of variables whose names sound secret are not kept."
    if before is None or after is None:
        return ""
    if part.kind == "code" and before.text == after.text:
        if before.text.startswith(("def ", "async def ", "@", "lambda")):
            return "Its own source is the same: a default, a decorator or an attribute of it differs."
        return "It differs beyond what its text shows." if before.text else "Its value is not kept."
    return ""


def _texts(past: Past, before: KeyPart, after: KeyPart) -> tuple[str, str] | None:
    """Return the two texts to be compared line by line, or None when there are none."""
    if before.kind == "file":
        return _contents(past, before.digest, after.digest)
    if before.text != after.text and "\n" in before.text + after.text:
        return before.text, after.text
    return None


def _contents(past: Past, old: str, new: str) -> tuple[str, str] | None:
    """Return what a file held, when both contents happen to be stored: those of files that a step reads are not kept for this."""
    blobs = past.context.stores.blobs
    try:
        if any(len(digest) != 64 or blobs.size(digest) > _READ for digest in (old, new)):
            return None
        return blobs.get(old).decode(), blobs.get(new).decode()
    except (NotFound, Corrupt, UnicodeDecodeError):
        return None


def _unified(old: str, new: str) -> tuple[str, ...]:
    # The first two lines would name files that there are not.
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3))[2:]
    more = [f"… and {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []
    return tuple(lines[:_LINES] + more)
