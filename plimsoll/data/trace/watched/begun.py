"""Functions written in Python that touch the world without telling it: what each means for a trace when it begins."""

from __future__ import annotations

import dis
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any
from urllib.parse import unquote, urlsplit

from plimsoll.data.code.bytecode import Reference, named_in_text
from plimsoll.data.trace.files.places import LEADS, LINK, PERMISSIONS, SIZE, STATE, THERE, TIME, is_machine
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.now import INSTALLED, MACHINE, PROCESSORS, SOUGHT

#: A table function of polars in a query.
_IN_QUERY = re.compile(r"(?i)\bread_\w+\s*\(\s*'([^']+)'")

Arguments = Mapping[str, Any]
Begun = Callable[[Found, FrameType, Arguments, str], None]


def source(found: Found, given: Any) -> None:
    """Note that a library reads what it was given: a path, several, a pattern, a folder or an address.

    Args:
        found: takes it.
        given: what the library was given; open files and frames tell for themselves.
    """
    if isinstance(given, (list, tuple)):
        for each in given:
            source(found, each)
    elif isinstance(given, (str, os.PathLike)):
        text = os.fspath(given)
        scheme, mark, rest = text.partition("://") if isinstance(text, str) else ("", "", "")
        if mark and scheme == "file":
            found.read_all(unquote(urlsplit(text).path))
        elif mark and scheme.isalnum():
            found.effect(f"opened a network connection ({scheme}://{rest.partition('/')[0].rpartition('@')[2]})")
        else:
            found.read_all(text)


def handle(found: Found, number: int) -> None:
    """Note that a file is read that is open already: an import may have opened it.

    Args:
        found: takes it.
        number: the file's handle.
    """
    try:
        path = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return
    if os.path.isfile(path):
        found.read(path)


