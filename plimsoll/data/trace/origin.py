"""Whose code asks: the user's, an installed package's, the standard library's or Plimsoll's."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any, TypeVar

from plimsoll.data.code.source import Sources
from plimsoll.data.environment import packages_folder

R = TypeVar("R")

_STDLIB = tuple({sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib")})

#: Of the standard library: reads code. What else it reads, it reads for whoever called it.
_READS_CODE = (
    "/linecache.py", "/tokenize.py", "/inspect.py", "/traceback.py", "/warnings.py", "/zipimport.py", "/runpy.py", "/pkgutil.py",
)  # fmt: skip

#: The same: looks through every folder of the path for modules and for installed packages.
_IMPORTS = ("/importlib/_boot", "/importlib/metadata/")

#: What these read outside of the project they read once a process, by whichever step comes first.
_READS_ONCE = (
    "/mimetypes.py", "/ssl.py", "/platform.py", "/gettext.py", "/locale.py", "/sysconfig.py", "/ctypes/util.py", "/uuid.py",
)  # fmt: skip

#: Ends of files that hold code, or say what is installed.
_CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".pth", ".zip", ".egg", ".whl")
_INSTALLATION = (".dist-info/", ".egg-info/", "/__pycache__/")

#: Of the standard library: asks for whoever called it. What the rest asks is its own housekeeping.
_PASSES_ON = (
    "/os.py", "/posixpath.py", "/genericpath.py", "/string.py", "/configparser.py", "/copy.py", "/pprint.py", "/types.py", "/functools.py",
    "/contextlib.py", "/_collections_abc.py", "/collections/__init__.py", "/json/__init__.py", "/json/encoder.py", "/pathlib.py",
    "/pathlib/__init__.py", "/pathlib/_local.py", "/pathlib/_abc.py", "/pathlib/types.py", "/pathlib/_os.py", "/glob.py",
    "/dataclasses.py", "/enum.py", "/concurrent/futures/thread.py", "/threading.py", "/multiprocessing/pool.py",
)  # fmt: skip

#: Of an installed package: hands all variables on to a process that it begins, as the standard library's subprocess does.
_HANDS_ON = ("/loky/backend/fork_exec.py",)

#: Name of the threads that answer MLflow's client in a step of this very process.
HOST = "plimsoll-mlflow"

#: Of MLflow's client: finds out the commit, and what a model that it logs needs, for the log alone.
_DESCRIBES = ("/site-packages/mlflow/utils/git_utils.py", "/site-packages/mlflow/utils/requirements_utils.py")

#: Whoever shows a step's output runs in its thread too, but gives it nothing.
FRONTS = frozenset(
    {"ipykernel", "IPython", "zmq", "tornado", "traitlets", "jupyter_client", "debugpy", "_pydevd_bundle", "pydevd", "coverage"}
    | {"pytest", "_pytest", "pluggy", "execnet", "ray", "rich", "tqdm", "cyclopts"}
)


class Aside:
    """What a thread does for a trace while a step runs: its own events do not count."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def now(self) -> bool:
        """Whether the current thread does so."""
        return getattr(self._local, "now", False)

    def do(self, act: Callable[..., R], *args: Any) -> R:
        """Do something and return what it gives.

        Args:
            act: what is done.
            args: its arguments.
        """
        before, self._local.now = self.now, True
        try:
            return act(*args)
        finally:
            self._local.now = before


