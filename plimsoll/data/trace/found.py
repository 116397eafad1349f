"""What was found while a step ran: collected from its events, and made into parts and effects when it has ended."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType, MappingProxyType
from typing import Any

from plimsoll.data.code.source import Sources
from plimsoll.data.environment import bringing
from plimsoll.data.trace.files.contents import ABSENT, Mark, is_racy, mark
from plimsoll.data.trace.files.handed import Handed
from plimsoll.data.trace.files.left import Left
from plimsoll.data.trace.files.places import LEADS, LINK, NAMES, THERE, Places, bare, folder_of, is_text, listed, names_in
from plimsoll.data.trace.files.searched import Searched
from plimsoll.data.trace.files.several import several
from plimsoll.data.trace.now import ALL_VARIABLES, FOLDER_PATH, SESSION, WORKING_FOLDER, distribution, module, variable
from plimsoll.data.trace.origin import FRONTS, Aside, Origins
from plimsoll.data.trace.watched.threads import Threads
from plimsoll.records.pipeline import KeyPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a step read by itself, and what it did that another run need not repeat alike."""

    #: Sorted by (kind, name).
    parts: tuple[KeyPart, ...] = ()
    #: Each as the end of a sentence: ``opened a network connection (127.0.0.1:5432)``.
    effects: tuple[str, ...] = ()


#: Who brings a package of another name, so that the records of all distributions need not be read for the usual ones.
_BRINGS = {"sklearn": "scikit-learn", "PIL": "pillow", "dateutil": "python-dateutil", "yaml": "PyYAML", "skimage": "scikit-image"}

#: Modules that a model has brought along; they count with the model, by its digest.
_PACKED = "_plimsoll_"

#: Names by which the time of a log's record is asked for, and how a text names it.
STAMPS = frozenset({"created", "asctime", "msecs", "relativeCreated"})
_STAMP = re.compile(r"[{(](asctime|created|msecs|relativeCreated)\b")

#: What Plimsoll itself uses: its finalisers may run in the middle of a step in the same process.
_OURS = frozenset({"plimsoll", "sqlalchemy", "alembic", "httpx", "httpcore", "anyio", "starlette", "uvicorn", "psycopg", "psycopg_pool"})


#: What became of a file that another run would find otherwise, and for what is easily mended, how.
_CHANGED = {
    "added": 'appended to {name}, which a reused result would not do (write a file of its own, or declare cache="forever")',
    "removed": "removed {name}, which it had found there",
    "written": "read and rewrote {name}",
    "": "read a file that changed meanwhile, {name}",
}


@dataclass(slots=True)
class _File:
    seen: Mark | None
    #: Digest and text as it was read, where a change might not show in the mark.
    content: tuple[str, str] | None


