# ruff: noqa: E501
"""Arguments of which a step computes something else, though many a comparison calls them equal."""

from __future__ import annotations

from tests.unit.data.case import Case

_SEE = """
import array, collections, datetime as dt, decimal, enum, fractions, functools, math, pathlib, re, struct, uuid, zoneinfo
import numpy as np, pandas as pd, polars as pl, pyarrow as pa
from dataclasses import dataclass
class Level(enum.IntEnum):
    LOW = 1
class Name(str):
    pass
@dataclass
class Point:
    x: int
    def double(self):
        return self.x * 2
class Place:
    def __init__(self, x):
        self.x = x
    def double(self):
        return self.x * 2
def nan(payload):
    return struct.unpack('>d', struct.pack('>Q', 0x7FF8000000000000 | payload))[0]
def show(v):
    if isinstance(v, float):
        return struct.pack('>d', v)
    if isinstance(v, dict):
        return type(v).__name__, [(show(k), show(i)) for k, i in v.items()], repr(v)
    if isinstance(v, (list, tuple, collections.deque)):
        return type(v).__name__, [show(i) for i in v], getattr(v, 'maxlen', 0)
    if isinstance(v, np.ndarray):
        return str(v.dtype), repr(v.dtype), v.shape, v.ravel('K').tobytes() if v.dtype != object else [show(i) for i in v.tolist()]
    if isinstance(v, pd.DataFrame):
        return repr(v), str(v.dtypes.to_dict()), repr(v.index), repr(v.columns), repr(v.attrs), [str(t) for t in v.to_numpy().tolist()], [repr(v[c].dtype) for c in v.columns]
    if isinstance(v, pl.DataFrame):
        return str(v.schema), repr(v.rows())
    if isinstance(v, pa.Table):
        return str(v.schema), repr(v.schema.metadata), repr(v.to_pylist()), repr([f.metadata for f in v.schema]), [f.nullable for f in v.schema]
    if isinstance(v, dt.datetime):
        return v.isoformat(), v.fold, repr(v.tzinfo), str(v.utcoffset())
    if isinstance(v, (set, frozenset)):
        return type(v).__name__, sorted(repr(i) for i in v)
    if callable(getattr(v, 'double', None)):
        return v.double()
    if callable(v) and not isinstance(v, type):
        return v(5)
    return type(v).__name__, repr(v)
def run(x):
    return repr(show(x))
"""

