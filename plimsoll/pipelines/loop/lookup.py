"""What a call's key is, which earlier result may be used for it, and why there is none."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from plimsoll.data.code.source import Sources
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.trace.now import Now
from plimsoll.errors import Corrupt, InvalidInput, NotFound, Unfingerprintable
from plimsoll.pipelines.cache import damage, differences, explain, fresh, log_of, one_line
from plimsoll.pipelines.keys import argument_parts, call_key, code_parts, digest_parts, may_give_model, output_parts, purpose_parts
from plimsoll.pipelines.loop.late import remembered_by
from plimsoll.pipelines.plan import Node
from plimsoll.records.pipeline import CacheEntry, Claim, DropEntry, FindEntries, KeyPart, Output
from plimsoll.runs.step_log import NOTHING, Logged, read_log
from plimsoll.store.contracts import Blobs, Do


@dataclass(slots=True)
class _Begun:
    """How many calls of steps have begun in this process."""

    calls: int = 0


_begun = _Begun()


@dataclass(frozen=True, slots=True)
class Code:
    """What keys say of a step's own code, its purposes and the environment that it reaches; the same for all of its calls."""

    #: Sorted by kind and name.
    parts: tuple[KeyPart, ...]
    #: Digest of all of them.
    digest: str
    #: Digest of what another process can compare: the code and its environment.
    own: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is known of a call before it runs."""

    #: Call key; None when it cannot be cached.
    call: str | None
    #: What its arguments add to it.
    parts: tuple[KeyPart, ...] = ()
    #: What its code adds; None when it cannot be seen.
    code: Code | None = None
    #: Why there is no call key.
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look among earlier results gave."""

    #: The one that may be used.
    entry: CacheEntry | None = None
    #: What it logged.
    logged: Logged = NOTHING
    #: Why there is none; empty when nothing of the call was ever computed under what holds now.
    why: str = ""
    #: Keys of those that cannot be used.
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lately:
    """What runs of one process that belong together have seen, so that the later ones need not ask for it again; threads may share one."""

    #: Source files.
    sources: Sources = field(default_factory=Sources)
    #: Call key -> the entry that was used. Whether it still may be is looked at each time.
    entries: dict[str, CacheEntry] = field(default_factory=dict)
    #: Names of the calls that had no result in the run before.
    missed: set[str] = field(default_factory=set)