class Found:
    """Collects what the threads of one step do. Its methods are called from hooks, so they are quick.

    Args:
        places: names files and tells which count.
        seen: code objects that static reading has seen.
        held: code -> watched C functions that it reaches as values.
        known: distributions that static reading has found.
        changed: variables that Plimsoll has set in this process -> what they are without it.
        alone: the whole process belongs to the step; else only the threads that work for it do.
        base: identity of the frame that calls the step.
        own: variables that Plimsoll sets for the step alone: it reads none of the user's, and what their addresses name is ours.
        imports: is told what is about to be imported for the first time.
    """

    def __init__(
        self,
        places: Places,
        seen: Collection[CodeType],
        held: Mapping[CodeType, tuple[Any, ...]],
        known: Container[str],
        changed: Mapping[str, str | None],
        alone: bool,
        base: int,
        own: Mapping[str, str] = MappingProxyType({}),
        imports: Callable[[str], None] | None = None,
    ) -> None:
        self.about_to_import = imports
        self._aside, self.trouble = Aside(), ""
        self.origins = Origins(places.sources, self._aside)
        self.effects: dict[str, None] = {}
        self.seeded: tuple[int, int] | None = None  # frame and instruction where numpy last made a generator from a seed
        self._places, self._seen, self._known, self._changed, self._base = places, seen, known, changed, base
        self.held = held
        #: Code, by its identity, and where in it numpy makes a generator; for a Python that does not tell of calls.
        self.making = set[tuple[int, int | None]]()
        self._alone, self._threads = alone, Threads(alone, self.origins)
        self._folder = os.getcwd()
        self._files: dict[str, _File] = {}
        self.handed, self.left = Handed(places), Left(places)
        self._aspects: dict[tuple[str, str], tuple[str, str]] = {}
        self._names: dict[str, tuple[str, ...] | None] = {}
        self._written, self._added, self._own, self._made = set[str](), set[str](), set[str](), self.left.folders
        self._variables: dict[str, tuple[str, str]] = {}
        #: Variables that count already, or never, because the step has set them.
        self.settled: set[str] = set(own)
        self.own = own
        self._modules: dict[str, tuple[str, str] | None] = {}
        self._named: set[str] = set()
        self.searched = Searched(self.read, self.aspect)
        self.packages: set[str] = set()
        #: Distributions whose versions were asked for, and paths of temporary files that were made.
        self.asked, self.temporary = set[str](), set[str]()

    def mine(self) -> bool:
        """Return whether the current thread's acts count."""
        return not self._aside.now and self._threads.mine()

    def asks(self, frame: FrameType | None, data: bool = False) -> str:
        """Return whose act it is, as :meth:`Origins.asks` tells it.

        Args:
            frame: where it happens.
            data: what is read is no code.
        """
        return self.origins.asks(frame, self._base, data)

    def look(self, act: Callable[..., None], *args: Any) -> None:
        """Do something whose own events do not count; whatever goes wrong makes the trace worthless but not the step.

        Args:
            act: one of the methods below.
            args: its arguments.
        """
        try:
            self._aside.do(act, *args)
        except Exception as error:  # a hook must never raise into the user's code
            self.trouble = self.trouble or f"{type(error).__name__}: {error}"

    # --- files ---

    def path(self, given: Any) -> str | None:
        """Return the absolute path of what was given to be opened; None for handles and for what does not count.

        Args:
            given: text, bytes, a path or a handle.
        """
        try:
            text = os.fsdecode(given)
        except TypeError:
            return None
        if "\0" in text:
            return None
        if not text.isascii() and not is_text(text):
            self.effect(f"named a file by bytes that are no text ({text!a})")
            return None
        relative = not os.path.isabs(text)
        path = os.path.abspath(text) if text else ""
        if not path or not self._places.counts(path) or not self._places.counts(path + "/"):
            return None
        if relative and not self._is_own(path):
            self.working_folder()
        return path

    def working_folder(self, path: bool = False) -> None:
        """Note that it matters from which folder the step was begun, unless it has gone to another one itself.

        Args:
            path: the step can tell what the folder is called, and does not only read relative paths.
        """
        for name in (WORKING_FOLDER, *([FOLDER_PATH] if path else [])):
            if name not in self._variables and os.getcwd() == self._folder:
                self.around(name)

    def around(self, name: str) -> None:
        """Note that something else that a process has around it is asked.

        Args:
            name: ``MACHINE``, ``PROCESSORS`` …
        """
        self._variables.setdefault(name, variable(name, {}, self._places))

    def _is_own(self, path: str) -> bool:
        if path in self._own:
            return True
        return bool(self._made) and any(path == folder or path.startswith(folder + "/") for folder in self._made)

    def read(self, given: Any) -> None:
        """Note that a file is read.

        Args:
            given: its path.
        """
        path = self.path(given)
        if path is not None:
            self.left.read(path)
        if path is None or path in self._files or self._is_own(path):
            return
        seen = mark(path)
        self._files[path] = _File(seen, self._places.contents.of(path) if seen is None or is_racy(seen) else None)

    def _take_handed(self) -> None:
        for path, seen, relative in self.handed.files():
            if path not in self._files and not self._is_own(path):
                self._files[path] = _File(seen, self._places.contents.of(path) if is_racy(seen) else None)
                if relative:
                    self.working_folder()

    def read_all(self, given: Any) -> None:
        """Note that a file, or everything in a folder, or every match of a pattern, is read.

        Args:
            given: its path, or several.
        """
        if isinstance(given, (list, tuple, set, frozenset)):
            for each in given:
                self.read_all(each)
            return
        path = self.path(given)
        if path is None:
            return
        for each, is_folder in several(path):
            self.names(each) if is_folder else self.read(each)

    def write(self, given: Any, fresh: bool, adds: bool = False, logs: bool = False) -> None:
        """Note that a file is opened to be written, or removed.

        Args:
            given: its path.
            fresh: nothing of what it held can be seen by the step.
            adds: the step can only write behind what it held.
            logs: that is done for a logger, whose file nobody takes for a result.
        """
        path = self.path(given)
        if path is None:
            return
        if not adds:
            self.left.add(path)
        elif path not in self._own and (logs or mark(path) is None):
            self.left.append(path)
            if logs and path not in self._files:
                return
        if self._is_own(path):
            return
        if path not in self._files and (fresh or mark(path) is None):
            self._own.add(path)
            return
        if adds and path not in self._files:
            self._added.add(path)
        self.read(path)
        self._written.add(path)

    def make(self, given: Any) -> None:
        """Note that the step makes a folder; what is in it is its own.

        Args:
            given: its path.
        """
        path = self.path(given)
        if path is not None and mark(path) is None:
            self._made.add(path)
        elif path is not None:
            # It may go on without, as ``makedirs`` does; who uses its result needs the folder as well.
            self.aspect(path, THERE)

    def empty(self, given: Any) -> None:
        """Note that the step removes a folder with all that is in it; what comes there later is its own.

        Args:
            given: its path.
        """
        path = self.path(given)
        if path is not None:
            self.left.add(path)
            if mark(path) is not None:
                self._made.add(path)

    def move(self, source: Any, target: Any) -> None:
        """Note that a file or folder is renamed.

        Args:
            source: its path.
            target: its path after that.
        """
        old, new = self.path(source), self.path(target)
        if old is not None and not self._is_own(old):
            self.read(old)
            self._written.add(old)
        elif old is not None and new is not None:
            (self._made if os.path.isdir(old) else self._own).add(new)
            self.left.add(new)

    def names(self, given: Any) -> None:
        """Note that the names in a folder are read.

        Args:
            given: its path; with a pattern as its last part where only those that match it are.
        """
        path = self.path("." if given is None else given)
        if path is not None and not self._is_own(path) and path not in self._names:
            self._names[path] = names_in(path)

    def aspect(self, given: Any, end: str) -> None:
        """Note that something of a file besides its content is asked.

        Args:
            given: its path.
            end: ``THERE``, ``STATE`` …
        """
        path = self.path(given)
        if path is not None and end != THERE:
            self.left.read(path)
        if path is not None and not self._is_own(path) and (path, end) not in self._aspects:
            self._aspects[path, end] = self._places.look(path, end)

    def inside(self, given: Any) -> bool:
        """Return whether a path lies in the project.

        Args:
            given: text, bytes or a path.
        """
        path = self.path(given)
        return path is not None and self._places.inside(path)

    # --- the rest ---

    def variable(self, name: str | None, among: bool = False) -> None:
        """Note that a variable is read.

        Args:
            name: its name; None for the whole environment.
            among: because all of them are.
        """
        key = ALL_VARIABLES if name is None else name
        if not is_text(key):
            self.effect(f"asked for a variable whose name is no text ({key!a})")
            return
        if key in self.settled or (among and SESSION.fullmatch(key)):
            return
        digest, text = variable(key, self._changed, self._places)
        # Whoever goes through all of them means few of them, so their values are not shown.
        self._variables[key] = digest, "" if among else text
        self.settled.add(key)

    def sets(self, name: str) -> None:
        """Note that the step sets a variable itself.

        Args:
            name: its name.
        """
        self.settled.add(name)

    def queries(self, pattern: re.Pattern[str]) -> bool:
        """Return whether the step's code holds a text that a pattern finds something in.

        Args:
            pattern: for the language of databases.
        """
        return any(pattern.search(each) for code in self._seen for each in code.co_consts if isinstance(each, str))

    @functools.cached_property
    def stamps(self) -> bool:
        """Whether the step's own code may look at the time of a log's record."""
        return any(not STAMPS.isdisjoint(code.co_names) for code in self._seen) or self.queries(_STAMP)

    def effect(self, text: str) -> None:
        """Note what another run need not repeat alike.

        Args:
            text: the end of a sentence.
        """
        self.effects[text] = None

    def is_news(self, code: CodeType, kind: str) -> bool:
        """Return whether it would add something to note that code runs.

        Args:
            code: the code.
            kind: whose it is, as :meth:`Origins.of` tells it.
        """
        if kind == "third":
            return code.co_name != "<module>" and self.origins.package(code.co_filename) not in self.packages
        return kind == "user" and code not in self._seen

    def ran(self, code: CodeType, names: Mapping[str, Any], kind: str) -> None:
        """Note that code runs which is news.

        Args:
            code: the code.
            names: its globals.
            kind: whose it is.
        """
        if kind == "third":
            self.packages.add(self.origins.package(code.co_filename))
            return
        name = str(names.get("__name__", ""))
        if name.startswith(_PACKED):
            return
        if not name and names.get("__file__") == code.co_filename and not code.co_filename.endswith(".py"):
            self.read(code.co_filename)  # jinja2 has made it of a template
        elif name == "__main__" or not name:
            self.effect(f"ran code that its key does not see ({code.co_qualname})")
        elif self._modules.get(name) is None:
            # While its own body runs, and those of its classes, it is not whole yet; otherwise now, before it can change what it holds.
            begun = getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False)
            self._modules[name] = None if code.co_name == "<module>" or begun else module(name, Sources())

    def imports(self, name: str) -> None:
        """Note that the user's code imports a module by a computed name; whose it is shows when it has been imported.

        Args:
            name: its dotted name.
        """
        self._named.add(name)

    def trace(self) -> Trace:
        """Return what was found; called once, when the step has ended."""
        if self.trouble:
            return Trace(effects=(f"could not be traced ({self.trouble})",))
        self._take_handed()
        self.searched.settle(self._modules, self._named)
        parts = [*self._file_parts(), *self.left.parts(self._files, self.temporary), *self._name_parts()]
        parts += [
            KeyPart(kind="file", name=self._places.part(path, end), digest=digest, text=text)
            for (path, end), (digest, text) in self._aspects.items()
            if end != THERE or path not in self._files
        ]
        self._settle_left()
        parts += [KeyPart(kind="variable", name=name, digest=digest, text=text) for name, (digest, text) in self._variables.items()]
        self._settle_names()
        for name, known in self._modules.items():
            digest, text = known or module(name, Sources())
            if text:
                self.effect(f"ran the module {name}, which {text}")
            parts.append(KeyPart(kind="module", name=name, digest=digest, text=text))
        for name in self._distributions():
            digest, text = distribution(name)
            parts.append(KeyPart(kind="environment", name=name, digest=digest, text=text))
        return Trace(parts=tuple(sorted(dict.fromkeys(parts), key=lambda part: (part.kind, part.name))), effects=tuple(self.effects))

    def _settle_left(self) -> None:
        """Note what the step did to files that a reused result would not do, and could not be told by their parts."""
        for name in self.left.appended(self.temporary):
            self.effect(_CHANGED["added"].format(name=name))
        for (path, end), (digest, _) in self._aspects.items():
            if digest != ABSENT and end not in (LEADS, LINK) and self._is_own(path) and mark(path) is None:
                self.effect(_CHANGED["removed"].format(name=self._places.name(path)))

    def _settle_names(self) -> None:
        for name in self._named:
            loaded = sys.modules.get(name)
            file = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), "")
            kind = self.origins.of(file) if file else ""
            if loaded is None or kind == "user":
                self._modules.setdefault(name, None)
            elif kind == "third":
                self.packages.add(name.partition(".")[0])

    def _file_parts(self) -> list[KeyPart]:
        parts = []
        for path, file in self._files.items():
            name = self._places.name(path)
            now = self._places.contents.of(path)
            if mark(path) != file.seen and now != file.content:
                self.effect(_CHANGED["added" if path in self._added else "written" if path in self._written else ""].format(name=name))
            elif file.content is not None and now != file.content:
                self.effect(f"read a file that changed meanwhile, {name}")
            digest, text = file.content or now
            parts.append(KeyPart(kind="file", name=self._places.part(path), digest=digest, text=text))
        return parts

    def _name_parts(self) -> list[KeyPart]:
        parts = []
        for path, names in self._names.items():
            now, folder = names_in(path), folder_of(path)
            other = {name: self._is_own(os.path.join(folder, bare(name))) for name in {*(names or ())} ^ {*(now or ())}}
            for name in other.keys() & {*(names or ())}:
                if other[name]:
                    self.effect(_CHANGED["removed"].format(name=self._places.name(os.path.join(folder, bare(name)))))
            if not all(other.values()):
                self.effect(f"read the names in a folder that changed meanwhile, {self._places.name(folder)}")
            digest, text = listed(names)
            parts.append(KeyPart(kind="file", name=self._places.part(path, NAMES), digest=digest, text=text))
        return parts

    def _distributions(self) -> list[str]:
        found: set[str] = set()
        for package in self.packages - FRONTS - ({"plimsoll"} if self._alone else _OURS):
            if package in self._known or package.replace("_", "-") in self._known or _BRINGS.get(package) in self._known:
                continue
            found.update([package] if distribution(package)[0] != ABSENT else bringing(package))
        return sorted({*self.asked, *(name for name in found if name not in self._known)})