class Origins:
    """Tells whose code a file is, and remembers it.

    Args:
        sources: knows where files lie; recordings of one project share it, since it asks the disk.
        aside: what is asked there is no question of the step.
    """

    def __init__(self, sources: Sources | None = None, aside: Aside | None = None) -> None:
        self.sources, self._aside = sources or Sources(), aside or Aside()
        self._kinds: dict[str, str] = {}
        self._foreign: dict[str, bool] = {}
        self._packages: dict[str, str] = {}

    def of(self, file: str) -> str:
        """Return ``user``, ``third``, ``stdlib``, ``plimsoll``, ``imports`` (reads code for Python) or ``made`` (no file).

        Args:
            file: ``co_filename`` of a code object.
        """
        kind = self._kinds.get(file)
        if kind is None:
            kind = self._kinds[file] = self._kind(file)
        return kind

    def _kind(self, file: str) -> str:
        if file.startswith("<"):
            if file.startswith(("<frozen importlib", "<frozen zipimport", "<frozen runpy")):
                return "imports"
            return "stdlib" if file.startswith("<frozen") else "user" if file.startswith(("<ipython", "<stdin")) else "made"
        if self._aside.do(packages_folder, file) is not None:
            return "third" if "/plimsoll/" not in file else self._aside.do(self.sources.origin, "", file)
        if file.startswith(_STDLIB):
            return "imports" if any(part in file for part in _IMPORTS) or file.endswith(_READS_CODE) else "stdlib"
        return self._aside.do(self.sources.origin, "", file)

    def package(self, file: str) -> str:
        """Return the top-level package of an installed file.

        Args:
            file: a file that is ``third``.
        """
        if file not in self._packages:
            inner = file.removeprefix(f"{packages_folder(file)}/")
            self._packages[file] = inner.partition("/")[0].partition(".")[0]
        return self._packages[file]

    def is_foreign(self, function: Any) -> bool:
        """Return whether what is called belongs to an installed package, or was compiled, so that it may do what Python is not told of.

        Args:
            function: any callable.
        """
        module = home_of(function)
        if module not in self._foreign:
            package = module.partition(".")[0]
            file = str(getattr(sys.modules.get(module), "__file__", None) or "")
            kind = "third" if package in ("_ctypes", "ctypes") else self._aside.do(self.sources.origin, module, file or None)
            self._foreign[module] = kind == "third" or (kind == "user" and file.endswith((".so", ".pyd")))
        return self._foreign[module]

    def asks(self, frame: FrameType | None, base: int, data: bool = False) -> str:
        """Return whose question something is: that of the innermost code that does not merely pass it on.

        ``user`` or ``third``; ``stdlib`` for the standard library's housekeeping; ``imports`` while code is being read, or an
        installed module imported: that may have happened in an earlier step, so it cannot be part of what this one does.

        Args:
            frame: where it was asked.
            base: identity of the frame that called the step; frames above it are not looked at.
            data: what is read is no code, so whatever reads code passes it on.
        """
        asker, passed = "", True
        while frame is not None and id(frame) != base:
            code = frame.f_code
            file = code.co_filename
            kind = self.of(file)
            if kind == "imports" and not asker and not data:
                return "imports"
            if code.co_name == "<module>" and kind in ("third", "stdlib"):
                return "imports"
            if not asker and kind in ("user", "third"):
                asker = kind
            elif not asker and kind == "plimsoll":
                asker = "plimsoll" if "/plimsoll/runs/" in file else "third" if "/data/trace/" not in file else ""
            passed = passed and (kind == "plimsoll" or _passes_on(file))
            frame = frame.f_back
        # A thread may have been given a function of the standard library itself.
        return asker or ("user" if frame is None and passed else "stdlib")

    def innermost(self, frame: FrameType | None) -> str:
        """Return whose code asks, as :meth:`of` tells it, the standard library's and the recording's own left out.

        Args:
            frame: where it is asked.
        """
        while frame is not None:
            file = frame.f_code.co_filename
            kind = self.of(file)
            if kind in ("user", "third") or (kind == "plimsoll" and "/data/trace/" not in file):
                return kind
            frame = frame.f_back
        return ""

    def reads_once(self, frame: FrameType) -> bool:
        """Return whether the standard library reads something for itself, once in the life of the process.

        Args:
            frame: where it reads.
        """
        at: FrameType | None = frame
        while at is not None and self.of(at.f_code.co_filename) == "stdlib":
            if at.f_code.co_filename.endswith(_READS_ONCE):
                return True
            at = at.f_back
        return False

    def describes(self, frame: FrameType | None) -> bool:
        """Return whether MLflow's client finds something out for what it logs; that is kept with the step's result if its run hosts it.

        Args:
            frame: where it asks.
        """
        while frame is not None:
            if frame.f_code.co_filename.endswith(_DESCRIBES):
                return True
            frame = frame.f_back
        return False

    def housekeeping(self, frame: FrameType | None) -> bool:
        """Return whether the standard library asks something for itself, and not for whoever called it, or a process is begun.

        Args:
            frame: where it asks.
        """
        while frame is not None:
            file = frame.f_code.co_filename
            kind = self.of(file)
            if kind == "stdlib" or kind == "imports":
                if not _passes_on(file):
                    return True
            elif kind != "plimsoll" or "/data/trace/" not in file:
                return kind == "third" and file.endswith(_HANDS_ON)
            frame = frame.f_back
        # A thread that was given a function of the standard library itself.
        return False


def home_of(value: Any) -> str:
    """Return the name of the module that a function, class or object comes from, or a module's own.

    Args:
        value: anything.
    """
    if isinstance(value, ModuleType):
        return value.__name__
    module = getattr(value, "__module__", None)
    if isinstance(module, str):
        return module
    # Methods written in C tell no module, but the class that has them. An object may make something of its own of any attribute.
    owner, bound = getattr(value, "__objclass__", None), getattr(value, "__self__", None)
    if not isinstance(owner, type):
        owner = type(value) if bound is None or isinstance(bound, ModuleType) else type(bound)
    return str(owner.__module__)


def is_code(path: str) -> bool:
    """Return whether a file holds code, or says what is installed.

    Args:
        path: its path.
    """
    return path.endswith(_CODE) or any(part in path for part in _INSTALLATION)


def names_handle(code: CodeType) -> bool:
    """Return whether code takes some path from the handle of a folder.

    Args:
        code: any code object.
    """
    return any("dir_fd" in constant for constant in code.co_consts if isinstance(constant, tuple))


def _passes_on(file: str) -> bool:
    return (f"/{file[len('<frozen ') : -1]}.py" if file.startswith("<frozen") else file).endswith(_PASSES_ON)


def caller(depth: int) -> FrameType | None:
    """Return the frame so many calls above the caller, or None past the first.

    Args:
        depth: 0 is the caller itself.
    """
    try:
        return sys._getframe(depth + 1)
    except ValueError:
        return None
