"""What the cache and the runs remember of steps: the verbs, and the words for why a key is another one.

An entry is written after its bytes and never changed. An entry whose bytes are gone or damaged is dropped, never used.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, select

from plimsoll import clock, codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Corrupt, Denied, InvalidInput, NotFound
from plimsoll.records.pipeline import (
    CacheEntry,
    DropEntry,
    EndedStep,
    FindEntries,
    GetEntry,
    GetKeyParts,
    GetLatestEntry,
    KeyPart,
    ListSteps,
    RecordSteps,
    StepRecord,
)
from plimsoll.records.run import Run
from plimsoll.runs.lifecycle import end_run, running, running_whole
from plimsoll.runs.step_log import NOTHING, Logged, read_log
from plimsoll.store.contracts import Blobs, Context
from plimsoll.store.schema import cache_entries, claims, key_parts, steps
from plimsoll.store.tables.statements import Statement, Upsert
from plimsoll.store.tables.tracking import runs

_SHOWN = 3


_NEW_PARTS = Upsert(key_parts, replacing=False)
_NEW_ENTRIES = Upsert(cache_entries, replacing=True)
_NEW_STEPS = Upsert(steps, replacing=True)
_DONE = Statement(delete(claims).where(claims.c.run_id == bindparam("run"), claims.c.call == bindparam("held")))
_NEWEST = cache_entries.c.created.desc(), cache_entries.c.key
_CALLED = select(cache_entries).where(cache_entries.c.call == bindparam("call")).order_by(*_NEWEST)
_OF_CALL, _SOME_OF_CALL = Statement(_CALLED), Statement(_CALLED.limit(bindparam("most")))
_LATEST = Statement(select(cache_entries).where(cache_entries.c.step == bindparam("step")).order_by(*_NEWEST).limit(1))
_WITH_PARTS = select(cache_entries, key_parts.c.code, key_parts.c.data).outerjoin(key_parts, key_parts.c.key == cache_entries.c.key)
_USED = (
    select(steps.c.key)
    .where(steps.c.name == bindparam("step"), steps.c.key.is_not(None), steps.c.state != "failed")
    .order_by(steps.c.run_id.desc(), steps.c.index)
)
_LAST = Statement(_WITH_PARTS.where(cache_entries.c.key == _USED.limit(1).scalar_subquery()))
_NEWEST_OF_STEP = Statement(_WITH_PARTS.where(cache_entries.c.step == bindparam("step")).order_by(*_NEWEST).limit(1))
_ANY_USED = Statement(_USED.limit(1))
_PARTS = Statement(select(key_parts.c.code, key_parts.c.data).where(key_parts.c.key == bindparam("key")))
_ENTRY = [column.name for column in cache_entries.c]


def record_steps(request: RecordSteps, context: Context) -> Run | None:
    """Record steps of a run that is under way, with their entries, and end it; the same position again replaces the record.

    Raises:
        NotFound: there is no such run.
        Conflict: the run has ended.
        Denied: it is the run of another actor.
        Corrupt: some bytes of an output are not stored; nothing is recorded.
    """
    known = None if request.end is None else running_whole(context, request.run_id)
    _check_author(context, request.run_id, running(context, request.run_id).author if known is None else known.run.author)
    made = [{"key": digest, "code": None, "data": _packed(parts)} for digest, parts in request.code.items()]
    made += [
        {"key": step.record.key, "code": step.code or None, "data": _packed((*step.parts, *step.trace))}
        for step in request.steps
        if step.record.key is not None and (step.parts or step.code)
    ]
    _NEW_PARTS.rows(context.tx, list({row["key"]: row for row in made}.values()))
    _NEW_ENTRIES.rows(context.tx, list({step.record.key: _entry_row(step, context) for step in request.steps if step.keep}.values()))
    _NEW_STEPS.rows(context.tx, list({step.record.index: codec.plain(step.record) for step in request.steps}.values()))
    _DONE.change_each(context.tx, [{"run": request.run_id, "held": step.call} for step in request.steps if step.call is not None])
    if request.end is None or known is None:
        return None
    run = end_run(request.end, context, known)
    # Steps are no news for the audit log, but an end is one, however it is sent.
    context.stores.events.append(context.tx, context.actor.name, "FinishRun", f"run:{run.id}", codec.plain(request.end))
    return run


def _packed(parts: tuple[KeyPart, ...]) -> bytes:
    return zlib.compress(codec.to_msgpack(parts), 1)


def _entry_row(step: EndedStep, context: Context) -> dict[str, Any]:
    record = step.record
    assert record.output is not None
    wrong = damage(context.stores.blobs, record.output.digest)
    if wrong:
        remedy = "Store its bytes before it is recorded. If they were, look at the disk, and run it again: what was recorded is reused."
        raise Corrupt(f"The output of {record.name} is not stored whole: {wrong}.", remedy)
    if step.logged is not None and not context.stores.blobs.has(step.logged):
        raise Corrupt(f"What {record.name} logged is not stored.", "Store its bytes first, then record it.")
    return {
        "key": record.key,
        "call": step.call,
        "step": record.name,
        "output": codec.plain(record.output),
        "trace": codec.plain(step.trace),
        "run_id": record.run_id,
        "logged": step.logged,
        "created": clock.now(),
    }


def find_entries(request: FindEntries, context: Context) -> tuple[CacheEntry, ...]:
    """Return the entries of a call key, newest first."""
    rows = _SOME_OF_CALL.all(context.tx, {"call": request.call, "most": request.limit})
    return tuple(_cache_entry(row) for row in rows)


def unseen_entries(context: Context, call: str, seen: Collection[str]) -> tuple[CacheEntry, ...]:
    """Return the entries of a call key that are not among the given ones, newest first.

    Args:
        context: the open transaction.
        call: call key.
        seen: keys of entries that are known.
    """
    rows = _OF_CALL.all(context.tx, {"call": call})
    return tuple(_cache_entry(row) for row in rows if row.key not in seen)


def get_key_parts(request: GetKeyParts, context: Context) -> tuple[KeyPart, ...]:
    """Return everything that a key was made of.

    Raises:
        NotFound: no step was recorded under this key.
    """
    found = parts_of(context, request.key)
    if not found:
        raise NotFound(f"What the key {request.key[:12]} was made of is not recorded.", "Run the step again to record it.")
    return found


def parts_of(context: Context, key: str) -> tuple[KeyPart, ...]:
    """Return everything that a key was made of, sorted by (kind, name); nothing for a key that is not known.

    Args:
        context: the open transaction.
        key: a key of an entry or of a step's record.
    """
    return _parts_beside(context, _PARTS.all(context.tx, {"key": key}), "")[0]


def _parts_beside(context: Context, rows: Sequence[Any], code: str) -> tuple[tuple[KeyPart, ...], bool]:
    # One level deep: the parts that calls share stand in a row of their own.
    same = bool(rows) and rows[0].code == code != ""
    if rows and rows[0].code and not same:
        rows = [*rows, *_PARTS.all(context.tx, {"key": rows[0].code})]
    found = [part for row in rows for part in codec.from_msgpack(zlib.decompress(row.data), tuple[KeyPart, ...], "The stored key")]
    return tuple(sorted(found, key=lambda part: (part.kind, part.name))), same


def get_entry(request: GetEntry, context: Context) -> CacheEntry:
    """Return the entry of a key.

    Raises:
        NotFound: nothing was computed under this key.
    """
    found = _entry(context, request.key)
    if found is None:
        raise NotFound(f"The cache has no entry {request.key[:12]}.", "The step will run and make one.")
    return found


def get_latest_entry(request: GetLatestEntry, context: Context) -> CacheEntry:
    """Return the newest entry of a step.

    Raises:
        NotFound: the step was never computed here.
    """
    row = _LATEST.one(context.tx, {"step": request.step})
    if row is None:
        raise NotFound(f"The cache has no entry of the step {request.step}.", "The step will run and make one.")
    return _cache_entry(row)


def last_beside(context: Context, step: str, code: str) -> tuple[CacheEntry | None, tuple[KeyPart, ...], bool]:
    """Return the entry that a step's last run has used or made, if there is one, what its key was made of, and whether the parts that its
    code has added are left out, since they are the given ones. Where what the last run made is not kept it is the newest entry.

    Args:
        context: the open transaction.
        step: name of the call, as in ``StepRecord.name``.
        code: digest of the code's parts that the caller has; empty for none.
    """
    row = _LAST.one(context.tx, {"step": step}) or _NEWEST_OF_STEP.one(context.tx, {"step": step})
    if row is None:
        return None, (), False
    return (_cache_entry(row), *_parts_beside(context, [row] if row.data is not None else [], code))


def has_run(context: Context, step: str) -> bool:
    """Return whether a step is known to have ended well, kept or not.

    Args:
        context: the open transaction.
        step: name of the call, as in ``StepRecord.name``.
    """
    return _ANY_USED.one(context.tx, {"step": step}) is not None


def drop_entry(request: DropEntry, context: Context) -> None:
    """Forget an entry; one that is not there is no error."""
    context.tx.execute(delete(cache_entries).where(cache_entries.c.key == request.key))


def list_steps(request: ListSteps, context: Context) -> tuple[StepRecord, ...]:
    """Return a run's steps in the order of the plan; a run without a pipeline has none.

    Raises:
        NotFound: there is no such run.
    """
    if context.tx.execute(select(runs.c.id).where(runs.c.id == request.run_id)).one_or_none() is None:
        raise NotFound(f"There is no run {request.run_id!r}.", "List runs with: plimsoll runs list")
    rows = context.tx.execute(select(steps).where(steps.c.run_id == request.run_id).order_by(steps.c.index))
    return tuple(codec.convert(dict(row._mapping), StepRecord, "The stored step") for row in rows)


def damage(blobs: Blobs, digest: str) -> str:
    """Return what is wrong with a stored output in a few words, or an empty text when all of its bytes seem to be there.

    Only the manifest is read; of the other files existence and size are compared. Their content is verified when it is loaded.

    Args:
        blobs: where the bytes are.
        digest: the manifest's digest.
    """
    try:
        manifest = get_manifest(blobs, digest)
        for entry in manifest.files:
            size = blobs.size(entry.digest)
            if size != entry.size:
                return f"{entry.path} has {size} bytes instead of {entry.size}"
    except NotFound:
        return "bytes are missing"
    except (Corrupt, InvalidInput):
        return "its manifest is damaged"
    return ""


def log_of(blobs: Blobs, digest: str | None) -> Logged:
    """Return what a step logged, when all of it is there.

    Args:
        blobs: where the bytes are.
        digest: of the log; None when it logged nothing.

    Raises:
        Corrupt: some bytes are damaged or gone; the fact says which.
    """
    if digest is None:
        return NOTHING
    try:
        logged = read_log(blobs.get(digest))
    except (Corrupt, NotFound) as error:
        raise Corrupt(f"what it logged: {error.fact}", error.remedy) from error
    for kept in logged.kept:
        if wrong := damage(blobs, kept):
            raise Corrupt(f"an artifact that it logged: {wrong}", "Run the step again.")
    return logged


def fresh(entry: CacheEntry, cache: bool | float | str) -> bool:
    """Return whether an entry is young enough for its step; one from the future, as after a clock set back, is not.

    Args:
        entry: what was found.
        cache: the step's option; only a number of seconds sets a limit.
    """
    return isinstance(cache, bool | str) or 0 <= clock.now() - entry.created <= cache * 1e6


def explain(old: Iterable[KeyPart], new: Iterable[KeyPart], step: str = "") -> str:
    """Return in one line what makes two keys different, such as ``param depth: 4 -> 6``; empty when nothing does.

    Args:
        old: what the earlier key was made of.
        new: what the key is made of now.
        step: qualified name of the step's own function, which is no helper.
    """
    return one_line(text for _, text in differences(old, new, step))


def differences(old: Iterable[KeyPart], new: Iterable[KeyPart], step: str = "") -> Iterator[tuple[KeyPart, str]]:
    """Yield what makes two keys different: each part as it is now, or was, and the words for it.

    Args:
        old: what the earlier key was made of.
        new: what the key is made of now.
        step: qualified name of the step's own function, which is no helper.
    """
    before = {(part.kind, part.name): part for part in old}
    after = {(part.kind, part.name): part for part in new}
    for place in differing(before, after):
        yield after.get(place) or before[place], _difference(before.get(place), after.get(place), step)


def one_line(texts: Iterable[str], between: str = "; ") -> str:
    """Return the first texts in one line, and how many more there are.

    Args:
        texts: any number of them.
        between: what stands between two.
    """
    found = list(dict.fromkeys(texts))
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return between.join(found[:_SHOWN]) + more


def differing(before: Mapping[tuple[str, str], KeyPart], after: Mapping[tuple[str, str], KeyPart]) -> list[tuple[str, str]]:
    """Return kind and name of the parts that differ, what is told first standing first; a list of inputs only by its items.

    Where items came, went or moved the list stands for those that are there in both.

    Args:
        before: kind and name -> part of the earlier key.
        after: the same of the key as it is now.
    """
    # What was chosen shows in what was taken.
    places = (place for place in {*before, *after} if place[0] != "choice")
    found = [place for place in places if before.get(place, _NOTHING).digest != after.get(place, _NOTHING).digest]
    items = [name for kind, name in found if kind == "item"]
    moved = _moved(items, before, after)
    kept = [
        (kind, name)
        for kind, name in found
        if (kind != "item" or name not in moved)
        and (kind != "input" or name in map(_list_of, moved) or not any(item.startswith(f"{name}[") for item in items))
    ]
    # What came or went with a change of something else stands after it.
    return sorted(kept, key=lambda place: (_ORDER.get(place[0], 9), place not in before or place not in after, place[1]))


def _moved(items: Iterable[str], before: Mapping[tuple[str, str], KeyPart], after: Mapping[tuple[str, str], KeyPart]) -> set[str]:
    """Return the items of lists that differ only because an item of the other key stands there."""
    digests: dict[str, tuple[set[str], set[str]]] = {}
    for number, parts in enumerate((before, after)):
        for (kind, name), part in parts.items():
            if kind == "item":
                digests.setdefault(_list_of(name), (set(), set()))[number].add(part.digest)
    return {
        name
        for name in items
        for old, new in [digests[_list_of(name)]]
        if before.get(("item", name), _NOTHING).digest in new or after.get(("item", name), _NOTHING).digest in old
    }


def _list_of(item: str) -> str:
    return item.rpartition("[")[0]


_ORDER = {"param": 0, "input": 1, "list": 1, "item": 1, "file": 2, "variable": 3, "code": 4, "module": 5, "project": 6, "environment": 7}
_NOTHING = KeyPart(kind="", name="", digest="")
#: Of a line that is shown in one with others.
_LINE = 60


def _is_code(part: KeyPart | None) -> bool:
    """Return whether a part of kind ``code`` is a function, class or module by its text, and no constant."""
    return part is not None and part.text.startswith(("def ", "async def ", "@", "lambda", "class ", "all of ", "bytecode of "))


def _difference(old: KeyPart | None, new: KeyPart | None, step: str) -> str:
    part = new or old or _NOTHING
    # Names of the step's own module stand in a key without it.
    if part.kind == "code" and step and f".{step}".endswith(f".{part.name}"):
        return "its own code changed"
    what = {"item": "input", "list": "input", "environment": "", "project": ""}.get(part.kind, part.kind)
    if part.kind == "code":
        what = "helper" if _is_code(old) or _is_code(new) else "constant"
    named = f"{what} {part.name}".strip()
    if old is None:
        return f"{named} is new"
    if new is None:
        return f"{named} is no longer used"
    if part.name.endswith("<import>"):
        return _at_import(part.name.removesuffix("<import>").rstrip("."), old.text.splitlines(), new.text.splitlines())
    # A function's text is its source: too much for one line, where a constant's value fits.
    if old.text and new.text and old.text != new.text and "\n" not in old.text + new.text:
        arrow = _arrow(old.text, new.text)
        return f"{named} {arrow}" if part.kind == "environment" else f"{named}: {arrow}"
    if old.text and new.text and (member := _one_member(old.text.splitlines(), new.text.splitlines())):
        name, was, now = member
        return f"constant {part.name.removesuffix('.*')}.{name}: {_arrow(was, now)}" if name else f"{named}: {_arrow(was, now)}"
    return f"{named} changed"


def _one_member(old: list[str], new: list[str]) -> tuple[str, str, str] | None:
    """Return the member of a class or module that alone differs, and its values; without a name, what a function holds beside its text."""
    if len(old) != len(new) or old[0] != new[0]:
        return None
    was, *others = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]] or [("", "")]
    name, mark, value = was[0].partition(" = ")
    if others or not mark or not was[1].startswith(name + mark):
        return None
    if name.startswith("# "):
        return "", was[0].removeprefix("# "), was[1].removeprefix("# ")
    return (name.strip(), value, was[1].removeprefix(name + mark)) if old[0].startswith(("class ", "all of ")) else None


def _arrow(old: str, new: str) -> str:
    """Return two texts in one line; of long ones, what is about their first difference."""
    if max(len(old), len(new)) <= _LINE:
        return f"{old} -> {new}"
    alike = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 0)
    first = max(0, alike - _LINE // 4)
    cut = (f"{'…' * (first > 0)}{text[first : first + _LINE]}{'…' * (len(text) > first + _LINE)}" for text in (old, new))
    return " -> ".join(cut)


def _at_import(module: str, old: list[str], new: list[str]) -> str:
    """Return which statement, variable or file it is that differs in what a module does when it is imported."""
    what = f"what the import of {module} does" if module else "what the step's own module does when it is imported"
    gone = next((line for line in old if line not in new), "")
    came = next((line for line in new if line not in old), "")
    name, colon, value = came.removeprefix("# ").partition(": ")
    if came.startswith("# ") and colon and gone.startswith(f"# {name}: "):
        by = f"{name}: {gone.partition(': ')[2]} -> {value}" if name.startswith("variable ") else f"{name} changed"
        return f"{what}: {by}"
    if gone or came:
        return f"{what}: " + " -> ".join(line.removeprefix("# ").strip()[:_LINE] for line in (gone, came) if line)
    return f"{what} changed"


def own_run(context: Context, id: str) -> None:
    """Refuse to write for a run that has ended or that somebody else began.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it has ended.
        Denied: it is the run of another actor.
    """
    _check_author(context, id, running(context, id).author)


def _check_author(context: Context, id: str, author: str) -> None:
    if author != context.actor.name:
        # Later runs go on with what is recorded here, so nobody may record it in another's name.
        raise Denied(f"{context.actor.name} may not record steps of run {id}, which is {author}'s.", "Record them for a run of your own.")


def _entry(context: Context, key: str) -> CacheEntry | None:
    row = context.tx.execute(select(cache_entries).where(cache_entries.c.key == key)).one_or_none()
    return None if row is None else _cache_entry(row)


def _cache_entry(row: Any) -> CacheEntry:
    return codec.convert({name: getattr(row, name) for name in _ENTRY}, CacheEntry, "The stored cache entry")
