# ruff: noqa: E501
"""Edits thought out by somebody who looks for a stale result, without a look at how the cache works."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_PLAIN = "import os\nK = 1\ndef helper(value):\n    # adds\n    total = value + K\n    return total\ndef run(x):\n    '''Doc.'''\n    result = helper(x)\n    return result\n"

#: Objects that lead back to themselves.
_TREE = "class Node:\n    def __init__(self, value, up=None):\n        self.value, self.up, self.below = value, up, []\n        if up:\n            up.below.append(self)\n    def depth(self):\n        return 1 + max((each.depth() for each in self.below), default=0)\n    def all(self):\n        return [self.value, *(v for each in self.below for v in each.all())]\nA = Node(1)\nB = Node(2, A)\nC = Node(3, A)\nD = Node(4, B)\ndef run(x):\n    return A.all() + [A.depth()]\n"
_TRIED = "import functools\nclass Again:\n    def __init__(self, tries):\n        self.tries, self.steps = tries, [self.first]\n    def first(self, call, x):\n        return [call(x) for _ in range(self.tries)]\ndef again(tries):\n    def made(f):\n        how = Again(tries)\n        @functools.wraps(f)\n        def inner(x):\n            return how.steps[0](f, x)\n        inner.how = how\n        return inner\n    return made\n@again(tries=2)\ndef load(x):\n    return x + 1\ndef run(x):\n    return load(x)\n"
#: A data file beside the module, found by the module's own.
_BESIDE = "import decimal\nfrom pathlib import Path\ndecimal.getcontext().prec = int((Path(__file__).parent / 'd.txt').read_text())\nclass Spare:\n    def go(self):\n        return 1\ndef run(x):\n    return str(decimal.Decimal(1) / 3)\n"
#: What an import sets, and a variable that only one function asks for.
_SET = "import os\nos.environ.setdefault('OMP_NUM_THREADS', '1')\ndef other():\n    return os.environ.get('RATE')\nFLAG = os.environ.get('FLAG', '0')\ndef run(x):\n    return x\n"
_STACKED = "import numpy as np\nimport pandas as pd\ndef run(x):\n    frame = pd.DataFrame({'a': [1, 2]}).stack()\n    return np.stack([np.arange(x), np.arange(x)]).tolist(), float(np.trace(np.eye(x))), frame.tolist()\n"

OUTSIDE: dict[str, Case] = {
    "gettempdir": edit(
        "import tempfile\ndef run(x):\n    return tempfile.gettempdir()\n",
        variables={"TMPDIR": "/tmp"},
        new_variables={"TMPDIR": "/var/tmp"},
    ),
    "json settings at import by a helper": edit(
        "import decimal, conf\nconf.apply()\ndef run(x):\n    return str(decimal.Decimal(1) / 7)\n",
        "3",
        "4",
        {
            "conf.py": "import json, decimal\ndef apply():\n    with open('p.json') as f:\n        decimal.getcontext().prec = json.load(f)['prec']\n",
            "p.json": '{"prec": 3}',
        },
        "p.json",
    ),
    "json settings at import by a helper's constant": edit(
        "import decimal, conf\nconf.apply()\ndef run(x):\n    return str(decimal.Decimal(1) / 7)\n",
        "3",
        "4",
        {
            "conf.py": "import json, decimal\nWHERE = 'p.json'\ndef apply():\n    with open(WHERE) as f:\n        decimal.getcontext().prec = json.load(f)['prec']\n",
            "p.json": '{"prec": 3}',
        },
        "p.json",
    ),
    "settings kept by lru_cache from a file beside the module": edit(
        "import os\nfrom functools import lru_cache\nHERE = os.path.dirname(os.path.abspath(__file__))\n@lru_cache\ndef settings():\n    with open(HERE + '/s.txt') as f:\n        return f.read()\nsettings()\ndef run(x):\n    return settings()\n",
        "3",
        "4",
        {"s.txt": "3"},
        "s.txt",
    ),
    "variable name computed at import that sets": edit(
        "import decimal, os\nNAME = 'PR' + 'EC'\ndecimal.getcontext().prec = int(os.environ[NAME])\ndef run(x):\n    return str(decimal.Decimal(1) / 7)\n",
        variables={"PREC": "3"},
        new_variables={"PREC": "4"},
    ),
    "locale set in body from environment": edit(
        "import locale\ndef run(x):\n    return locale.setlocale(locale.LC_CTYPE, '')\n",
        variables={"LC_ALL": "C"},
        new_variables={"LC_ALL": "C.UTF-8"},
    ),
    "time zone by TZ and localtime": edit(
        "import time\ndef run(x):\n    time.tzset()\n    return time.localtime(0).tm_hour\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "numpy generator constant": edit(
        "import numpy as np\nR = np.random.default_rng(1)\ndef run(x):\n    return float(R.random())\n", "default_rng(1)", "default_rng(2)"
    ),
    "numpy generator constant advanced at import": edit(
        "import numpy as np\nR = np.random.default_rng(1)\nR.random(1)\ndef run(x):\n    return float(R.random())\n",
        "R.random(1)",
        "R.random(2)",
    ),
    "setting by a module imported in the body": edit(
        "import decimal\ndef run(x):\n    import setter\n    return str(decimal.Decimal(1) / 7)\n",
        "prec = 3",
        "prec = 4",
        {"setter.py": "import decimal\ndecimal.getcontext().prec = 3\n"},
        "setter.py",
    ),
    "exception constant's cause": edit(
        "E = ValueError('a')\nE.__cause__ = KeyError('b')\ndef run(x):\n    return repr(E.__cause__)\n", "KeyError('b')", "KeyError('c')"
    ),
    "class attribute through metaclass attribute": edit(
        "class M(type):\n    rate = 2\nclass A(metaclass=M):\n    pass\ndef run(x):\n    return A.rate * x\n", "rate = 2", "rate = 3"
    ),
    "init_subclass keyword": edit(
        "class B:\n    def __init_subclass__(cls, factor=1):\n        cls.factor = factor\nclass A(B, factor=2):\n    pass\ndef run(x):\n    return A.factor * x\n",
        "factor=2",
        "factor=3",
    ),
    "singledispatch registered elsewhere, imported by a package's init": edit(
        "from kit import show\ndef run(x):\n    return show(x)\n",
        "'int'",
        "'INT'",
        {
            "kit/__init__.py": "from kit.disp import show\nimport kit.impl\n",
            "kit/disp.py": "import functools\n@functools.singledispatch\ndef show(x):\n    return 'any'\n",
            "kit/impl.py": "from kit.disp import show\n@show.register\ndef _(x: int):\n    return 'int'\n",
        },
        "kit/impl.py",
    ),
    "module getattr imports": edit(
        "import lazy\ndef run(x):\n    return lazy.scale(x)\n",
        "x * 2",
        "x * 3",
        {
            "lazy.py": "import importlib\ndef __getattr__(name):\n    if name.startswith('__'):\n        raise AttributeError(name)\n    return getattr(importlib.import_module('deep'), name)\n",
            "deep.py": "def scale(x):\n    return x * 2\n",
        },
        "deep.py",
    ),
    "monkeypatched library function at import": edit(
        "import json, patch\ndef run(x):\n    return json.dumps(x)\n",
        "str(x) + '!'",
        "str(x) + '?'",
        {"patch.py": "import json\njson.dumps = lambda x: str(x) + '!'\n"},
        "patch.py",
    ),
    "library patched in a called function at import": edit(
        "import statistics, patch\ndef run(x):\n    return statistics.mean([1, 2, 3])\n",
        "lambda data: 7",
        "lambda data: 8",
        {"patch.py": "import statistics\ndef install():\n    statistics.mean = lambda data: 7\ninstall()\n"},
        "patch.py",
    ),
    "int enum member used by value": edit(
        "import enum\nclass E(enum.IntEnum):\n    A = 1\n    B = 2\ndef run(x):\n    return x + E.B\n", "B = 2", "B = 5"
    ),
    "context var set at import": edit(
        "import contextvars\nV = contextvars.ContextVar('v', default=1)\nV.set(5)\ndef run(x):\n    return V.get()\n", "set(5)", "set(6)"
    ),
    "attrgetter constant": edit(
        "import operator\nclass A:\n    a, b = 1, 2\nG = operator.attrgetter('a')\ndef run(x):\n    return G(A)\n",
        "attrgetter('a')",
        "attrgetter('b')",
    ),
    "match on constants of a class": edit(
        "class C:\n    LOW = 3\ndef run(x):\n    match x:\n        case C.LOW:\n            return 'low'\n        case _:\n            return 'other'\n",
        "LOW = 3",
        "LOW = 4",
    ),
    "walrus in default of comprehension": edit("def run(x):\n    return [y for v in range(x) if (y := v * 2) > 1]\n", "> 1", "> 3"),
    "late binding loop": edit(
        "FS = []\nfor k in (1, 2, 3):\n    FS.append(lambda x: x * k)\ndef run(x):\n    return [f(x) for f in FS]\n",
        "(1, 2, 3)",
        "(1, 2, 4)",
    ),
    "async helper in another module": edit(
        "import asyncio\nfrom a import go\ndef run(x):\n    return asyncio.run(go(x))\n",
        "x + 1",
        "x + 2",
        {"a.py": "import asyncio\nasync def go(x):\n    await asyncio.sleep(0)\n    return x + 1\n"},
        "a.py",
    ),
    "slots with default through descriptor": edit(
        "class D:\n    def __get__(self, o, t):\n        return 4\nclass A:\n    __slots__ = ('a',)\n    d = D()\ndef run(x):\n    return A().d\n",
        "return 4",
        "return 5",
    ),
    "class getitem": edit(
        "class A:\n    def __class_getitem__(cls, k):\n        return k * 2\ndef run(x):\n    return A[x]\n", "k * 2", "k * 3"
    ),
    "method added by class decorator in another module": edit(
        "from deco import add\n@add\nclass A:\n    pass\ndef run(x):\n    return A().extra(x)\n",
        "x * 2",
        "x * 3",
        {"deco.py": "def add(cls):\n    cls.extra = lambda self, x: x * 2\n    return cls\n"},
        "deco.py",
    ),
    "lt used by sorted": edit(
        "class K:\n    def __init__(self, n):\n        self.n = n\n    def __lt__(self, o):\n        return self.n < o.n\ndef run(x):\n    return [k.n for k in sorted([K(2), K(1)])]\n",
        "self.n < o.n",
        "self.n > o.n",
    ),
    "bool of an object": edit(
        "class K:\n    def __bool__(self):\n        return True\ndef run(x):\n    return 1 if K() else 2\n", "return True", "return False"
    ),
    "abstract property from generic base": edit(
        "import typing\nT = typing.TypeVar('T')\nclass B(typing.Generic[T]):\n    @property\n    def k(self):\n        return 1\nclass A(B[int]):\n    pass\ndef run(x):\n    return A().k\n",
        "return 1",
        "return 2",
    ),
    "dataclass kw default through inheritance": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass B:\n    a: int = 1\n@dataclasses.dataclass\nclass A(B):\n    b: int = 2\ndef run(x):\n    return dataclasses.astuple(A())\n",
        "a: int = 1",
        "a: int = 4",
    ),
    "cached property helper": edit(
        "import functools\nclass A:\n    @functools.cached_property\n    def k(self):\n        return help_()\ndef help_():\n    return 3\ndef run(x):\n    return A().k\n",
        "return 3",
        "return 4",
    ),
    "lru cached filled at import by argument": edit(
        "import functools\n@functools.lru_cache\ndef k(a):\n    return a\nBASE = k(2)\ndef run(x):\n    return BASE\n", "k(2)", "k(3)"
    ),
    "global statement in initialiser": edit(
        "K = None\ndef init():\n    global K\n    K = 4\ninit()\ndef run(x):\n    return K\n", "K = 4", "K = 5"
    ),
    "conditional definition by version constant": edit(
        "import config\nif config.NEW:\n    def f(x):\n        return x + 1\nelse:\n    def f(x):\n        return x - 1\ndef run(x):\n    return f(x)\n",
        "NEW = True",
        "NEW = False",
        {"config.py": "NEW = True\n"},
        "config.py",
    ),
    "types simplenamespace config": edit(
        "import types\nC = types.SimpleNamespace(a=types.SimpleNamespace(b=1))\ndef run(x):\n    return C.a.b\n", "b=1", "b=2"
    ),
    "deque maxlen": edit(
        "import collections\nD = collections.deque([1, 2, 3], maxlen=3)\ndef run(x):\n    d = D.copy()\n    d.append(4)\n    return list(d)\n",
        "maxlen=3",
        "maxlen=4",
    ),
    "range constant step": edit("R = range(0, 10, 2)\ndef run(x):\n    return list(R)\n", "0, 10, 2", "0, 10, 3"),
    "frozenset to set": edit("B = frozenset({1})\ndef run(x):\n    return type(B).__name__\n", "frozenset({1})", "{1}"),
    "decimal trailing zero": edit("import decimal\nD = decimal.Decimal('1.0')\ndef run(x):\n    return str(D)\n", "'1.0'", "'1.00'"),
    "decimal default context": edit(
        "import decimal\ndecimal.DefaultContext.prec = 5\ndecimal.setcontext(decimal.DefaultContext)\ndef run(x):\n    return str(decimal.Decimal(2) / decimal.Decimal(3))\n",
        "prec = 5",
        "prec = 6",
    ),
    "minus zero in an array": edit(
        "import numpy as np\nA = np.array([0.0])\ndef run(x):\n    return np.copysign(1, A).tolist()\n", "[0.0]", "[-0.0]"
    ),
    "bool against int in a nested tuple": edit("A = ((1, 2), [1])\ndef run(x):\n    return A\n", "(1, 2)", "(True, 2)"),
    "byte order of an array": edit(
        "import numpy as np\nA = np.array([1, 2], dtype='<i4')\ndef run(x):\n    return A.dtype.str\n", "<i4", ">i4"
    ),
    "masked array's mask": edit(
        "import numpy as np\nA = np.ma.array([1, 2], mask=[0, 1])\ndef run(x):\n    return int(A.sum())\n", "mask=[0, 1]", "mask=[1, 0]"
    ),
    "pandas categorical order": edit(
        "import pandas as pd\nC = pd.Categorical(['a', 'b'], categories=['a', 'b'], ordered=True)\ndef run(x):\n    return C.max()\n",
        "categories=['a', 'b']",
        "categories=['b', 'a']",
    ),
    "pandas attrs": edit(
        "import pandas as pd\nF = pd.DataFrame({'a': [1]})\nF.attrs['k'] = 1\ndef run(x):\n    return F.attrs\n", "= 1\ndef", "= 2\ndef"
    ),
    "pandas index freq": edit(
        "import pandas as pd\nI = pd.DatetimeIndex(['2020-01-01', '2020-01-02'], freq='D')\ndef run(x):\n    return str(I.freq)\n",
        "freq='D'",
        "freq=None",
    ),
    "pandas string dtype storage": edit(
        "import pandas as pd\nS = pd.Series(['a'], dtype='object')\ndef run(x):\n    return str(S.dtype)\n", "'object'", "'string'"
    ),
    "polars schema": edit(
        "import polars as pl\nS = {'a': pl.Int32}\ndef run(x):\n    return pl.DataFrame({'a': [1]}, schema=S)\n", "Int32", "Int64"
    ),
    "polars enum order": edit(
        "import polars as pl\nE = pl.Enum(['a', 'b'])\ndef run(x):\n    return pl.Series(['b', 'a'], dtype=E).sort().to_list()\n",
        "['a', 'b'])",
        "['b', 'a'])",
    ),
    "timezone constant": edit(
        "import datetime\nT = datetime.timezone(datetime.timedelta(hours=1))\ndef run(x):\n    return datetime.datetime(2020, 1, 1, tzinfo=T).isoformat()\n",
        "hours=1",
        "hours=2",
    ),
    "zoneinfo key": edit(
        "import zoneinfo, datetime\nZ = zoneinfo.ZoneInfo('Europe/Rome')\ndef run(x):\n    return datetime.datetime(2020, 7, 1, tzinfo=Z).isoformat()\n",
        "Europe/Rome",
        "Europe/London",
    ),
    "function transformer's function": edit(
        "from sklearn.preprocessing import FunctionTransformer\nP = FunctionTransformer(lambda v: v * 2)\ndef run(x):\n    return P.fit_transform([[1]]) \n",
        "v * 2",
        "v * 3",
    ),
    "operator methodcaller argument": edit(
        "import operator\nM = operator.methodcaller('replace', 'a', 'b')\ndef run(x):\n    return M('aa')\n", "'a', 'b'", "'a', 'c'"
    ),
    "str translate table": edit("T = str.maketrans({'a': 'b'})\ndef run(x):\n    return 'aa'.translate(T)\n", "'b'", "'c'"),
    "global via nested function only": edit(
        "K = 1\ndef run(x):\n    def a():\n        def b():\n            return K\n        return b()\n    return a()\n", "K = 1", "K = 2"
    ),
    "exception's attribute default": edit(
        "class E(Exception):\n    code = 1\ndef run(x):\n    try:\n        raise E\n    except E as e:\n        return e.code\n",
        "code = 1",
        "code = 2",
    ),
    "sys setting by import": edit(
        "import sys\nsys.setrecursionlimit(3000)\ndef run(x):\n    return sys.getrecursionlimit()\n", "3000", "4000"
    ),
    "function attribute counter at import": edit("def f():\n    return f.k\nf.k = 1\ndef run(x):\n    return f()\n", "f.k = 1", "f.k = 2"),
    "weakref-free registry filled by helper module": edit(
        "import reg\nimport plug\ndef run(x):\n    return reg.R['go'](x)\n",
        "x * 2",
        "x * 3",
        {
            "reg.py": "R = {}\ndef register(f):\n    R[f.__name__] = f\n    return f\n",
            "plug.py": "from reg import register\n@register\ndef go(x):\n    return x * 2\n",
        },
        "plug.py",
    ),
    "plugin found by importlib in a function": edit(
        "import importlib\nNAMES = ['plug']\ndef run(x):\n    return [importlib.import_module(n).go(x) for n in NAMES]\n",
        "x * 2",
        "x * 3",
        {"plug.py": "def go(x):\n    return x * 2\n"},
        "plug.py",
    ),
    "template engine": edit("import string\nT = string.Template('$a')\ndef run(x):\n    return T.substitute(a=x)\n", "'$a'", "'-$a'"),
    "star expr in call default dict": edit("D = dict(a=1)\ndef f(**k):\n    return k\ndef run(x):\n    return f(**D, b=2)\n", "a=1", "a=3"),
    "tuple vs namedtuple": edit(
        "import collections\nP = collections.namedtuple('P', 'a b')\nV = P(1, 2)\ndef run(x):\n    return repr(V)\n",
        "V = P(1, 2)",
        "V = (1, 2)",
    ),
    "ellipsis vs none": edit("V = ...\ndef run(x):\n    return repr(V)\n", "V = ...", "V = None"),
    "large int": edit("V = 2**100\ndef run(x):\n    return V % 1000\n", "2**100", "2**101"),
    "issubclass hook abc register": edit(
        "import abc\nclass B(abc.ABC):\n    pass\nclass A:\n    pass\nB.register(A)\ndef run(x):\n    return isinstance(A(), B)\n",
        "B.register(A)\n",
        "",
    ),
    "contextmanager's finally": edit(
        "import contextlib\nL = []\n@contextlib.contextmanager\ndef m(log):\n    try:\n        yield\n    finally:\n        log.append(1)\ndef run(x):\n    log = []\n    with m(log):\n        pass\n    return log\n",
        "append(1)",
        "append(2)",
    ),
    "inspect signature default": edit(
        "import inspect\ndef h(a, b=2): ...\ndef run(x):\n    return str(inspect.signature(h))\n", "b=2", "b=3"
    ),
    "vars of a class": edit(
        "class A:\n    a = 1\ndef run(x):\n    return sorted(k for k in vars(A) if not k.startswith('_'))\n", "a = 1", "b = 1"
    ),
    "globals walk": edit(
        "def do_a():\n    return 1\ndef run(x):\n    return sorted(n for n in globals() if n.startswith('do_'))\n", "def do_a", "def do_b"
    ),
    "argument 1 to True": edit("def run(x):\n    return str(x)\n", args="1", new_args="True"),
    "argument dict order": edit("def run(x):\n    return list(x)\n", args="{'a': 1, 'b': 2}", new_args="{'b': 2, 'a': 1}"),
    "argument numpy order": edit(
        "import numpy as np\ndef run(x):\n    return x.ravel(order='K').tolist()\n",
        args="np.array([[1, 2], [3, 4]])",
        new_args="np.array([[1, 2], [3, 4]], order='F')",
    ),
    "argument pandas attrs": edit(
        "import pandas as pd\ndef f(k):\n    s = pd.Series([1])\n    s.attrs['k'] = k\n    return s\ndef run(x):\n    return x.attrs\n",
        args="f(1)",
        new_args="f(2)",
    ),
    "argument scalar float32": edit(
        "import numpy as np\ndef run(x):\n    return type(x).__name__\n", args="np.float32(1)", new_args="np.float64(1)"
    ),
    "argument path to text": edit(
        "from pathlib import Path\ndef run(x):\n    return type(x).__name__\n", args="Path('nothing')", new_args="'nothing'"
    ),
    "argument function's helper": edit(
        "def h(v):\n    return v + 1\ndef g(v):\n    return h(v)\ndef run(f):\n    return f(3)\n", "v + 1", "v + 2", args="g"
    ),
    "argument object's method reads a file": edit(
        "class A:\n    def go(self):\n        return open('d.txt').read()\ndef run(o):\n    return o.go()\n",
        "1",
        "2",
        {"d.txt": "1"},
        "d.txt",
        args="A()",
    ),
    "argument object's method asks size": edit(
        "import os\nclass A:\n    def go(self):\n        return os.path.getsize('d.txt')\ndef run(o):\n    return o.go()\n",
        "1",
        "22",
        {"d.txt": "1"},
        "d.txt",
        args="A()",
    ),
    "importlib resources as file": edit(
        "import importlib.resources as r\ndef run(x):\n    with r.as_file(r.files('kit') / 'd.txt') as p:\n        return p.read_text()\n",
        "1",
        "2",
        {"kit/__init__.py": "", "kit/d.txt": "1"},
        "kit/d.txt",
    ),
    "pkgutil get_data": edit(
        "import pkgutil\ndef run(x):\n    return pkgutil.get_data('kit', 'd.txt').decode()\n",
        "1",
        "2",
        {"kit/__init__.py": "", "kit/d.txt": "1"},
        "kit/d.txt",
    ),
    "zip member": edit(
        "import zipfile\ndef run(x):\n    with zipfile.ZipFile('d.zip') as z:\n        return z.read('a').decode()\n",
        prepare="import zipfile\nz = zipfile.ZipFile('d.zip', 'w'); z.writestr('a', '1'); z.close()",
        new_prepare="import zipfile\nz = zipfile.ZipFile('d.zip', 'w'); z.writestr('a', '2'); z.close()",
    ),
    "module in a zip": edit(
        "import sys\nsys.path.insert(0, 'lib.zip')\nimport inzip\ndef run(x):\n    return inzip.k(x)\n",
        prepare="import zipfile\nz = zipfile.ZipFile('lib.zip', 'w'); z.writestr('inzip.py', 'def k(x):\\n    return x + 1\\n'); z.close()",
        new_prepare="import zipfile\nz = zipfile.ZipFile('lib.zip', 'w'); z.writestr('inzip.py', 'def k(x):\\n    return x + 2\\n'); z.close()",
    ),
    "np.load mmap": edit(
        "import numpy as np\ndef run(x):\n    return np.load('a.npy', mmap_mode='r').tolist()\n",
        prepare="np.save('a.npy', np.array([1]))",
        new_prepare="np.save('a.npy', np.array([2]))",
    ),
    "np.fromfile": edit(
        "import numpy as np\ndef run(x):\n    return np.fromfile('a.bin', dtype='u1').tolist()\n",
        prepare="np.array([1], 'u1').tofile('a.bin')",
        new_prepare="np.array([2], 'u1').tofile('a.bin')",
    ),
    "np.genfromtxt": edit(
        "import numpy as np\ndef run(x):\n    return np.genfromtxt('a.csv', delimiter=',').tolist()\n",
        "1,2",
        "1,3",
        {"a.csv": "1,2"},
        "a.csv",
    ),
    "pd.read_json": edit(
        "import pandas as pd\ndef run(x):\n    return pd.read_json('a.json')\n", "1", "2", {"a.json": '[{"a": 1}]'}, "a.json"
    ),
    "pd.read_csv with pyarrow engine": edit(
        "import pandas as pd\ndef run(x):\n    return pd.read_csv('a.csv', engine='pyarrow')\n", "1", "2", {"a.csv": "a\n1\n"}, "a.csv"
    ),
    "polars ndjson": edit(
        "import polars as pl\ndef run(x):\n    return pl.read_ndjson('a.json')\n", "1", "2", {"a.json": '{"a": 1}\n'}, "a.json"
    ),
    "polars read by keyword": edit(
        "import polars as pl\ndef run(x):\n    return pl.read_csv(source='a.csv')\n", "1", "2", {"a.csv": "a\n1\n"}, "a.csv"
    ),
    "pyarrow dataset folder": edit(
        "import pyarrow.dataset as ds\ndef run(x):\n    return ds.dataset('d', format='csv').to_table().to_pylist()\n",
        "1",
        "2",
        {"d/a.csv": "a\n1\n"},
        "d/a.csv",
    ),
    "sqlite file": edit(
        "import sqlite3\ndef run(x):\n    return sqlite3.connect('d.db').execute('select a from t').fetchall()\n",
        prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.execute('create table if not exists t(a)'); c.execute('delete from t'); c.execute('insert into t values(1)'); c.commit(); c.close()",
        new_prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.execute('delete from t'); c.execute('insert into t values(2)'); c.commit(); c.close()",
    ),
    "sqlalchemy sqlite": edit(
        "import sqlalchemy as sa\ndef run(x):\n    with sa.create_engine('sqlite:///d.db').connect() as c:\n        return [tuple(r) for r in c.execute(sa.text('select a from t'))]\n",
        prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.execute('create table if not exists t(a)'); c.execute('delete from t'); c.execute('insert into t values(1)'); c.commit(); c.close()",
        new_prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.execute('delete from t'); c.execute('insert into t values(2)'); c.commit(); c.close()",
    ),
    "dbm file": edit(
        "import dbm.dumb\ndef run(x):\n    with dbm.dumb.open('d', 'r') as d:\n        return d['a'].decode()\n",
        prepare="import dbm.dumb\nd = dbm.dumb.open('d', 'n'); d['a'] = '1'; d.close()",
        new_prepare="import dbm.dumb\nd = dbm.dumb.open('d', 'n'); d['a'] = '2'; d.close()",
    ),
    "gdbm or dbm": edit(
        "import dbm\ndef run(x):\n    with dbm.open('d', 'r') as d:\n        return d['a'].decode()\n",
        prepare="import dbm\nd = dbm.open('d', 'n'); d['a'] = '1'; d.close()",
        new_prepare="import dbm\nd = dbm.open('d', 'n'); d['a'] = '2'; d.close()",
    ),
    "configparser of a file that appears": edit(
        "import configparser\ndef run(x):\n    p = configparser.ConfigParser()\n    p.read(['c.ini', 'local.ini'])\n    return p['a']['k']\n",
        more={"c.ini": "[a]\nk = 1\n"},
        added={"local.ini": "[a]\nk = 2\n"},
    ),
    "dotenv by hand at import": edit(
        "import os\nfor line in open('.env'):\n    k, _, val = line.strip().partition('=')\n    os.environ.setdefault(k, val)\ndef run(x):\n    return os.environ['DOTKEY']\n",
        "=1",
        "=2",
        {".env": "DOTKEY=1\n"},
        ".env",
    ),
    "logging config file": edit(
        "import logging.config, logging\nlogging.config.fileConfig('l.ini', disable_existing_loggers=False)\ndef run(x):\n    return logging.getLogger('mine').getEffectiveLevel()\n",
        "level=ERROR",
        "level=DEBUG",
        {
            "l.ini": "[loggers]\nkeys=root,mine\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nlevel=WARNING\nhandlers=h\n[logger_mine]\nlevel=ERROR\nhandlers=h\nqualname=mine\n[handler_h]\nclass=NullHandler\nargs=()\n"
        },
        "l.ini",
    ),
    "symlinked folder switched": edit(
        "def run(x):\n    return open('cur/f').read()\n",
        more={"a/f": "1", "b/f": "2"},
        prepare="import os\nos.symlink('a', 'cur')",
        new_prepare="import os\nos.remove('cur'); os.symlink('b', 'cur')",
    ),
    "module found first through PYTHONPATH order": edit(
        "import sys, os\nsys.path[:0] = os.environ['MYPATH'].split(':')\nimport which_\ndef run(x):\n    return which_.K\n",
        more={"p1/which_.py": "K = 1\n", "p2/which_.py": "K = 2\n"},
        variables={"MYPATH": "p1:p2"},
        new_variables={"MYPATH": "p2:p1"},
    ),
    "environ aliased": edit(
        "from os import environ as e\ndef run(x):\n    return e['RATE']\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "environb": edit(
        "import os\ndef run(x):\n    return os.environb[b'RATE'].decode()\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "expandvars": edit(
        "import os\ndef run(x):\n    return os.path.expandvars('$RATE')\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "Path.home": edit(
        "import pathlib\ndef run(x):\n    return str(pathlib.Path.home())\n", variables={"HOME": "/h1"}, new_variables={"HOME": "/h2"}
    ),
    "environ copied at import": edit(
        "import os\nE = dict(os.environ)\ndef run(x):\n    return E.get('RATE')\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "environ chain map": edit(
        "import os, collections\nC = collections.ChainMap(os.environ, {'RATE': '0'})\ndef run(x):\n    return C['RATE']\n",
        variables={"RATE": "1"},
        new_variables={"RATE": "2"},
    ),
    "environ in a class body": edit(
        "import os\nclass C:\n    rate = os.environ.get('RATE')\ndef run(x):\n    return C.rate\n",
        variables={"RATE": "1"},
        new_variables={"RATE": "2"},
    ),
    "environ switches a library setting at import": edit(
        "import os, decimal\nif os.environ.get('RATE') == '1':\n    decimal.getcontext().prec = 3\ndef run(x):\n    return str(decimal.Decimal(1) / 7)\n",
        variables={"RATE": "1"},
        new_variables={"RATE": "2"},
    ),
    "variable in a helper at import that sets": edit(
        "import decimal, conf\nconf.apply()\ndef run(x):\n    return str(decimal.Decimal(1) / 7)\n",
        more={"conf.py": "import os, decimal\ndef apply(env=os.environ):\n    decimal.getcontext().prec = int(env['PREC'])\n"},
        variables={"PREC": "3"},
        new_variables={"PREC": "4"},
    ),
    "setting by a loop over a constant": edit(
        "import numpy as np\nOPTS = {'precision': 3}\nfor k in OPTS:\n    np.set_printoptions(**{k: OPTS[k]})\ndef run(x):\n    return str(np.array([1 / 7]))\n",
        "3}",
        "5}",
    ),
    "locale set by a variable": edit(
        "import locale, os\nlocale.setlocale(locale.LC_ALL, os.environ.get('MYLOC', 'C'))\ndef run(x):\n    return locale.setlocale(locale.LC_ALL)\n",
        variables={"MYLOC": "C"},
        new_variables={"MYLOC": "C.UTF-8"},
    ),
    "time zone by mktime": edit(
        "import time\ntime.tzset()\ndef run(x):\n    return time.mktime((2020, 1, 1, 0, 0, 0, 0, 0, 0))\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "time zone by pandas": edit(
        "import pandas as pd, time\ntime.tzset()\ndef run(x):\n    return pd.Timestamp.fromtimestamp(0).hour\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "os.walk names": edit(
        "import os\ndef run(x):\n    return sorted(f for _, _, fs in os.walk('d') for f in fs)\n", more={"d/e/a": "1"}, added={"d/e/b": "1"}
    ),
    "Path.rglob": edit(
        "import pathlib\ndef run(x):\n    return sorted(str(p) for p in pathlib.Path('d').rglob('*.txt'))\n",
        more={"d/e/a.txt": "1"},
        added={"d/f/b.txt": "1"},
    ),
    "os.path.exists aliased and mapped": edit(
        "import os.path\ndef run(x):\n    return list(map(os.path.exists, ['flag']))\n", added={"flag": ""}
    ),
    "shutil copy then read": edit(
        "import shutil, tempfile, os\ndef run(x):\n    with tempfile.TemporaryDirectory() as t:\n        return open(shutil.copy('f', t)).read()\n",
        "1",
        "2",
        {"f": "1"},
        "f",
    ),
    "fileinput": edit("import fileinput\ndef run(x):\n    return list(fileinput.input(['f']))\n", "1", "2", {"f": "1"}, "f"),
    "io.FileIO": edit("import io\ndef run(x):\n    return io.FileIO('f').read().decode()\n", "1", "2", {"f": "1"}, "f"),
    "csv dict reader": edit(
        "import csv\ndef run(x):\n    with open('f') as f:\n        return list(csv.DictReader(f))\n", "1", "2", {"f": "a\n1\n"}, "f"
    ),
    "elementtree": edit(
        "import xml.etree.ElementTree as E\ndef run(x):\n    return E.parse('f').getroot().text\n", "1", "2", {"f": "<a>1</a>"}, "f"
    ),
    "thread pool reads": edit(
        "import concurrent.futures as cf\ndef run(x):\n    with cf.ThreadPoolExecutor(2) as p:\n        return list(p.map(lambda n: open(n).read(), ['f']))\n",
        "1",
        "2",
        {"f": "1"},
        "f",
    ),
    "helper called from del": edit(
        "class A:\n    def __init__(self, out):\n        self.out = out\n    def __del__(self):\n        self.out.append(h())\ndef h():\n    return 1\ndef run(x):\n    out = []\n    A(out)\n    return out\n",
        "return 1",
        "return 2",
    ),
    "ctypes own library": edit(
        "import ctypes, os\ndef run(x):\n    return ctypes.CDLL(os.path.abspath('libown.so')).go(x)\n",
        "+ 1",
        "+ 2",
        {"own.c": "int go(int x) { return x + 1; }\n"},
        "own.c",
        prepare="import subprocess\nsubprocess.run(['cc', '-shared', '-fPIC', 'own.c', '-o', 'libown.so'], check=True)",
    ),
    "module that shadows stdlib": edit(
        "import colorsys\ndef run(x):\n    return getattr(colorsys, 'K', 0)\n", added={"colorsys.py": "K = 1\n"}
    ),
    "data beside a package by __file__": edit(
        "import kit\ndef run(x):\n    return kit.load()\n",
        "1",
        "2",
        {
            "kit/__init__.py": "import os\ndef load():\n    return open(os.path.join(os.path.dirname(__file__), 'd.txt')).read()\n",
            "kit/d.txt": "1",
        },
        "kit/d.txt",
    ),
    "stringio of a constant": edit("import io\nS = io.StringIO('1')\ndef run(x):\n    return S.getvalue()\n", "'1'", "'2'"),
    "seed in a helper module at import": edit(
        "import helper, random\nV = random.random()\ndef run(x):\n    return V\n",
        "seed(1)",
        "seed(2)",
        {"helper.py": "import random\nrandom.seed(1)\n"},
        "helper.py",
    ),
    "itertools cycle helper": edit(
        "import itertools\ndef run(x):\n    return list(itertools.islice(itertools.cycle('ab'), x))\n", "'ab'", "'ba'"
    ),
    "doc of a class by help": edit("import pydoc\nclass A:\n    'one'\ndef run(x):\n    return pydoc.getdoc(A)\n", "'one'", "'two'"),
    "argument names by varnames": edit(
        "def h(alpha):\n    return alpha\ndef run(x):\n    return h.__code__.co_varnames\n", "alpha", "beta"
    ),
    "sys attribute set by module": edit(
        "import sys, setter\ndef run(x):\n    return sys.my_rate\n",
        "= 1",
        "= 2",
        {"setter.py": "import sys\nsys.my_rate = 1\n"},
        "setter.py",
    ),
    "atexit irrelevant but function used": edit(
        "import atexit\ndef f():\n    return 1\natexit.register(f)\ndef run(x):\n    return f()\n", "return 1", "return 2"
    ),
    "np.errstate decorator": edit(
        "import numpy as np\n@np.errstate(divide='ignore')\ndef f(x):\n    return np.float64(x) / 0\ndef run(x):\n    try:\n        return float(f(x))\n    except FloatingPointError:\n        return 'raised'\n",
        "'ignore'",
        "'raise'",
    ),
    "bool index dtype in sparse": edit(
        "import scipy.sparse as sp\nM = sp.csr_matrix([[1.0]], dtype='f4')\ndef run(x):\n    return str(M.dtype)\n", "'f4'", "'f8'"
    ),
    "set_config through another module": edit(
        "import conf\nfrom sklearn.preprocessing import StandardScaler\nimport pandas as pd\ndef run(x):\n    return type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__\n",
        "'default'",
        "'pandas'",
        {"conf.py": "from sklearn import set_config as s\ns(transform_output='default')\n"},
        "conf.py",
    ),
    "environment of a pandas option": edit(
        "import os, pandas as pd\npd.options.display.max_rows = int(os.getenv('ROWS'))\ndef run(x):\n    return repr(pd.Series(range(50)))\n",
        variables={"ROWS": "4"},
        new_variables={"ROWS": "6"},
    ),
    "module imported only in an unused function sets nothing": edit(
        "def other():\n    import setter\ndef run(x):\n    return x + 1\n",
        "x + 1",
        "x + 2",
        {"setter.py": "import decimal\ndecimal.getcontext().prec = 3\n"},
    ),
    "file read by a module imported in the body": edit(
        "def run(x):\n    import cfg\n    return cfg.K\n", "1", "2", {"cfg.py": "K = open('f').read()\n", "f": "1"}, "f"
    ),
    "generic alias call": edit("A = list[int]\ndef run(x):\n    return A((1, 2))\n", "list[int]", "tuple[int]"),
    "slots object constant": edit(
        "class A:\n    __slots__ = ('a',)\n    def __init__(self, a):\n        self.a = a\nO = A(1)\ndef run(x):\n    return O.a\n",
        "A(1)",
        "A(2)",
    ),
    "ordered dict order": edit(
        "import collections\nD = collections.OrderedDict(a=1, b=2)\ndef run(x):\n    return list(D)\n", "a=1, b=2", "b=2, a=1"
    ),
    "memoryview format": edit("A = memoryview(b'ab')\ndef run(x):\n    return bytes(A)\n", "b'ab'", "b'ac'"),
    "uuid constant": edit("import uuid\nA = uuid.UUID(int=1)\ndef run(x):\n    return str(A)\n", "int=1", "int=2"),
    "struct constant": edit("import struct\nS = struct.Struct('<i')\ndef run(x):\n    return S.pack(x)\n", "'<i'", "'>i'"),
    "json object hook": edit(
        'import json\ndef hook(d):\n    return sorted(d)\ndef run(x):\n    return json.loads(\'{"b": 1, "a": 2}\', object_hook=hook)\n',
        "sorted(d)",
        "list(d)",
    ),
    "lambda default in sorted key": edit("K = -1\ndef run(x):\n    return sorted([1, 2], key=lambda v, k=K: v * k)\n", "K = -1", "K = 1"),
    "recursion through a table": edit(
        "T = {}\ndef a(x):\n    return x if x < 1 else T['b'](x - 1)\ndef b(x):\n    return T['a'](x) + 1\nT.update(a=a, b=b)\ndef run(x):\n    return a(x)\n",
        "+ 1",
        "+ 2",
    ),
    "class based decorator": edit(
        "class D:\n    def __init__(self, f):\n        self.f = f\n    def __call__(self, x):\n        return self.f(x) + 1\n@D\ndef g(x):\n    return x\ndef run(x):\n    return g(x)\n",
        "+ 1",
        "+ 2",
    ),
    "except star": edit(
        "def run(x):\n    try:\n        raise ExceptionGroup('a', [ValueError(1)])\n    except* ValueError as e:\n        r = len(e.exceptions) + 1\n    return r\n",
        "+ 1",
        "+ 2",
    ),
    "typing overload irrelevant, implementation": edit(
        "import typing\n@typing.overload\ndef f(x: int) -> int: ...\n@typing.overload\ndef f(x: str) -> str: ...\ndef f(x):\n    return x * 2\ndef run(x):\n    return f(x)\n",
        "x * 2",
        "x * 3",
    ),
    "settings that a parser has read at import": edit(
        "import configparser\nC = configparser.ConfigParser()\nC.read('a.ini')\ndef run(x):\n    return C['a']['k']\n",
        "k = 1",
        "k = 2",
        {"a.ini": "[a]\nk = 1\n"},
        "a.ini",
    ),
    "leaf of a tree that knows its parents": edit(_TREE, "Node(4, B)", "Node(5, B)"),
    "shape of a tree that knows its parents": edit(_TREE, "Node(4, B)", "Node(4, A)"),
    "settings of a decorator that is an attribute of what it made": edit(_TRIED, "tries=2", "tries=3"),
    "data file beside the module, found by the module's own": edit(_BESIDE, "5", "6", {"d.txt": "5"}, "d.txt"),
    "variable by which an import sets another": edit(
        "import os\ndef mode():\n    return os.environ.get('MODE', '')\nos.environ['MADE'] = mode() + os.environ['RATE']\ndef run(x):\n    return os.environ['MADE']\n",
        variables={"MODE": "a", "RATE": "1"},
        new_variables={"MODE": "b", "RATE": "1"},
    ),
    "lines that inspect.stack tells": edit(
        "import inspect as i\ndef run(x):\n    return i.stack()[0].lineno\n", "import inspect as i", "import inspect as i\n\n"
    ),
    "lines that a function of inspect tells": edit(
        "from inspect import stack\ndef run(x):\n    return stack()[0][2]\n", "from inspect import stack", "from inspect import stack\n\n"
    ),
}

OUTSIDE_HARMLESS: dict[str, Case] = {
    "comment changed": edit(_PLAIN, "# adds", "# adds one"),
    "comment in a module whose nodes know their parents": edit(_TREE, "A = Node(1)", "# the root\nA = Node(1)"),
    "comment beside a decorator that is an attribute of what it made": edit(_TRIED, "@again", "# twice\n@again"),
    "comment beside settings that a parser has read": edit(
        "import configparser\nC = configparser.ConfigParser()\nC.read('a.ini')\ndef run(x):\n    return C['a']['k']\n",
        "C.read",
        "# read\nC.read",
        {"a.ini": "[a]\nk = 1\n"},
    ),
    "class beside a data file that is found by the module's own": edit(_BESIDE, "return 1", "return 2  # two", {"d.txt": "5"}),
    "variable that another function asks for in a module that sets one": edit(
        _SET, "return x", "return  x", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "objects of a class that are copied beside": edit(
        "import copy\nclass A:\n    def __init__(self, by):\n        self.by = by\nX = A(2)\nSPARE = A(3)\ndef run(x):\n    return x * A(X.by).by\n",
        "SPARE = A(3)",
        "SPARE = copy.copy(A(3))",
    ),
    "comment where arrays are stacked": edit(_STACKED, "    frame", "    # stacked\n    frame"),
    "docstring changed": edit(_PLAIN, "Doc.", "Documentation."),
    "local renamed in helper": edit(_PLAIN, "total", "summed"),
    "functions reordered": edit(
        "def a(x):\n    return x\ndef b(x):\n    return a(x)\ndef run(x):\n    return b(x)\n",
        "def a(x):\n    return x\ndef b(x):\n    return a(x)\n",
        "def b(x):\n    return a(x)\ndef a(x):\n    return x\n",
    ),
    "unused function added": edit(_PLAIN, "def run", "def unused():\n    return os.getpid()\ndef run"),
    "unused import added": edit(_PLAIN, "import os", "import os\nimport json, decimal, collections"),
    "unused class with clock added": edit(
        _PLAIN, "def run", "import time\nclass Timer:\n    clock = time.time\n    def now(self):\n        return self.clock()\ndef run"
    ),
    "type hints added": edit(_PLAIN, "def helper(value):", "def helper(value: int) -> int:"),
    "local annotation": edit(_PLAIN, "total = value + K", "total: int = value + K"),
    "parentheses": edit(_PLAIN, "value + K", "(value + K)"),
    "unrelated file": edit(_PLAIN, more={"other.txt": "1"}, added={"another.txt": "2"}),
    "unrelated file edited": edit(_PLAIN, "1", "2", {"other.txt": "1"}, "other.txt"),
    "unrelated variable": edit(_PLAIN, variables={"UNREL": "1"}, new_variables={"UNREL": "2"}),
    "unrelated variable beside one that is read": edit(
        "import os\ndef run(x):\n    return os.environ.get('RATE')\n",
        variables={"UNREL": "1", "RATE": "1"},
        new_variables={"UNREL": "2", "RATE": "1"},
    ),
    "mtime of read file": edit(
        "def run(x):\n    return open('f').read()\n",
        more={"f": "1"},
        prepare="import os\nos.utime('f', (1, 1))",
        new_prepare="import os\nos.utime('f', (9, 9))",
    ),
    "mtime of source": edit(_PLAIN, prepare="", new_prepare="import os\nos.utime('steps.py', (9, 9))"),
    "file in a neighbouring folder": edit("def run(x):\n    return open('d/f').read()\n", more={"d/f": "1"}, added={"d/g": "2"}),
    "unused constant of a config module": edit(
        "import cfg\ndef run(x):\n    return cfg.A\n", "B = 2", "B = 3", {"cfg.py": "A = 1\nB = 2\n"}, "cfg.py"
    ),
    "unused function in helper module": edit(
        "from helper import f\ndef run(x):\n    return f(x)\n",
        "def g(x):\n    return 1",
        "def g(x):\n    return 2",
        {"helper.py": "def f(x):\n    return x\ndef g(x):\n    return 1\n"},
        "helper.py",
    ),
    "helper moved to another line": edit(
        "from helper import f\ndef run(x):\n    return f(x)\n",
        "def f",
        "\n\n\n# moved\ndef f",
        {"helper.py": "def f(x):\n    return x\n"},
        "helper.py",
    ),
    "imports reordered": edit(
        "import json\nimport math\ndef run(x):\n    return math.sqrt(x), json.dumps(x)\n",
        "import json\nimport math",
        "import math\nimport json",
    ),
    "import split": edit(
        "import json, math\ndef run(x):\n    return math.sqrt(x), json.dumps(x)\n", "import json, math", "import json\nimport math"
    ),
    "future annotations": edit(_PLAIN, "import os", "from __future__ import annotations\nimport os"),
    "string quotes": edit("def run(x):\n    return 'a' + \"b\"\n", "'a'", '"a"'),
    "trailing comma in call": edit("def f(a, b):\n    return a, b\ndef run(x):\n    return f(x, 2)\n", "f(x, 2)", "f(x, 2,)"),
    "all added": edit(_PLAIN, "K = 1", "__all__ = ['run']\nK = 1"),
    "main guard added": edit(_PLAIN, "def run", "if __name__ == '__main__':\n    print(1)\ndef run"),
    "logging added at module level": edit(
        _PLAIN, "K = 1", "import logging\nLOG = logging.getLogger(__name__)\nLOG.addHandler(logging.NullHandler())\nK = 1"
    ),
    "unused method of a used class": edit(
        "class A:\n    def go(self):\n        return 1\n    def other(self):\n        # old\n        return 2\ndef run(x):\n    return A().go()\n",
        "# old",
        "# new",
    ),
    "pass to ellipsis": edit("class A:\n    pass\ndef run(x):\n    return A.__name__\n", "pass", "..."),
    "noqa and type ignore": edit(_PLAIN, "return total", "return total  # type: ignore  # noqa"),
    "blank lines and form feed": edit(_PLAIN, "def helper", "\n\x0c\ndef helper"),
    "crlf": edit(_PLAIN, "\n", "\r\n"),
    "tabs": edit("def run(x):\n    return x\n", "    return", "\treturn"),
    "number with underscore": edit("N = 1000000\ndef run(x):\n    return N\n", "1000000", "1_000_000"),
    "hex number": edit("N = 255\ndef run(x):\n    return N\n", "255", "0xff"),
    "dict of same order other layout": edit(
        "D = {'a': 1, 'b': 2}\ndef run(x):\n    return D\n", "{'a': 1, 'b': 2}", "{\n    'a': 1,\n    'b': 2,\n}"
    ),
    "dict built otherwise": edit("D = {'a': 1, 'b': 2}\ndef run(x):\n    return D\n", "{'a': 1, 'b': 2}", "dict(a=1, b=2)"),
    "set order written otherwise": edit("D = {1, 2, 3}\ndef run(x):\n    return 2 in D\n", "{1, 2, 3}", "{3, 2, 1}"),
    "constant computed otherwise (outside)": edit("D = 60 * 60\ndef run(x):\n    return D\n", "60 * 60", "3600"),
    "helper's unused import": edit(
        "from helper import f\ndef run(x):\n    return f(x)\n",
        "def f",
        "import json, re, decimal\ndef f",
        {"helper.py": "def f(x):\n    return x\n"},
        "helper.py",
    ),
    "readme and tests edited": edit(_PLAIN, "a", "b", {"README.md": "a", "tests/test_x.py": "def test_x(): pass\n"}, "README.md"),
    "pyc and cache folders": edit(_PLAIN, added={"__pycache__/x.pyc": "junk", ".mypy_cache/a.json": "{}"}),
    "walrus renamed": edit("def run(x):\n    return [y for v in range(x) if (y := v)]\n", "y", "zz"),
    "except name renamed": edit(
        "def run(x):\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        return str(error)\n",
        "error)",
        "error)  # same",
    ),
    "time zone irrelevant": edit("def run(x):\n    return x\n", variables={"TZ": "UTC"}, new_variables={"TZ": "Asia/Tokyo"}),
    "locale irrelevant": edit("def run(x):\n    return str(x / 7)\n", variables={"LC_ALL": "C"}, new_variables={"LC_ALL": "C.UTF-8"}),
    "fromtimestamp with a zone": edit(
        "import datetime\ndef run(x):\n    return datetime.datetime.fromtimestamp(0, datetime.timezone.utc).isoformat()\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "hash of numbers": edit("def run(x):\n    return hash(3), hash((1, 2))\n", "hash(3)", "hash( 3 )"),
    "type alias added": edit(_PLAIN, "K = 1", "Number = int | float\nK = 1"),
    "protocol added": edit(_PLAIN, "K = 1", "import typing\nclass P(typing.Protocol):\n    def go(self) -> int: ...\nK = 1"),
    "overload added": edit(
        "def f(x):\n    return x\ndef run(x):\n    return f(x)\n",
        "def f(x)",
        "import typing\n@typing.overload\ndef f(x: int) -> int: ...\n@typing.overload\ndef f(x: str) -> str: ...\ndef f(x)",
    ),
}
