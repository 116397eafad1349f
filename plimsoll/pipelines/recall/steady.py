"""Whether importing a project gives the same pipelines every time, as far as its code tells.

Files and variables that an import reads are found while it happens; this looks for what cannot be found like that: the clock,
randomness, and readers that open files unseen. It follows names and not values, so it errs on the side of "no".
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
from collections.abc import Container, Iterable, Iterator, Mapping
from types import ModuleType

from plimsoll.data.code.source import Sources
from plimsoll.data.trace.found import STAMPS
from plimsoll.pipelines.step import step_of

#: What the clock, the machine and the system's randomness are asked with.
_UNSTEADY = {
    "now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime", "ctime", "perf_counter", "monotonic", "process_time",
    "uuid1", "uuid4", "urandom", "token_hex", "token_bytes", "token_urlsafe", "randbits", "randbelow", "SystemRandom", "default_rng",
    "Random", "RandomState", "SeedSequence", "random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform",
    "gauss", "rand", "randn", "normal", "permutation", "getpid", "gethostname", "getnode", "getuser", "getlogin", "cpu_count",
    "randbytes", "getrandbits", "integers", "standard_normal", "rvs", "strftime",
    "formatdate", "make_msgid", "time2isoz", "time2netscape", "clock_gettime", "perf_counter_ns", "monotonic_ns",
    "eval", "exec", *STAMPS,
}  # fmt: skip
#: A text by which a library tells the time, draws a number or opens a file unseen: of a query, or of a reader that ``getattr`` finds.
_TELLS = re.compile(r"(?i)'now'|\b(current_(timestamp|date|time)|random(blob)?\s*\()|\battach\s|\b(read|scan)_\w")
_READERS = ("read_", "scan_")
_READS = {"ParquetFile", "ParquetDataset", "open_dataset", "load_dataset"}


def unsteady(modules: Iterable[ModuleType], before: Container[str], pipeline: str, sources: Sources) -> str:
    """Return a name through which importing modules, or planning a pipeline, may come to something else next time; empty if none.

    Args:
        modules: the user's own, imported.
        before: names of the modules that were imported before anybody watched what imports read.
        pipeline: name of the pipeline's function, whose body runs while it is planned.
        sources: reads their files.
    """
    functions: dict[str, list[ast.AST]] = {}
    #: Name -> the names that imports give it for.
    meant: dict[str, set[str]] = {}
    steps, outside = set[str](), list[str]()
    for module in modules:
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py") or (module.__name__ in before and not _is_pythons(file)):
            return module.__name__
        steps |= {name for name, value in vars(module).items() if step_of(value) is not None}
        tree = sources.tree(file, vars(module))
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.alias) and node.asname:
                meant.setdefault(node.asname, set()).add(node.name.rpartition(".")[2])
        outside += _mentioned(tree.body)
    # While a pipeline is planned its steps do not run; a module that calls one runs it.
    return _reached(outside, functions, meant, frozenset()) or _reached([pipeline], functions, meant, steps)


def _is_pythons(file: str) -> bool:
    """Return whether a module lies beside the standard library: a distribution's own ``sitecustomize``, which each program begins with."""
    return os.path.dirname(file) == sysconfig.get_path("stdlib")


def _reached(
    names: Iterable[str], functions: Mapping[str, list[ast.AST]], meant: Mapping[str, Iterable[str]], left_out: Container[str]
) -> str:
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name in left_out:
            continue
        seen.add(name)
        if name in _UNSTEADY or (name not in functions and (name in _READS or name.startswith(_READERS))):
            return name
        if not name.isidentifier():
            return f"the text {name!r}"
        waiting += meant.get(name, ())
        for node in functions.get(name, ()):
            waiting += _mentioned(node.body)  # type: ignore[attr-defined]
    return ""


def _mentioned(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements use as they run, and texts that tell a library to do more.

    The bodies of functions that statements define do not run with them.
    """
    pending = list(statements)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # Special methods are called without being named.
            inside = node.body if node.name.startswith("__") else []
            pending += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults), *inside]
            continue
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (_TELLS.search(node.value) or node.value in _UNSTEADY):
            yield node.value
        pending += ast.iter_child_nodes(node)
