# ruff: noqa: E501
"""Edits that act through installed packages: names in queries, options, registries, lazy readers, functions inside of objects of theirs."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_NP, _PD, _PL = "import numpy as np\n", "import pandas as pd\n", "import polars as pl\n"
_QUERY = "import pandas as pd\nLIMIT = 2\ndef run(x):\n    f = pd.DataFrame({'a': [1, 2, 3]})\n    return %s\n"
_HELP = {"helper.py": "def twice(v):\n    return v * 2\nK = 2\n"}
_PARQUET = "pl.DataFrame({'a': [%s]}).write_parquet('d.pq')"
_DOG = "import yaml\nclass Dog(yaml.YAMLObject):\n    yaml_tag = '!Dog'\n    legs = 4\n    def go(self):\n        return self.legs\n"
_ORM = "from sqlalchemy import Column, Integer, String\nfrom sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase):\n    pass\nclass User(Base):\n    __tablename__ = 'users'\n    id = Column(Integer, primary_key=True)\n    name = Column(String(10))\n"

LIBRARIES: dict[str, Case] = {
    # --- names in text ---
    "global that a query names": edit(_QUERY % "f.query('a > @LIMIT')['a'].tolist()", "LIMIT = 2", "LIMIT = 1"),
    "global that a query in a constant names": edit(
        "import pandas as pd\nLIMIT = 2\nTEXT = 'a > @LIMIT'\ndef run(x):\n    return pd.DataFrame({'a': [1, 2, 3]}).query(TEXT)['a'].tolist()\n",
        "LIMIT = 2",
        "LIMIT = 1",
    ),
    "global that an expression of a frame names": edit(_QUERY % "f.eval('a * @LIMIT').tolist()", "LIMIT = 2", "LIMIT = 3"),
    "global that pandas' eval names": edit(_QUERY % "int(pd.eval('LIMIT * 2'))", "LIMIT = 2", "LIMIT = 3"),
    "function that a query calls": edit(
        "import pandas as pd\ndef twice(v):\n    return v * 2\ndef run(x):\n    return pd.DataFrame({'a': [1, 2]}).eval('@twice(a)').tolist()\n",
        "v * 2",
        "v * 3",
    ),
    "global of a query that is an argument": edit(
        "import pandas as pd\nLIMIT = 2\ndef run(q):\n    return pd.DataFrame({'a': [1, 2, 3]}).query(q)['a'].tolist()\n",
        "LIMIT = 2",
        "LIMIT = 1",
        args="'a > @LIMIT'",
    ),
    "query of a helper's module": edit(
        "import helper\ndef run(x):\n    return helper.go()\n",
        "LIMIT = 2",
        "LIMIT = 1",
        {
            "helper.py": "import pandas as pd\nLIMIT = 2\ndef go():\n    return pd.DataFrame({'a': [1, 2, 3]}).query('a > @LIMIT')['a'].tolist()\n"
        },
        "helper.py",
    ),
    "column of SQL of polars": edit(
        _PL + "FRAME = pl.DataFrame({'a': [1], 'b': [2]})\nTEXT = 'select a as v from self'\ndef run(x):\n    return FRAME.sql(TEXT)\n",
        "select a",
        "select b",
    ),
    # --- options and states ---
    "options of pandas in a loop": edit(
        _PD + "for k, v in {'display.max_rows': 4}.items():\n    pd.set_option(k, v)\ndef run(x):\n    return repr(pd.Series(range(50)))\n",
        ": 4}",
        ": 6}",
    ),
    "options of pandas by map": edit(
        _PD + "list(map(pd.set_option, ['display.max_rows'], [4]))\ndef run(x):\n    return repr(pd.Series(range(50)))\n", "[4]", "[6]"
    ),
    "options of pandas in a class": edit(
        _PD + "class Setup:\n    pd.options.display.precision = 3\ndef run(x):\n    return repr(pd.Series([1 / 3]))\n", "= 3", "= 4"
    ),
    "options of printing arrays": edit(
        _NP + "class Setup:\n    options = np.set_printoptions(precision=3)\ndef run(x):\n    return repr(np.array([1 / 3]))\n", "=3", "=4"
    ),
    "errors of numpy by a helper's class": edit(
        _NP
        + "class Setup:\n    def __init__(self):\n        self.go()\n    def go(self):\n        np.seterr(divide='raise')\nSetup()\ndef run(x):\n    try:\n        return float(np.float64(1) / 0)\n    except FloatingPointError:\n        return 'raised'\n",
        "'raise'",
        "'ignore'",
    ),
    "legacy state of numpy": edit(
        _NP
        + "R = np.random.RandomState(1)\ndef run(x):\n    r = np.random.RandomState()\n    r.set_state(R.get_state())\n    return float(r.rand())\n",
        "RandomState(1)",
        "RandomState(2)",
    ),
    "state of a bit generator": edit(
        _NP + "R = np.random.Generator(np.random.PCG64(1).jumped(1))\ndef run(x):\n    return float(R.random())\n", "jumped(1)", "jumped(2)"
    ),
    "global seed of numpy that an import sets": edit(
        _NP + "np.random.seed(1)\nV = np.random.rand(2)\ndef run(x):\n    return V.tolist()\n", "seed(1)", "seed(2)"
    ),
    "configuration of estimators in a class": edit(
        "import sklearn\nimport pandas as pd\nfrom sklearn.preprocessing import StandardScaler\nclass Setup:\n    made = sklearn.set_config(transform_output='default')\ndef run(x):\n    return type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__\n",
        "'default'",
        "'pandas'",
    ),
    "configuration of estimators by a context that stays": edit(
        "import sklearn\nimport pandas as pd\nfrom sklearn.preprocessing import StandardScaler\nscope = sklearn.config_context(transform_output='default')\nscope.__enter__()\ndef run(x):\n    return type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__\n",
        "'default'",
        "'pandas'",
    ),
    "printing of polars' frames": edit(
        _PL + "class Setup:\n    pl.Config.set_tbl_rows(3)\ndef run(x):\n    return repr(pl.DataFrame({'a': range(20)}))\n", "(3)", "(5)"
    ),
    "constructor that YAML knows": edit(
        "import yaml\nyaml.SafeLoader.add_constructor('!own', lambda loader, node: 'one')\ndef run(x):\n    return yaml.safe_load('!own 1')\n",
        "'one'",
        "'two'",
    ),
    "class that YAML registers": edit(
        "import yaml\nclass Dog(yaml.YAMLObject):\n    yaml_tag = '!Dog'\n    legs = 4\ndef run(x):\n    return yaml.load('!Dog {}', Loader=yaml.UnsafeLoader).legs\n",
        "legs = 4",
        "legs = 3",
    ),
    "class that YAML registers in another module": edit(
        "import yaml, dogs\ndef run(x):\n    return yaml.load('!Dog {}', Loader=yaml.UnsafeLoader).go()\n",
        "return self.legs",
        "return -self.legs",
        {"dogs.py": _DOG},
        "dogs.py",
    ),
    "attribute of a class that YAML registers in another module": edit(
        "import yaml, dogs\ndef run(x):\n    return yaml.load('!Dog {}', Loader=yaml.UnsafeLoader).legs\n",
        "legs = 4",
        "legs = 3",
        {"dogs.py": _DOG},
        "dogs.py",
    ),
    "YAML's file": edit(
        "import yaml\ndef run(x):\n    with open('c.yaml') as f:\n        return yaml.safe_load(f)\n",
        "1",
        "2",
        {"c.yaml": "a: 1\n"},
        "c.yaml",
    ),
    "object that YAML names": edit(
        "import yaml\ndef run(x):\n    with open('c.yaml') as f:\n        return yaml.load(f, Loader=yaml.UnsafeLoader)\n",
        "K = 2",
        "K = 3",
        {**_HELP, "c.yaml": "!!python/name:helper.K\n"},
        "helper.py",
    ),
    "function that YAML applies": edit(
        "import yaml\ndef run(x):\n    with open('c.yaml') as f:\n        return yaml.load(f, Loader=yaml.UnsafeLoader)\n",
        "v * 2",
        "v * 3",
        {**_HELP, "c.yaml": "!!python/object/apply:helper.twice [3]\n"},
        "helper.py",
    ),
    # --- lazy readers that were made by an import ---
    "lazy frame of a file": edit(
        _PL + "L = pl.scan_csv('d.csv')\ndef run(x):\n    return L.collect()\n", "1", "2", {"d.csv": "a\n1\n"}, "d.csv"
    ),
    "lazy frame of another module": edit(
        "import tables_\ndef run(x):\n    return tables_.L.select('a').collect()\n",
        "1",
        "2",
        {"tables_.py": _PL + "L = pl.scan_csv('d.csv')\n", "d.csv": "a\n1\n"},
        "d.csv",
    ),
    "lazy frame of Parquet": edit(
        _PL + "L = pl.scan_parquet('d.pq')\ndef run(x):\n    return L.collect()\n", prepare=_PARQUET % 1, new_prepare=_PARQUET % 2
    ),
    "lazy frame's filter": edit(
        _PL + "L = pl.LazyFrame({'a': [1, 2]}).filter(pl.col('a') > 0)\ndef run(x):\n    return L.collect()\n", "> 0", "> 1"
    ),
    "lazy frame in a cell": edit(
        _PL
        + "def make():\n    lazy = pl.scan_csv('d.csv')\n    def go():\n        return lazy.collect()\n    return go\nGO = make()\ndef run(x):\n    return GO()\n",
        "1",
        "2",
        {"d.csv": "a\n1\n"},
        "d.csv",
    ),
    "lazy frame as an argument": edit(
        _PL + "def run(x):\n    return x.collect()\n", "1", "2", {"d.csv": "a\n1\n"}, "d.csv", args="pl.scan_csv('d.csv')"
    ),
    "data set of Arrow": edit(
        "import pyarrow.dataset as ds\nD = ds.dataset('d.pq')\ndef run(x):\n    return D.to_table().to_pylist()\n",
        prepare=_PARQUET % 1,
        new_prepare=_PARQUET % 2,
    ),
    "file of Parquet opened at import": edit(
        "import pyarrow.parquet as pq\nP = pq.ParquetFile('d.pq')\ndef run(x):\n    return P.read().to_pylist()\n",
        prepare=_PARQUET % 1,
        new_prepare=_PARQUET % 2,
    ),
    "array mapped at import": edit(
        _NP + "A = np.load('a.npy', mmap_mode='r')\ndef run(x):\n    return int(A[0])\n",
        prepare="np.save('a.npy', np.array([1]))",
        new_prepare="np.save('a.npy', np.array([2]))",
    ),
    "array mapped by memmap": edit(
        _NP + "def run(x):\n    return np.memmap('f', dtype='u1', mode='r').tolist()\n", "1", "2", {"f": "1"}, "f"
    ),
    "archive of arrays at import": edit(
        _NP + "Z = np.load('a.npz')\ndef run(x):\n    return Z['a'].tolist()\n",
        prepare="np.savez('a.npz', a=np.array([1]))",
        new_prepare="np.savez('a.npz', a=np.array([2]))",
    ),
    "chunks of CSV": edit(
        _PD + "def run(x):\n    return [len(c) + int(c['a'].sum()) for c in pd.read_csv('d.csv', chunksize=1)]\n",
        "1",
        "2",
        {"d.csv": "a\n1\n"},
        "d.csv",
    ),
    "table of an address of SQLite": edit(
        "import sqlalchemy as sa\nE = sa.create_engine('sqlite:///d.db')\ndef run(x):\n    with E.connect() as c:\n        return [tuple(r) for r in c.execute(sa.text('select a from t'))]\n",
        prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.executescript('create table if not exists t(a); delete from t; insert into t values(1)'); c.close()",
        new_prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.executescript('delete from t; insert into t values(2)'); c.close()",
    ),
    "batches of a file of Arrow": edit(
        "import pyarrow.csv as pc\nimport io\ndef run(x):\n    with open('d.csv', 'rb') as f:\n        return pc.read_csv(f).to_pylist()\n",
        "1",
        "2",
        {"d.csv": "a\n1\n"},
        "d.csv",
    ),
    # --- the user's functions in objects of theirs ---
    "function in an expression": edit(
        _PL
        + "def twice(v):\n    return v * 2\nE = pl.col('a').map_elements(twice, return_dtype=pl.Int64)\ndef run(x):\n    return pl.DataFrame({'a': [1]}).select(E)\n",
        "v * 2",
        "v * 3",
    ),
    "helper of a function in an expression": edit(
        "import polars as pl, helper\nE = pl.col('a').map_batches(lambda s: helper.twice(s), return_dtype=pl.Int64)\ndef run(x):\n    return pl.DataFrame({'a': [1]}).select(E)\n",
        "v * 2",
        "v * 3",
        _HELP,
        "helper.py",
    ),
    "function in a lazy frame": edit(
        _PL + "def twice(f):\n    return f * 2\nL = pl.LazyFrame({'a': [1]}).map_batches(twice)\ndef run(x):\n    return L.collect()\n",
        "f * 2",
        "f * 3",
    ),
    "function in a pipeline of estimators": edit(
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import FunctionTransformer\nimport numpy as np, helper\nP = make_pipeline(FunctionTransformer(helper.twice))\ndef run(x):\n    return P.fit_transform(np.array([[1]])).tolist()\n",
        "v * 2",
        "v * 3",
        _HELP,
        "helper.py",
    ),
    "estimator of the user's": edit(
        "from sklearn.base import BaseEstimator, TransformerMixin\nclass T(BaseEstimator, TransformerMixin):\n    def __init__(self, by=2):\n        self.by = by\n    def fit(self, X, y=None):\n        return self\n    def transform(self, X):\n        return [[v * self.by for v in row] for row in X]\nM = T()\ndef run(x):\n    return M.fit_transform([[1]])\n",
        "v * self.by",
        "v + self.by",
    ),
    "scorer of the user's": edit(
        "from sklearn.metrics import make_scorer\nfrom sklearn.dummy import DummyRegressor\ndef own(a, b):\n    return float(sum(a) + sum(b))\nS = make_scorer(own)\ndef run(x):\n    return S(DummyRegressor().fit([[1]], [2]), [[1]], [2])\n",
        "sum(a) + sum(b)",
        "sum(a) - sum(b)",
    ),
    "grid of parameters": edit(
        "from sklearn.model_selection import ParameterGrid\nG = ParameterGrid({'a': [1, 2]})\ndef run(x):\n    return list(G)\n",
        "[1, 2]",
        "[1, 3]",
    ),
    "splitter's seed": edit(
        "from sklearn.model_selection import ShuffleSplit\nS = ShuffleSplit(1, random_state=1)\ndef run(x):\n    return [b.tolist() for _, b in S.split(range(20))]\n",
        "random_state=1",
        "random_state=2",
    ),
    "frozen distribution": edit(
        "from scipy import stats\nD = stats.norm(loc=1)\ndef run(x):\n    return float(D.mean())\n", "loc=1", "loc=2"
    ),
    "distribution of the user's": edit(
        "from scipy import stats\nclass D(stats.rv_continuous):\n    def _cdf(self, v):\n        return v ** 2\nA = D(a=0, b=1)\ndef run(x):\n    return float(A.cdf(.5))\n",
        "v ** 2",
        "v ** 3",
    ),
    "interpolation": edit(
        "from scipy.interpolate import interp1d\nI = interp1d([0, 1], [0, 2])\ndef run(x):\n    return float(I(.5))\n", "[0, 2]", "[0, 4]"
    ),
    "objective of an optimiser": edit(
        "from scipy.optimize import minimize_scalar\ndef loss(v):\n    return (v - 2) ** 2\ndef run(x):\n    return round(float(minimize_scalar(loss).x), 3)\n",
        "v - 2",
        "v - 3",
    ),
    "polynomial": edit(_NP + "P = np.poly1d([1, 2])\ndef run(x):\n    return float(P(1))\n", "[1, 2]", "[1, 3]"),
    "subclass of an array": edit(
        _NP
        + "class A(np.ndarray):\n    def total(self):\n        return float(self.sum()) + 1\nV = np.array([1, 2]).view(A)\ndef run(x):\n    return V.total()\n",
        "+ 1",
        "+ 2",
    ),
    "function protocol of arrays": edit(
        _NP
        + "class A:\n    def __array_function__(self, func, types, args, kwargs):\n        return 'one'\ndef run(x):\n    return np.sum(A())\n",
        "'one'",
        "'two'",
    ),
    "array of an object": edit(
        _NP
        + "class A:\n    def __array__(self, dtype=None, copy=None):\n        return np.array([1])\ndef run(x):\n    return np.asarray(A()).tolist()\n",
        "[1]",
        "[2]",
    ),
    "structured type's title": edit(
        _NP + "T = np.dtype([('a', 'i4')])\ndef run(x):\n    return np.zeros(1, T).dtype.names\n", "'a'", "'b'"
    ),
    "alignment of a structured type": edit(
        _NP + "T = np.dtype([('a', 'i1'), ('b', 'i4')])\ndef run(x):\n    return T.itemsize\n", "'i4')])", "'i4')], align=True)"
    ),
    "metadata of a type": edit(
        _NP + "T = np.dtype('i4', metadata={'k': 1})\ndef run(x):\n    return T.metadata['k']\n", "'k': 1", "'k': 2"
    ),
    "writeable array": edit(
        _NP
        + "A = np.array([1])\nA.flags.writeable = True\ndef run(x):\n    try:\n        A.copy(order='K')\n        A.flags['WRITEABLE'] and A.__setitem__(0, 1)\n        return bool(A.flags['WRITEABLE'])\n    except ValueError:\n        return 'no'\n",
        "writeable = True",
        "writeable = False",
    ),
    "step of a range of pandas": edit(
        _PD + "I = pd.RangeIndex(0, 6, 2)\ndef run(x):\n    return pd.Series([1, 2, 3], index=I).loc[2:].tolist()\n", "0, 6, 2", "0, 3, 1"
    ),
    "offset of pandas": edit(
        _PD + "O = pd.offsets.BDay(1)\ndef run(x):\n    return str(pd.Timestamp('2020-01-03') + O)\n", "BDay(1)", "BDay(2)"
    ),
    "calendar of an offset": edit(
        _PD + "O = pd.offsets.CustomBusinessDay(holidays=['2020-01-06'])\ndef run(x):\n    return str(pd.Timestamp('2020-01-03') + O)\n",
        "'2020-01-06'",
        "'2020-01-07'",
    ),
    "interval's side": edit(_PD + "I = pd.Interval(0, 1, closed='left')\ndef run(x):\n    return 1 in I\n", "'left'", "'both'"),
    "grouper of pandas": edit(
        _PD
        + "G = pd.Grouper(key='t', freq='D')\ndef run(x):\n    f = pd.DataFrame({'t': pd.to_datetime(['2020-01-01', '2020-01-05']), 'v': [1, 2]})\n    return len(f.groupby(G).sum())\n",
        "'D'",
        "'2D'",
    ),
    "aggregations in a table": edit(
        _PD
        + "AGG = {'v': ['sum']}\ndef run(x):\n    return pd.DataFrame({'k': [1, 1], 'v': [1, 3]}).groupby('k').agg(AGG).iloc[0, 0].item()\n",
        "['sum']",
        "['max']",
    ),
    "function applied by name": edit(
        _PD + "import helper\ndef run(x):\n    return pd.Series([1]).pipe(helper.twice).tolist()\n", "v * 2", "v * 3", _HELP, "helper.py"
    ),
    "style's function": edit(
        _PD
        + "def shape(f):\n    return f.rename(columns=str.upper)\ndef run(x):\n    return list(pd.DataFrame({'ab': [1]}).pipe(shape).columns)\n",
        "str.upper",
        "str.title",
    ),
    "extension type of pandas": edit(
        _PD + "T = pd.CategoricalDtype(['a', 'b'], ordered=True)\ndef run(x):\n    return pd.Series(['b', 'a'], dtype=T).min()\n",
        "['a', 'b']",
        "['b', 'a']",
    ),
    "namespace of polars": edit(
        _PL
        + "@pl.api.register_series_namespace('own')\nclass N:\n    def __init__(self, s):\n        self.s = s\n    def go(self):\n        return self.s.sum() + 1\ndef run(x):\n    return pl.Series([1]).own.go()\n",
        "+ 1",
        "+ 2",
    ),
    "selector of polars": edit(
        "import polars as pl, polars.selectors as cs\nS = cs.numeric()\ndef run(x):\n    return pl.DataFrame({'a': [1], 'b': ['x']}).select(S).columns\n",
        "cs.numeric()",
        "cs.string()",
    ),
    "conditional expression of polars": edit(
        _PL + "E = pl.when(pl.col('a') > 1).then(1).otherwise(0)\ndef run(x):\n    return pl.DataFrame({'a': [1, 2]}).select(E)\n",
        "> 1",
        "> 0",
    ),
    "schema of Arrow's field": edit(
        "import pyarrow as pa\nS = pa.schema([('a', pa.int32())])\ndef run(x):\n    return str(pa.table({'a': [1]}, schema=S).schema.types)\n",
        "int32",
        "int64",
    ),
    "expression of Arrow": edit(
        "import pyarrow as pa, pyarrow.compute as pc\nE = pc.field('a') > 1\ndef run(x):\n    return pa.table({'a': [1, 2]}).filter(E).num_rows\n",
        "> 1",
        "> 0",
    ),
    "function registered with Arrow": edit(
        "import pyarrow as pa, pyarrow.compute as pc\ndef twice(ctx, v):\n    return pc.multiply(v, 2)\npc.register_scalar_function(twice, 'own_twice', {'summary': '', 'description': ''}, {'v': pa.int64()}, pa.int64())\ndef run(x):\n    return pc.call_function('own_twice', [pa.array([1])]).to_pylist()\n",
        "(v, 2)",
        "(v, 3)",
    ),
    "extension type of Arrow": edit(
        "import pyarrow as pa\nclass T(pa.ExtensionType):\n    def __init__(self):\n        super().__init__(pa.int64(), 'own')\n    def __arrow_ext_serialize__(self):\n        return b''\n    def go(self):\n        return 1\nA = T()\ndef run(x):\n    return A.go()\n",
        "return 1",
        "return 2",
    ),
    # --- records of libraries ---
    "validator before the field": edit(
        "import pydantic\nclass M(pydantic.BaseModel):\n    a: int\n    @pydantic.field_validator('a', mode='before')\n    @classmethod\n    def check(cls, v):\n        return v + 1\ndef run(x):\n    return M(a=x).a\n",
        "v + 1",
        "v + 2",
    ),
    "validator of another module": edit(
        "import pydantic, typing, helper\nclass M(pydantic.BaseModel):\n    a: typing.Annotated[int, pydantic.AfterValidator(helper.twice)]\ndef run(x):\n    return M(a=x).a\n",
        "v * 2",
        "v * 3",
        _HELP,
        "helper.py",
    ),
    "adapter of a type": edit(
        "import pydantic\nA = pydantic.TypeAdapter(list[int])\ndef run(x):\n    return A.validate_python(['1'])\n", "list[int]", "list[str]"
    ),
    "adapter of a model": edit(
        "import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\nA = pydantic.TypeAdapter(list[M])\ndef run(x):\n    return A.validate_python([{}])[0].a\n",
        "= 1",
        "= 2",
    ),
    "model made of names": edit(
        "import pydantic\nM = pydantic.create_model('M', a=(int, 1))\ndef run(x):\n    return M().a\n", "(int, 1)", "(int, 2)"
    ),
    "generic model": edit(
        "import pydantic, typing\nT = typing.TypeVar('T')\nclass M(pydantic.BaseModel, typing.Generic[T]):\n    a: T\nN = M[int]\ndef run(x):\n    return N(a='1').a\n",
        "M[int]",
        "M[str]",
    ),
    "strict model": edit(
        "import pydantic\nclass M(pydantic.BaseModel, strict=False):\n    a: int\ndef run(x):\n    try:\n        return M(a='1').a\n    except pydantic.ValidationError:\n        return 'no'\n",
        "strict=False",
        "strict=True",
    ),
    "private attribute of a model": edit(
        "import pydantic\nclass M(pydantic.BaseModel):\n    _rate: int = pydantic.PrivateAttr(default=1)\ndef run(x):\n    return M()._rate\n",
        "default=1",
        "default=2",
    ),
    "discriminated union": edit(
        "import pydantic, typing\nclass A(pydantic.BaseModel):\n    kind: typing.Literal['a']\n    v: int = 1\nclass B(pydantic.BaseModel):\n    kind: typing.Literal['b']\nclass M(pydantic.BaseModel):\n    of: A | B = pydantic.Field(discriminator='kind')\ndef run(x):\n    return M(of={'kind': 'a'}).of.v\n",
        "v: int = 1",
        "v: int = 2",
    ),
    "schema of a model's docstring": edit(
        "import pydantic\nclass M(pydantic.BaseModel):\n    'one'\n    a: int = 1\ndef run(x):\n    return M.model_json_schema()['description']\n",
        "'one'",
        "'two'",
    ),
    "checked call": edit(
        "import pydantic\n@pydantic.validate_call\ndef h(a: int):\n    return a\ndef run(x):\n    return h('1')\n", "a: int", "a: str"
    ),
    "converter of another module": edit(
        "import attrs, helper\n@attrs.define\nclass A:\n    v: int = attrs.field(converter=helper.twice)\ndef run(x):\n    return A(x).v\n",
        "v * 2",
        "v * 3",
        _HELP,
        "helper.py",
    ),
    "converter of optional values": edit(
        "import attrs\n@attrs.define\nclass A:\n    v: int = attrs.field(converter=attrs.converters.default_if_none(1))\ndef run(x):\n    return A(None).v\n",
        "(1)",
        "(2)",
    ),
    "hook of setting": edit(
        "import attrs\ndef up(one, attribute, value):\n    return value + 1\n@attrs.define(on_setattr=up)\nclass A:\n    v: int = 0\ndef run(x):\n    a = A()\n    a.v = x\n    return a.v\n",
        "value + 1",
        "value + 2",
    ),
    "transformer of fields": edit(
        "import attrs\ndef keep(cls, fields):\n    return [f.evolve(default=5) for f in fields]\n@attrs.define(field_transformer=keep)\nclass A:\n    v: int = 0\ndef run(x):\n    return A().v\n",
        "default=5",
        "default=6",
    ),
    "factory that takes itself": edit(
        "import attrs\n@attrs.define\nclass A:\n    v: int = 1\n    w: int = attrs.field(default=attrs.Factory(lambda self: self.v + 1, takes_self=True))\ndef run(x):\n    return A().w\n",
        "self.v + 1",
        "self.v + 2",
    ),
    "decoder of a struct": edit(
        "import msgspec\nclass S(msgspec.Struct):\n    a: int = 1\nD = msgspec.json.Decoder(S)\ndef run(x):\n    return D.decode(b'{}').a\n",
        "= 1",
        "= 2",
    ),
    "tag of a struct": edit(
        "import msgspec\nclass S(msgspec.Struct, tag='one'):\n    a: int = 1\ndef run(x):\n    return msgspec.json.encode(S())\n",
        "'one'",
        "'two'",
    ),
    "struct made of names": edit(
        "import msgspec\nS = msgspec.defstruct('S', [('a', int, 1)])\ndef run(x):\n    return S().a\n", "int, 1", "int, 2"
    ),
    "hook of an encoder": edit(
        "import msgspec\ndef hook(v):\n    return 'one'\nE = msgspec.json.Encoder(enc_hook=hook)\ndef run(x):\n    return E.encode(1j)\n",
        "'one'",
        "'two'",
    ),
    "column of a table": edit(
        "import sqlalchemy as sa\n" + _ORM + "def run(x):\n    return str(sa.schema.CreateTable(User.__table__))\n",
        "String(10)",
        "String(20)",
    ),
    "tables that a base knows": edit(
        _ORM + "def run(x):\n    return sorted(Base.metadata.tables)\n",
        "def run",
        "class Spare(Base):\n    __tablename__ = 'spare'\n    id = Column(Integer, primary_key=True)\ndef run",
    ),
    "table that another module adds": edit(
        "import models\ndef run(x):\n    return sorted(models.Base.metadata.tables)\n",
        "'spare'",
        "'other'",
        {
            "models.py": _ORM + "import more_models\n",
            "more_models.py": "import models\nclass Spare(models.Base):\n    __tablename__ = 'spare'\n    id = models.Column(models.Integer, primary_key=True)\n",
        },
        "more_models.py",
    ),
    "statement kept as a constant": edit(
        "import sqlalchemy as sa\nS = sa.select(sa.column('a')).limit(1)\ndef run(x):\n    return str(S.compile(compile_kwargs={'literal_binds': True}))\n",
        "limit(1)",
        "limit(2)",
    ),
    "listener of an engine": edit(
        "import sqlalchemy as sa\nE = sa.create_engine('sqlite://')\n@sa.event.listens_for(E, 'connect')\ndef on(connection, record):\n    connection.create_function('own', 0, lambda: 1)\ndef run(x):\n    with E.connect() as c:\n        return c.execute(sa.text('select own()')).scalar()\n",
        "lambda: 1",
        "lambda: 2",
    ),
    "work in parallel, one at a time": edit(
        "import joblib, helper\ndef run(x):\n    return joblib.Parallel(n_jobs=1)(joblib.delayed(helper.twice)(v) for v in (1, 2))\n",
        "v * 2",
        "v * 3",
        _HELP,
        "helper.py",
    ),
    "work in parallel in threads": edit(
        "import joblib, helper\ndef run(x):\n    return joblib.Parallel(n_jobs=2, prefer='threads')(joblib.delayed(helper.twice)(v) for v in (1, 2))\n",
        "v * 2",
        "v * 3",
        _HELP,
        "helper.py",
    ),
    "work in a pool of threads": edit(
        "from multiprocessing.pool import ThreadPool\nK = 1\ndef work(v):\n    return v + K\ndef run(x):\n    with ThreadPool(2) as p:\n        return p.map(work, [1, 2])\n",
        "K = 1",
        "K = 2",
    ),
    "file dumped by joblib": edit(
        "import joblib\ndef run(x):\n    return joblib.load('m.joblib')\n",
        prepare="import joblib\njoblib.dump([1], 'm.joblib')",
        new_prepare="import joblib\njoblib.dump([2], 'm.joblib')",
    ),
}
LIBRARIES |= {
    "metaclass of a library's registry": edit(
        "import yaml, dogs\ndef run(x):\n    return sorted(t for t in yaml.UnsafeLoader.yaml_constructors if t and t.startswith('!D'))\n",
        "'!Dog'",
        "'!Dot'",
        {"dogs.py": _DOG},
        "dogs.py",
    ),
}