_PAIRS: dict[str, tuple[str, str]] = {
    "1 for '1'": ("1", "'1'"),
    "1 for 1.0": ("1", "1.0"),
    "1 for True": ("1", "True"),
    "0 for False": ("0", "False"),
    "0.0 for -0.0": ("0.0", "-0.0"),
    "NaN with a payload": ("math.nan", "nan(7)"),
    "None for 'None'": ("None", "'None'"),
    "empty text for None": ("''", "None"),
    "great integers": ("2 ** 64", "2 ** 64 + 1"),
    "complex with another zero": ("complex(0, 0.0)", "complex(0, -0.0)"),
    "text for bytes": ("'a'", "b'a'"),
    "bytes for bytearray": ("b'a'", "bytearray(b'a')"),
    "tuple for list": ("(1, 2)", "[1, 2]"),
    "set for frozenset": ("{1}", "frozenset({1})"),
    "nesting": ("[[1], 2]", "[[1, 2]]"),
    "text joined otherwise": ("['ab', 'c']", "['a', 'bc']"),
    "order of a dict": ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    "key of another type": ("{1: 'a'}", "{'1': 'a'}"),
    "dict for ordered dict": ("{'a': 1}", "collections.OrderedDict(a=1)"),
    "other default factory": ("collections.defaultdict(int)", "collections.defaultdict(list)"),
    "counter for dict": ("collections.Counter('a')", "{'a': 1}"),
    "deque's limit": ("collections.deque([1], 2)", "collections.deque([1], 3)"),
    "int for int-enum": ("1", "Level.LOW"),
    "text for a subclass of text": ("'a'", "Name('a')"),
    "scale of a decimal": ("decimal.Decimal('1.0')", "decimal.Decimal('1.00')"),
    "fraction for float": ("fractions.Fraction(1, 2)", "0.5"),
    "date for datetime": ("dt.date(2020, 1, 1)", "dt.datetime(2020, 1, 1)"),
    "time zone": ("dt.datetime(2020, 1, 1, tzinfo=dt.UTC)", "dt.datetime(2020, 1, 1)"),
    "zone with the same offset": (
        "dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
        "dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Paris'))",
    ),
    "fold": (
        "dt.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
        "dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
    ),
    "microsecond": ("dt.timedelta(1)", "dt.timedelta(1, 0, 1)"),
    "kind of path": ("pathlib.PurePosixPath('a')", "pathlib.PureWindowsPath('a')"),
    "path for text": ("pathlib.PurePosixPath('a')", "'a'"),
    "range for list": ("range(3)", "[0, 1, 2]"),
    "range's step": ("range(0, 4, 2)", "range(0, 3, 2)"),
    "array's type": ("array.array('i', [1])", "array.array('l', [1])"),
    "identifier": ("uuid.UUID(int=1)", "uuid.UUID(int=2)"),
    "field of a dataclass": ("Point(1)", "Point(2)"),
    "state of an object": ("Place(1)", "Place(2)"),
    "object of another class": ("Point(1)", "{'x': 1}"),
    "function": ("lambda v: v + 1", "lambda v: v + 2"),
    "partial": ("functools.partial(pow, 5)", "functools.partial(pow, 6)"),
    "class": ("int", "float"),
    "dtype": ("np.array([1, 2])", "np.array([1, 2], 'i4')"),
    "shape": ("np.zeros((2, 3))", "np.zeros((3, 2))"),
    "empty shape": ("np.zeros((0, 3))", "np.zeros((3, 0))"),
    "order in memory": ("np.arange(6).reshape(2, 3)", "np.asfortranarray(np.arange(6).reshape(2, 3))"),
    "byte order": ("np.array([1, 2])", "np.array([1, 2], '>i8')"),
    "array for scalar": ("np.array(1)", "np.int64(1)"),
    "width of a scalar": ("np.float64(1)", "np.float32(1)"),
    "array for list": ("np.array([1, 2])", "[1, 2]"),
    "unit of a moment": ("np.array(['2020-01-01'], 'M8[D]')", "np.array(['2020-01-01'], 'M8[s]')"),
    "name of a structured field": ("np.array([(1, 2)], [('a', 'i4'), ('b', 'i4')])", "np.array([(1, 2)], [('a', 'i4'), ('c', 'i4')])"),
    "objects in an array": ("np.array([1, '1'], object)", "np.array(['1', 1], object)"),
    "mask": ("np.ma.array([1, 2], mask=[0, 1])", "np.ma.array([1, 2], mask=[1, 0])"),
    "negative zero in an array": ("np.array([0.0])", "np.array([-0.0])"),
    "pandas index": ("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1]}, index=['r'])"),
    "pandas index's name": ("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1]}, index=pd.Index([0], name='i'))"),
    "pandas range for list": ("pd.DataFrame({'a': [1, 2]}, index=[0, 1])", "pd.DataFrame({'a': [1, 2]})"),
    "pandas dtype": ("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1]}, dtype='int32')"),
    "pandas nullable dtype": ("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1]}, dtype='Int64')"),
    "pandas column order": ("pd.DataFrame({'a': [1], 'b': [2]})", "pd.DataFrame({'b': [2], 'a': [1]})"),
    "pandas column type": ("pd.DataFrame({1: [1]})", "pd.DataFrame({'1': [1]})"),
    "pandas categories": (
        "pd.DataFrame({'a': pd.Categorical(['x'], ['x', 'y'])})",
        "pd.DataFrame({'a': pd.Categorical(['x'], ['y', 'x'])})",
    ),
    "pandas ordered categories": ("pd.DataFrame({'a': pd.Categorical(['x'], ordered=True)})", "pd.DataFrame({'a': pd.Categorical(['x'])})"),
    "pandas attributes": ("pd.DataFrame({'a': [1]})", "(lambda f: (f.attrs.update(u='m'), f)[1])(pd.DataFrame({'a': [1]}))"),
    "pandas missing value": ("pd.DataFrame({'a': [None]}, dtype=object)", "pd.DataFrame({'a': [float('nan')]}, dtype=object)"),
    "pandas time zone": (
        "pd.DataFrame({'a': pd.to_datetime(['2020-01-01'])})",
        "pd.DataFrame({'a': pd.to_datetime(['2020-01-01'], utc=True)})",
    ),
    "pandas frequency": (
        "pd.DataFrame({'a': [1, 2]}, index=pd.date_range('2020-01-01', periods=2))",
        "pd.DataFrame({'a': [1, 2]}, index=pd.DatetimeIndex(['2020-01-01', '2020-01-02']))",
    ),
    "pandas levels' names": (
        "pd.DataFrame({'a': [1]}, index=pd.MultiIndex.from_tuples([(1, 2)]))",
        "pd.DataFrame({'a': [1]}, index=pd.MultiIndex.from_tuples([(1, 2)], names=['p', 'q']))",
    ),
    "polars dtype": ("pl.DataFrame({'a': [1]})", "pl.DataFrame({'a': [1]}, schema={'a': pl.Int32})"),
    "polars null for value": ("pl.DataFrame({'a': [1, None]})", "pl.DataFrame({'a': [1, 0]})"),
    "polars null for NaN": ("pl.DataFrame({'a': [1.0, None]})", "pl.DataFrame({'a': [1.0, float('nan')]})"),
    "polars column order": ("pl.DataFrame({'a': [1], 'b': [2]})", "pl.DataFrame({'b': [2], 'a': [1]})"),
    "polars enum's order": (
        "pl.DataFrame({'a': ['x']}, schema={'a': pl.Enum(['x', 'y'])})",
        "pl.DataFrame({'a': ['x']}, schema={'a': pl.Enum(['y', 'x'])})",
    ),
    "polars text for category": ("pl.DataFrame({'a': ['x']})", "pl.DataFrame({'a': ['x']}, schema={'a': pl.Categorical})"),
    "polars nesting": ("pl.DataFrame({'a': [[1], [2, 3]]})", "pl.DataFrame({'a': [[1, 2], [3]]})"),
    "polars time unit": (
        "pl.DataFrame({'a': [dt.datetime(2020, 1, 1)]}, schema={'a': pl.Datetime('us')})",
        "pl.DataFrame({'a': [dt.datetime(2020, 1, 1)]}, schema={'a': pl.Datetime('ms')})",
    ),
    "Arrow metadata": ("pa.table({'a': [1]})", "pa.table({'a': [1]}, metadata={'k': 'v'})"),
    "Arrow field's metadata": (
        "pa.table([[1]], schema=pa.schema([pa.field('a', pa.int64())]))",
        "pa.table([[1]], schema=pa.schema([pa.field('a', pa.int64(), metadata={'k': 'v'})]))",
    ),
    "Arrow nullability": (
        "pa.table([[1]], schema=pa.schema([pa.field('a', pa.int64())]))",
        "pa.table([[1]], schema=pa.schema([pa.field('a', pa.int64(), nullable=False)]))",
    ),
    "Arrow type": ("pa.table({'a': ['x']})", "pa.table({'a': pa.array(['x'], pa.large_string())})"),
    "polars for pandas": ("pl.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1]})"),
}