def _reads(*names: str) -> Begun:
    def begun(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
        system = arguments.get("filesystem")
        if system is not None and type(system).__name__ not in ("LocalFileSystem", "str"):
            found.effect(f"read through a file system of its own ({called} with {type(system).__name__})")
            return
        for name in names or tuple(arguments)[:1]:
            source(found, arguments.get(name))

    return begun


def _writes(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back) in ("user", "third"):
        for given in tuple(arguments.values())[:2]:  # the path, or the object that is written and the path
            if isinstance(given, (str, os.PathLike)) and "://" not in os.fspath(given):
                found.write(given, True)


def _aspect(*ends: str) -> Begun:
    def begun(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
        given = next(iter(arguments.values()), None)
        for end in ends:
            ask(found, frame.f_back, given, end)

    return begun


def _archived(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    """Note that an archive says of a file when it was changed, and whose it is."""
    given = arguments.get("filename", arguments.get("name"))
    if given is not None and arguments.get("fileobj") is None and found.asks(frame.f_back) == "user":
        found.aspect(given, STATE)


def _same(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    for given in tuple(arguments.values())[:2]:
        ask(found, frame.f_back, given, LEADS)


def _around(name: str) -> Begun:
    def begun(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
        if found.asks(frame.f_back) == "user":
            found.around(name)

    return begun


def _volatile(what: str) -> Begun:
    def begun(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
        if found.asks(frame.f_back) == "user":
            found.effect(f"asked {what} ({called})")

    return begun


def _variables(*names: str) -> Begun:
    def begun(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
        if found.asks(frame.f_back) == "user":
            for name in names:
                found.variable(name)

    return begun


def _shows(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back) == "user":
        # Its native code reads them by itself, when it writes a table as text.
        for name in sys.modules["polars"].Config.state(env_only=True):
            if name.startswith(("POLARS_FMT_", "POLARS_TABLE_")):
                found.variable(name)


def _which(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back) != "user" or not isinstance(arguments.get("cmd"), (str, os.PathLike)):
        return
    command, path = os.fspath(arguments["cmd"]), arguments.get("path")
    if path is None:
        found.variable("PATH")
        path = os.environ.get("PATH", os.defpath)
    folders = [""] if os.path.dirname(command) else os.fsdecode(path).split(os.pathsep)
    for folder in folders:
        candidate = os.path.join(folder, os.fsdecode(command))
        found.aspect(candidate, PERMISSIONS)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return


def ask(found: Found, frame: FrameType | None, given: Any, end: str) -> None:
    """Note that something of a file besides its content is asked, if the user's code asks, or others ask it of the project.

    Args:
        found: takes it.
        frame: where it is asked.
        given: the file's path.
        end: what is asked.
    """
    inner = frame.f_code.co_filename if frame is not None else ""
    if ("pathlib" in inner and found.origins.of(inner) == "stdlib") or found.origins.housekeeping(frame):
        return  # one question asked through another, or not for the step
    if inner.endswith(_MAKES) and frame is not None and frame.f_code.co_name == "makedirs":
        return  # the folders that it makes tell of themselves
    asker = found.asks(frame)
    if asker == "user" and end != THERE and isinstance(given, (str, os.PathLike)) and is_machine(os.path.abspath(given)):
        found.effect(f"asked what the machine makes ({os.fspath(given)})")
    elif asker == "user":
        found.aspect(given, end)
    elif asker == "third" and found.inside(given):
        # Libraries look at sizes, times and links to read better, not to give another result.
        found.aspect(given, THERE)


#: Of the standard library: asks whether folders are there that it is to make.
_MAKES = ("/os.py", "<frozen os>")

#: What makes generators of numpy.
_WITHOUT = ("default_rng", "SeedSequence", "RandomState", "MT19937")

_DRAWERS = ("/random.py", "/secrets.py", "/uuid.py")


def _draws(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    back = frame.f_back
    # Through other draws of the same modules, and what a decorator has written: the init of a dataclass.
    while back is not None and (found.origins.of(back.f_code.co_filename) == "made" or back.f_code.co_filename.endswith(_DRAWERS)):
        back = back.f_back
    if back is not None and called.endswith("getrandbits") and found.origins.of(back.f_code.co_filename) == "third":
        _draws_for_others(found, back)
        return
    if back is None or found.origins.of(back.f_code.co_filename) != "user" or (id(back.f_code), back.f_lasti) in found.making:
        return
    if found.seeded != (id(back), back.f_lasti):
        found.effect(f"drew random numbers from the system ({called})")


def _draws_for_others(found: Found, frame: FrameType) -> None:
    """Note that numpy draws a seed for a generator that an installed package makes without one; later Pythons tell of the call itself."""
    if sys.version_info >= (3, 12) or found.asks(frame) == "imports":
        return
    named = [each.argval for each in dis.get_instructions(frame.f_code) if each.offset < frame.f_lasti and each.argval in _WITHOUT]
    # The older ones draw a seed also where they are given one, and forget it.
    if named and named[-1] in ("default_rng", "SeedSequence"):
        found.effect(f"drew random numbers from the system (numpy.random.{named[-1]} without a seed)")


def _seeds(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if arguments.get("a") is None and arguments.get("x") is None:
        _draws(found, frame, arguments, called)


def _from_here(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    given = next(iter(arguments.values()), "")
    relative = isinstance(given, type) or (isinstance(given, (str, os.PathLike)) and not os.path.isabs(given))
    if relative and not found.origins.housekeeping(frame.f_back) and found.asks(frame.f_back) == "user":
        found.working_folder(path=True)


def _leads(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    _from_here(found, frame, arguments, called)
    ask(found, frame.f_back, next(iter(arguments.values()), None), LEADS)


def _selects(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    """Note that a pattern's folder is looked for, or a name in it that has no wildcard."""
    path = arguments.get("path")
    if path is None:  # before Python 3.13
        path = os.path.join(arguments["parent_path"], getattr(arguments["self"], "name", ""))
    if arguments.get("exists") is not True and found.asks(frame) in ("user", "third"):
        found.aspect(path, THERE)


def _queries(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    for path in _IN_QUERY.findall(str(arguments.get("query", ""))):
        source(found, path)


def _imports(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    back, name, package = frame.f_back, arguments.get("name"), arguments.get("package")
    if back is not None and found.origins.of(back.f_code.co_filename) == "user" and isinstance(name, str):
        name = importlib.util.resolve_name(name, package) if name.startswith(".") else name
        found.searched.search(name)
        found.imports(name)


def _sought(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    name, package = arguments.get("name"), arguments.get("package")
    if found.asks(frame.f_back) == "user" and isinstance(name, str):
        name = importlib.util.resolve_name(name, package) if name.startswith(".") else name
        if not found.searched.search(name):
            found.around(SOUGHT.format(name))


def _version(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    name = arguments.get("distribution_name")
    if found.asks(frame.f_back) == "user" and isinstance(name, str):
        found.asked.add(name)


def _loads(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back) == "user":
        found.imports(arguments["self"].module)


def _named(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    name = str(arguments.get("name", ""))
    found.imports(name if called.endswith("_module") else name.rpartition(".")[0] or "builtins")


def _unpacks(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back, data=True) in ("user", "third"):
        found.read(arguments["self"].archive)


def _resolves(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    """Note the module whose global a text names that was made while the code runs: ``frame.query(text)``."""
    at, name = frame.f_back, arguments.get("key")
    while at is not None and found.origins.of(at.f_code.co_filename) != "user":
        at = at.f_back
    if at is None or name not in at.f_globals or name in at.f_locals:
        return
    if Reference("global", name) not in named_in_text(at.f_code, at.f_globals):
        found.imports(at.f_globals["__name__"])


def _temporary(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back) == "user":
        found.effect(f"drew random numbers from the system ({called})")


def _recorded(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.stamps and found.asks(frame.f_back) == "user":
        found.effect("read the clock (the time of a log's record)")


def _clock(*names: str) -> Begun:
    def begun(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
        given = [arguments.get(name) for name in names]
        if found.asks(frame.f_back) == "user" and all(each is None for each in given):
            found.effect(f"read the clock ({called})")

    return begun


#: By these pandas and numpy mean the present.
_WORDS = ("now", "today")


def is_now(value: Any) -> bool:
    """Return whether a value, or one of a list, stands for the present.

    Args:
        value: what a maker of times is given.
    """
    return value in _WORDS if isinstance(value, str) else isinstance(value, (list, tuple)) and any(is_now(each) for each in value)


def _from_now(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    if found.asks(frame.f_back) == "user" and any(is_now(arguments.get(name)) for name in ("start", "end")):
        found.effect(f"read the clock ({called})")


def _connects(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    found.effect(f"opened a network connection ({called})")


def _begins(found: Found, frame: FrameType, arguments: Arguments, called: str) -> None:
    found.effect(f"began another process ({called})")


#: (module begins with, qualified name) -> what a call means. The names are patterns.
_BEGUN: tuple[tuple[str, str, Begun], ...] = (
    ("polars.io.database", r"read_database_uri", _connects),
    ("polars.io.clipboard", r"read_clipboard", _begins),
    ("polars.io", r"(read|scan)_(?!database|clipboard|arrow_c|pyarrow|external)\w+", _reads()),
    ("polars.dataframe.frame", r"DataFrame\.deserialize", _reads("source")),
    ("polars.lazyframe.frame", r"LazyFrame\.deserialize", _reads("source")),
    ("polars.dataframe.frame", r"DataFrame\.write_(parquet|ipc|ipc_stream|csv|json|ndjson|avro)", _writes),
    ("polars.lazyframe.frame", r"LazyFrame\.sink_(parquet|ipc|csv|ndjson)", _writes),
    ("polars.dataframe.frame", r"DataFrame\.(__str__|__repr__|_repr_html_|glimpse)", _shows),
    ("polars.series.series", r"Series\.(__str__|__repr__|_repr_html_)", _shows),
    ("polars.sql", r"SQLContext\.execute_file", _reads("source")),
    ("polars.sql", r"SQLContext\.execute", _queries),
    ("pyarrow.parquet", r"(ParquetFile|ParquetDataset)\.__init__", _reads("source", "path_or_paths")),
    ("pyarrow.parquet", r"read_(table|metadata|schema|pandas)", _reads("source", "where")),
    ("pyarrow.parquet", r"ParquetWriter\.__init__", _writes),
    ("pyarrow.feather", r"write_feather", _writes),
    ("pyarrow.orc", r"ORCWriter\.__init__", _writes),
    ("pyarrow.dataset", r"dataset|parquet_dataset", _reads("source", "metadata_path")),
    ("pyarrow.feather", r"read_(feather|table)", _reads("source")),
    ("pyarrow.orc", r"read_table|ORCFile\.__init__", _reads("source")),
    ("pyarrow.ipc", r"open_(file|stream)|RecordBatch(File|Stream)Reader\.__init__", _reads("source")),
    ("scipy.io", r"mm(read|info)", _reads("source")),
    ("pandas.io", r"read_(hdf|spss|orc|feather)", _reads()),
    ("pandas.io.parquet", r"to_parquet", _writes),
    ("tables.file", r"open_file|File\.__init__", _reads("filename")),
    ("h5py", r"File\.__init__", _reads("name")),
    ("xgboost.core", r"Booster\.load_model|DMatrix\.__init__", _reads("fname", "data")),
    ("xgboost.core", r"Booster\.save_model", _writes),
    ("lightgbm.basic", r"Booster\.save_model", _writes),
    ("lightgbm.basic", r"Booster\.__init__|Dataset\.__init__", _reads("model_file", "data")),
    ("catboost.core", r"CatBoost\.(_)?load_model", _reads("fname", "model_file")),
    ("onnxruntime", r"InferenceSession\.__init__", _reads("path_or_bytes")),
    ("safetensors", r"load_file", _reads("filename")),
    ("torch.jit._serialization", r"load|jit_module_from_flatbuffer", _reads("f")),
    ("torch.jit._serialization", r"save(_jit_module_to_flatbuffer)?", _writes),
    ("torch.jit._script", r"RecursiveScriptModule\.save", _writes),
    ("torch.serialization", r"save", _writes),
    ("torch.storage", r"TypedStorage\.from_file", _reads("filename")),
    ("torch.package.package_importer", r"PackageImporter\.__init__", _reads("file_or_buffer")),
    ("torch.package.package_exporter", r"PackageExporter\.__init__", _writes),
    ("torch.export.pt2_archive._package", r"PT2ArchiveReader\.__init__", _reads("archive_path_or_buffer")),
    ("torch.export.pt2_archive._package", r"PT2ArchiveWriter\.__init__", _writes),
    ("torch._ops", r"_Ops\.load_library", _reads("path")),
    ("connectorx", r"read_sql", _connects),
    ("psycopg", r"(Async)?Connection\.connect|connect", _connects),
    ("grpc", r"(in)?secure_channel", _connects),
    ("multiprocessing.process", r"BaseProcess\.start", _begins),
    ("concurrent.futures.process", r"ProcessPoolExecutor\.submit", _begins),
    ("joblib.externals.loky", r".*Executor\.submit|.*fork_exec", _begins),
    ("genericpath", r"exists|isfile|isdir", _aspect(THERE)),
    ("genericpath", r"lexists|islink", _aspect(LINK)),  # their home from Python 3.13 on
    ("posixpath", r"lexists|islink", _aspect(LINK)),
    ("genericpath", r"getsize", _aspect(SIZE)),
    ("genericpath", r"getmtime", _aspect(TIME)),
    ("genericpath", r"get[ca]time", _volatile("for a time that more than changes of a file set")),
    ("genericpath", r"samefile", _same),
    ("pathlib", r"Path(Base)?\.(exists|is_file|is_dir)", _aspect(THERE)),
    ("pathlib", r"Path(Base)?\.(is_symlink|readlink)", _aspect(LINK)),
    ("pathlib", r"Path(Base)?\.samefile", _same),
    ("pathlib", r"Path(Base)?\.(stat|owner|group)", _aspect(STATE)),
    ("pathlib", r"Path(Base)?\.lstat", _aspect(STATE, LINK)),
    ("pathlib", r"Path(Base)?\.(cwd|absolute)", _from_here),
    ("pathlib", r"Path(Base)?\.resolve", _leads),
    ("pathlib", r"_Selector\.select_from|_PreciseSelector\._select_from", _selects),
    ("glob", r"_\w*Globber\w*\.select_exists", _selects),
    ("posixpath", r"abspath", _from_here),
    ("posixpath", r"realpath", _leads),
    ("filecmp", r"cmp", _reads("f1", "f2")),
    ("zipfile", r"ZipInfo\.from_file", _archived),
    ("tarfile", r"TarFile\.gettarinfo", _archived),
    ("shutil", r"which", _which),
    ("shutil", r"disk_usage", _volatile("how busy the machine is")),
    ("psutil", r"(virtual_memory|swap_memory|(cpu|disk|net)_\w+|pids|process_iter)", _volatile("how busy the machine is")),
    ("shutil", r"get_terminal_size", _variables("COLUMNS", "LINES")),
    ("getpass", r"getuser", _variables("LOGNAME", "USER", "LNAME", "USERNAME")),
    ("platform", r"(node|uname|machine|system|release|version|platform)", _around(MACHINE)),
    ("multiprocessing.context", r"BaseContext\.cpu_count", _around(PROCESSORS)),
    ("joblib.parallel", r"cpu_count", _around(PROCESSORS)),
    ("importlib", r"import_module", _imports),
    ("importlib.util", r"find_spec", _sought),
    ("importlib.metadata", r"version|metadata|requires|files", _version),
    ("importlib.metadata", r"distributions?|packages_distributions|entry_points|Distribution\.(from_name|discover)", _around(INSTALLED)),
    ("importlib.metadata", r"EntryPoint\.load", _loads),
    ("gettext", r"find", _variables("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")),
    ("urllib.request", r"getproxies_environment", _variables(*(f"{scheme}_proxy" for scheme in ("http", "https", "ftp", "all", "no")))),
    ("yaml.constructor", r"\w+\.find_python_(name|module)", _named),
    ("zipimport", r"zipimporter\.get_data", _unpacks),
    ("tempfile", r"mktemp", _temporary),
    ("logging", r"LogRecord\.__init__", _recorded),
    ("pandas.core.computation.scope", r"Scope\.resolve", _resolves),
    ("email.utils", r"formatdate", _clock("timeval")),
    ("email.utils", r"localtime", _clock("dt")),
    ("http.cookiejar", r"time2(isoz|netscape)", _clock("t")),
    ("pandas.core.indexes.datetimes", r"date_range", _from_now),
    ("random", r"SystemRandom\.\w+", _draws),
    ("random", r"Random\.(seed|__init__)", _seeds),
    ("uuid", r"uuid[1467]", _draws),
    ("secrets", r"\w+", _draws),
)
_PATTERNS = tuple((module, re.compile(name), act) for module, name, act in _BEGUN)


def begun(module: str, qualname: str) -> Begun | None:
    """Return what the beginning of a function means; None for nearly all.

    Args:
        module: the function's module.
        qualname: its name there.
    """
    for name, act in _patterns(module):
        if name.fullmatch(qualname):
            return act
    return None


@functools.cache
def _patterns(module: str) -> tuple[tuple[re.Pattern[str], Begun], ...]:
    return tuple((name, act) for start, name, act in _PATTERNS if module.startswith(start))


#: Beginnings of the modules above, to tell the rest quickly.
MODULES = tuple(sorted({module for module, _, _ in _BEGUN}))


#: Names by which the user's code may come to run code of the user's that nothing else in it leads to.
LEADS_ANYWHERE = frozenset({
    "getattr", "attrgetter", "methodcaller", "vars", "__dict__", "import_module", "find_spec", "entry_points", "distributions",
    "distribution", "UnsafeLoader", "FullLoader", "unsafe_load", "full_load",
})  # fmt: skip