class LookUp:
    """Answers for one run. The code of each step is read once, before any step runs.

    Args:
        do: the door.
        blobs: where outputs are.
        project: folder of the project.
        lately: what earlier runs have seen, or None.
    """

    def __init__(self, do: Do, blobs: Blobs, project: Path, lately: Lately | None = None) -> None:
        #: Where outputs are.
        self.blobs = blobs
        self._do, self._project = do, project
        self._lately = lately
        self._sources = Sources(remembered_by(blobs, "functions")) if lately is None else lately.sources
        self._now = Now(project, remembered_by(blobs))
        self._code: dict[int, Code | Unfingerprintable] = {}
        self._begun = _begun.calls
        #: Name of a call that this run computes -> what made it do so.
        self._causes: dict[str, str] = {}

    def read(self, node: Node) -> None:
        """Read the code of a node's step, if it was not read before.

        Args:
            node: a call.

        Raises:
            InvalidInput: the project's table is not valid.
        """
        function = node.step.function
        if id(node.step) in self._code:
            return
        beside = (*(self._purposes if may_give_model(function) else ()), *output_parts(function))
        try:
            own = code_parts(function, self._sources)
        except Unfingerprintable as error:
            self._code[id(node.step)] = error
            return
        parts = tuple(sorted((*own, *beside), key=lambda part: (part.kind, part.name)))
        self._code[id(node.step)] = Code(parts, digest_parts(parts), digest_parts(own))

    def met(self, node: Node) -> str:
        """Return how a step's code, and the values that it reads, differ from what its key was made of; empty when they do not.

        It is asked for each call that begins in this process, right before: an earlier one may have filled a global that this one reads.

        Args:
            node: a call whose step was read.
        """
        before, code = _begun.calls, self._code[id(node.step)]
        _begun.calls += 1
        if before == self._begun or isinstance(code, Unfingerprintable):
            return ""
        try:
            now = code_parts(node.step.function, self._sources)
        except Unfingerprintable as error:
            return error.fact
        kinds = {part.kind for part in now}
        return "" if digest_parts(now) == code.own else explain((part for part in code.parts if part.kind in kinds), now, node.step.name)

    @functools.cached_property
    def _purposes(self) -> tuple[KeyPart, ...]:
        # One run has one project table.
        return purpose_parts(self._project)

    def key(self, node: Node, outputs: Mapping[int, Output], names: Mapping[int, str]) -> Key:
        """Return a call's key, or why it has none.

        Args:
            node: the call, with every choice made.
            outputs: position -> output, at least of its inputs.
            names: position -> name of the call that gave it, at least of its inputs.
        """
        code = self._code[id(node.step)]
        if isinstance(code, Unfingerprintable):
            return Key(call=None, why=f"it cannot be cached: {code.fact}")
        try:
            parts = argument_parts(node, outputs, names)
        except Unfingerprintable as error:
            return Key(call=None, code=code, why=f"it cannot be cached: {error.fact}")
        return Key(call=call_key(code.digest, parts), parts=parts, code=code)

    def find(self, node: Node, call: str, broken: str = "") -> Found:
        """Return the earlier result that may be used for a call.

        Args:
            node: the call.
            call: its key.
            broken: what is known to be wrong with its result; then it is dropped.
        """
        known = None if self._lately is None else self._lately.entries.get(call)
        if known is not None and not broken and self._is_as_it_was(known) and fresh(known, node.step.options.cache):
            # What is damaged is asked for, so that it is dropped and told.
            with contextlib.suppress(Corrupt):
                if not damage(self.blobs, known.output.digest):
                    return Found(entry=known, logged=log_of(self.blobs, known.logged))
        return self.among(node, self._do(FindEntries(call=call)), broken)

    def _is_as_it_was(self, entry: CacheEntry) -> bool:
        return all(self._now.digest(part) == part.digest for part in entry.trace)

    def may_hit(self, node: Node) -> bool:
        """Return whether it is worth while to look before there is room to run a call; then its claim tells of earlier results as well.

        Args:
            node: the call.
        """
        return self._lately is None or node.name not in self._lately.missed

    def among(self, node: Node, entries: Iterable[CacheEntry], broken: str = "") -> Found:
        """Return the first entry that may be used: what its step read is as it was, it is young enough, and it is whole.

        Args:
            node: the call.
            entries: of its key, newest first.
            broken: what is known to be wrong with its result; then it is dropped.
        """
        why, seen, cache = "", list[str](), node.step.options.cache
        for entry in entries:
            seen.append(entry.key)
            if not self._is_as_it_was(entry):
                continue
            if not fresh(entry, cache):
                why = why or f"its earlier result is older than {cache:g} s"
                continue
            wrong = broken or damage(self.blobs, entry.output.digest)
            try:
                if not wrong:
                    found = Found(entry=entry, logged=log_of(self.blobs, entry.logged))
                    self._note(node, found)
                    return found
            except Corrupt as error:
                wrong = error.fact
            forget(self._do, self.blobs, entry.key, entry.output, wrong, entry.logged)
            broken, why = "", f"its stored output was damaged ({wrong})"
        missed = Found(why=f"its stored output was damaged ({broken})" if broken else why, seen=tuple(seen))
        self._note(node, missed)
        return missed

    def _note(self, node: Node, found: Found) -> None:
        if self._lately is None:
            return
        if found.entry is None:
            self._lately.missed.add(node.name)
        else:
            self._lately.missed.discard(node.name)
            self._lately.entries[found.entry.call] = found.entry

    def explain(self, node: Node, key: Key, claim: Claim) -> str:
        """Return why a call has no earlier result, beside what its step's last run had; of an input also why its step ran in this run.

        Args:
            node: the call.
            key: its key.
            claim: what the claim of the call has brought along.
        """
        if claim.last is None:
            return "its earlier results were not kept" if claim.unkept else "it has no earlier result"
        now = (replace(part, digest=self._now.digest(part), text=self._now.text(part)) for part in claim.last.trace)
        code = () if key.code is None or claim.same_code else key.code.parts
        texts, own, causes = list[str](), list[str](), dict[str, None]()
        for part, text in differences(claim.parts, (*code, *key.parts, *now), node.step.name):
            cause = self._cause(part)
            texts.append(f"{text}, since {cause}" if cause and cause not in causes else text)
            own += [] if cause else [text]
            causes |= {cause: None} if cause else {}
        if texts:
            self._causes[node.name] = one_line([*([f"{one_line(own, ' and ')} (in {node.label})"] if own else []), *causes], ", ")
        return one_line(texts) or "its earlier result was dropped"

    def _cause(self, part: KeyPart) -> str:
        """Return why this run has computed what an input is, in words that say in which step that begins; empty when it has not."""
        if part.kind not in ("input", "item"):
            return ""
        # One of several outputs has the name of its step before its own.
        return self._causes.get(part.text) or self._causes.get(part.text.rpartition(".")[0], "")

    def begins(self, node: Node, why: str) -> None:
        """Note that a call is about to be computed; later ones that take its result tell why.

        Args:
            node: the call.
            why: why it runs.
        """
        self._causes.setdefault(node.name, f"{why} (in {node.label})")


def forget(do: Do, blobs: Blobs, key: str, output: Output, reason: str, logged: str | None = None) -> None:
    """Drop an entry whose bytes are damaged, with those bytes.

    Args:
        do: the door.
        blobs: where the bytes are.
        key: of the entry.
        output: what it names.
        reason: what is wrong, for the audit log.
        logged: digest of its log, when that may be damaged.
    """
    # In this order: killed in between, the entry lacks its bytes and is computed again. Damaged bytes without an entry
    # would be taken for stored ones for ever.
    discard(blobs, output.digest)
    if logged is not None:
        _discard_log(blobs, logged)
    do(DropEntry(key=key, reason=reason))


def _discard_log(blobs: Blobs, digest: str) -> None:
    try:
        logged = read_log(blobs.get(digest))
    except NotFound:
        return
    except Corrupt:
        blobs.delete(digest)
        return
    for kept in logged.kept:
        discard(blobs, kept)


def discard(blobs: Blobs, digest: str) -> None:
    """Delete the blobs of an output that are damaged: a blob that is there would not be written again.

    Args:
        blobs: where the bytes are.
        digest: of its manifest.
    """
    try:
        manifest = get_manifest(blobs, digest)
    except NotFound:
        return
    except (Corrupt, InvalidInput):
        blobs.delete(digest)
        return
    for entry in manifest.files:
        try:
            blobs.get(entry.digest)
        except (Corrupt, NotFound):
            blobs.delete(entry.digest)