VALUES: dict[str, Case] = {f"argument: {name}": Case(steps=_SEE, args=old, new_args=new) for name, (old, new) in _PAIRS.items()}
VALUES |= {
    "argument: method of its dataclass": Case(
        steps=_SEE,
        old="    x: int\n    def double(self):\n        return self.x * 2",
        new="    x: int\n    def double(self):\n        return self.x * 3",
        args="Point(1)",
    ),
    "argument: method of its class": Case(
        steps=_SEE,
        old="        self.x = x\n    def double(self):\n        return self.x * 2",
        new="        self.x = x\n    def double(self):\n        return self.x * 3",
        args="[Place(1)]",
    ),
    "argument: method of its enum": Case(
        steps="import enum\nclass E(enum.Enum):\n    A = 1\n    def cost(self):\n        return self.value * 2\ndef run(x):\n    return x.cost()\n",
        old="* 2",
        new="* 3",
        args="E.A",
    ),
    "argument: helper of its function": Case(
        steps="def h(x):\n    return x + 1\ndef f(x):\n    return h(x)\ndef run(g):\n    return g(1)\n", old="x + 1", new="x + 2", args="f"
    ),
    "argument: two functions of one name": Case(
        steps="def make(k):\n    return lambda x: x * k\ndef run(f, g):\n    return f(1), g(1)\n",
        args="lambda x: x + 1, lambda x: x + 2",
        new_args="lambda x: x + 9, lambda x: x + 2",
    ),
    "argument: the first of two closures": Case(
        steps="def make(k):\n    return lambda x: x * k\ndef run(f, g):\n    return f(1), g(1)\n",
        args="make(1), make(2)",
        new_args="make(5), make(2)",
    ),
    "argument: swapped closures": Case(
        steps="def make(k):\n    return lambda x: x * k\ndef run(f, g):\n    return f(1), g(1)\n",
        args="make(1), make(2)",
        new_args="make(2), make(1)",
    ),
    "argument: bound method": Case(
        steps="class A:\n    def __init__(self, k):\n        self.k = k\n    def go(self, x):\n        return self.k * x\ndef run(f):\n    return f(2)\n",
        args="A(1).go",
        new_args="A(2).go",
    ),
    "argument: pydantic model": Case(
        steps="import pydantic\nclass M(pydantic.BaseModel):\n    x: int\n    def go(self):\n        return self.x * 2\ndef run(m):\n    return m.go()\n",
        old="* 2",
        new="* 3",
        args="M(x=1)",
    ),
    "argument: field of a pydantic model": Case(
        steps="import pydantic\nclass M(pydantic.BaseModel):\n    x: int\ndef run(m):\n    return m.x\n", args="M(x=1)", new_args="M(x=2)"
    ),
    "argument: attrs object": Case(
        steps="import attrs\n@attrs.define\nclass A:\n    x: int\n    def go(self):\n        return self.x\ndef run(a):\n    return a.go()\n",
        args="A(1)",
        new_args="A(2)",
    ),
    "argument: struct": Case(
        steps="import msgspec\nclass S(msgspec.Struct):\n    x: int\n    def go(self):\n        return self.x * 2\ndef run(a):\n    return a.go()\n",
        old="* 2",
        new="* 3",
        args="S(1)",
    ),
    "argument: position": Case(steps="def run(a, b):\n    return a - b\n", args="1, 2", new_args="2, 1"),
}
