# ruff: noqa: E501
"""Edits of functions, names and modules that alter what a step computes."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_HELPER = {"helper.py": "K = 2\ndef scale(x):\n    return x * 2\n"}
_CHAIN = "def a(x):\n    return b(x) + 1\ndef b(x):\n    return c(x) + 1\ndef c(x):\n    return x * 10\ndef run(x):\n    return a(x)\n"
_STACKED = """
import functools
def plus(n):
    def decorate(f):
        @functools.wraps(f)
        def call(*args):
            return f(*args) + n
        return call
    return decorate
def twice(f):
    @functools.wraps(f)
    def call(*args):
        return f(*args) * 2
    return call
@plus(1)
@twice
def inner(x):
    return x
def run(x):
    return inner(x)
"""
_MATCH = """
def run(x):
    match x:
        case {'kind': 'a', 'size': n} if n > 1:
            return n
        case [1, *rest]:
            return rest
        case int() | float():
            return 'number'
        case _:
            return 'other'
"""
_ASYNC = "import asyncio\nasync def fetch(x):\n    await asyncio.sleep(0)\n    return x + 1\nasync def both(x):\n    return await asyncio.gather(fetch(x), fetch(x))\ndef run(x):\n    return list(asyncio.run(both(x)))\n"
_TRY = {
    "steps": "try:\n    from fast import go\nexcept ImportError:\n    from slow import go\ndef run(x):\n    return go(x)\n",
    "slow": "def go(x):\n    return x\n",
}
_LOOKUP = "TABLE = {'a': lambda x: x + 1, 'b': lambda x: x + 2}\ndef run(x):\n    return TABLE['b'](x)\n"
_LOOP = "POWERS = []\nfor n in range(3):\n    POWERS.append(2 ** n)\ndel n\ndef run(x):\n    return POWERS\n"
_GLOBAL = "M = None\ndef load():\n    global M\n    M = 5\ndef run(x):\n    load()\n    return M * x\n"
_PKG = {
    "pkg/__init__.py": "",
    "pkg/a/__init__.py": "",
    "pkg/a/b/__init__.py": "",
    "pkg/a/b/c.py": "def go(x):\n    return x + 1\n",
    "pkg/rel.py": "from .a.b.c import go\nfrom . import const\ndef use(x):\n    return go(x) * const.K\n",
    "pkg/const.py": "K = 3\n",
}
_LOCALS = "import pandas as pd\ndef run(x):\n    low = 1\n    high = 2\n    return pd.DataFrame({'v': [1, 2, 3]}).query('v > @low')['v'].tolist() + [high]\n"
_STAR = {
    "helper.py": "__all__ = ['scale']\ndef scale(x):\n    return x * 2\ndef shift(x):\n    return x + 1\n",
    "other.py": "def shift(x):\n    return x - 1\n",
}

CODE: dict[str, Case] = {
    "end of a chain of helpers": edit(_CHAIN, "x * 10", "x * 11"),
    "middle of a chain of helpers": edit(_CHAIN, "c(x) + 1", "c(x) + 2"),
    "f-string's format": edit("def run(x):\n    return f'{x:>5}'\n", ":>5", ":<5"),
    "f-string's conversion": edit("def run(x):\n    return f'{x!r}'\n", "!r", "!s", args="'a'"),
    "f-string that names its expression": edit("def run(x):\n    y = x\n    return f'{y=}'\n", "y", "z"),
    "chained comparison": edit("def run(x):\n    return 1 < x < 3\n", "x < 3", "x <= 3"),
    "order of operands": edit("def run(x):\n    return x - 1\n", "x - 1", "1 - x"),
    "brackets that act": edit("def run(x):\n    return x * 2 + 1\n", "x * 2 + 1", "x * (2 + 1)"),
    "floor division": edit("def run(x):\n    return x / 2\n", "/ 2", "// 2"),
    "walrus": edit("def run(x):\n    return [y := x + 1, y * 2]\n", "y := x + 1", "y := x + 2"),
    "walrus in a comprehension": edit(
        "def run(x):\n    last = 0\n    got = [last := i for i in range(x)]\n    return last\n", "last := i", "lost := i"
    ),
    "slice": edit("def run(x):\n    return list(range(10))[1:8:2]\n", "1:8:2", "1:8:3"),
    "slice without an end": edit("def run(x):\n    return list(range(10))[1:]\n", "[1:]", "[:1]"),
    "starred assignment": edit("def run(x):\n    a, *b = [1, 2, 3]\n    return b\n", "a, *b", "*b, a"),
    "match on a key": edit(_MATCH, "'kind': 'a'", "'kind': 'b'", args="{'kind': 'a', 'size': 3}"),
    "match's guard": edit(_MATCH, "n > 1", "n > 5", args="{'kind': 'a', 'size': 3}"),
    "match on a sequence": edit(_MATCH, "[1, *rest]", "[_, *rest]", args="[2, 3]"),
    "match on a class": edit(_MATCH, "int() | float()", "int()", args="1.5"),
    "except clause": edit(
        "def run(x):\n    try:\n        return 1 // 0\n    except ArithmeticError:\n        return 'a'\n", "return 'a'", "return 'b'"
    ),
    "which error is caught": edit(
        "def run(x):\n    try:\n        try:\n            return {}[x]\n        except KeyError:\n            return 'in'\n    except LookupError:\n        return 'out'\n",
        "except KeyError",
        "except IndexError",
    ),
    "finally": edit(
        "def run(x):\n    out = []\n    try:\n        out.append(1)\n    finally:\n        out.append(2)\n    return out\n",
        "append(2)",
        "append(3)",
    ),
    "else of a loop": edit(
        "def run(x):\n    for i in range(3):\n        pass\n    else:\n        return 'else'\n    return 'no'\n",
        "    else:\n        return 'else'\n",
        "",
    ),
    "break to continue": edit(
        "def run(x):\n    got = []\n    for i in range(3):\n        if i == 1:\n            break\n        got.append(i)\n    return got\n",
        "break",
        "continue",
    ),
    "augmented assignment of a shared list": edit("def run(x):\n    a = b = [1]\n    a += [2]\n    return b\n", "a += [2]", "a = a + [2]"),
    "swapped names of two locals": edit("def run(x):\n    a = 1\n    b = 2\n    return a - b\n", "a = 1\n    b = 2", "b = 1\n    a = 2"),
    "locals that text names": edit(_LOCALS, "low = 1\n    high = 2", "high = 1\n    low = 2"),
    "local that shadows a global": edit("k = 1\ndef run(x):\n    j = 5\n    return k\n", "j = 5", "k = 5"),
    "global that shadows a builtin": edit(
        "def run(x):\n    return max(x)\n", "def run", "def max(x):\n    return 'mine'\ndef run", args="[1, 2]"
    ),
    "global that a star import shadows": edit(
        "from other import *\nfrom helper import *\ndef run(x):\n    return shift(x)\n",
        "['scale']",
        "['scale', 'shift']",
        _STAR,
        "helper.py",
    ),
    "order of imports of one name": edit(
        "from a import f\nfrom b import f\ndef run(x):\n    return f(x)\n",
        "from a import f\nfrom b import f",
        "from b import f\nfrom a import f",
        {"a.py": "def f(x):\n    return 'a'\n", "b.py": "def f(x):\n    return 'b'\n"},
    ),
    "later definition of one name": edit(
        "def f(x):\n    return 1\ndef run(x):\n    return f(x)\n", "def run", "def f(x):\n    return 2\ndef run"
    ),
    "stacked decorators": edit(_STACKED, "@plus(1)\n@twice\n", "@twice\n@plus(1)\n"),
    "inner of stacked decorators": edit(_STACKED, "* 2", "* 3"),
    "argument of a stacked decorator": edit(_STACKED, "@plus(1)", "@plus(2)"),
    "decorator that replaces": edit(
        "def const(f):\n    return lambda x: 'const'\ndef h(x):\n    return x\ndef run(x):\n    return h(x)\n",
        "def h(x)",
        "@const\ndef h(x)",
    ),
    "decorator that notes": edit(
        "SEEN = []\ndef note(f):\n    SEEN.append(f.__name__)\n    return f\n@note\ndef a():\n    pass\ndef run(x):\n    return SEEN\n",
        "def a",
        "def b",
    ),
    "decorator of the step": edit(
        "import functools\ndef wrap(f):\n    @functools.wraps(f)\n    def call(x):\n        return f(x) + 1\n    return call\n@wrap\ndef run(x):\n    return x\n",
        "f(x) + 1",
        "f(x) + 2",
    ),
    "attribute of a function": edit(
        "def h(x):\n    return x\nh.limit = 3\ndef run(x):\n    return h.limit\n", "h.limit = 3", "h.limit = 4"
    ),
    "name of a function": edit("def one():\n    pass\nF = one\ndef run(x):\n    return F.__name__\n", "one", "two"),
    "partial of a partial": edit(
        "import functools\ndef h(a, b, c):\n    return a, b, c\np = functools.partial(functools.partial(h, 1), 2)\ndef run(x):\n    return p(x)\n",
        "h, 1",
        "h, 9",
    ),
    "cached function": edit(
        "import functools\n@functools.cache\ndef h(x):\n    return x + 1\ndef run(x):\n    return h(x)\n", "x + 1", "x + 2"
    ),
    "reduce with an operator": edit(
        "import functools, operator\ndef run(x):\n    return functools.reduce(operator.add, x)\n",
        "operator.add",
        "operator.mul",
        args="[1, 2, 3, 4]",
    ),
    "operator kept as a constant": edit(
        "import operator\nOP = operator.add\ndef run(x):\n    return OP(x, 3)\n", "operator.add", "operator.mul"
    ),
    "itemgetter": edit(
        "from operator import itemgetter\nG = itemgetter(0)\ndef run(x):\n    return G(x)\n",
        "itemgetter(0)",
        "itemgetter(1)",
        args="[5, 6]",
    ),
    "methodcaller": edit(
        "from operator import methodcaller\nG = methodcaller('upper')\ndef run(x):\n    return G(x)\n", "'upper'", "'title'", args="'ab cd'"
    ),
    "sorting key": edit(
        "def by(p):\n    return p[0]\ndef run(x):\n    return sorted(x, key=by)\n", "p[0]", "p[1]", args="[(1, 9), (2, 3)]"
    ),
    "lambda in a table": edit(_LOOKUP, "x + 2", "x + 3"),
    "getattr with a default": edit(
        "import helper\ndef run(x):\n    return getattr(helper, 'K', 0)\n", "K = 2", "K = 3", _HELPER, "helper.py"
    ),
    "getattr of an added name": edit(
        "import helper\ndef run(x):\n    return getattr(helper, 'EXTRA', 0)\n", "K = 2", "K = 2\nEXTRA = 1", _HELPER, "helper.py"
    ),
    "hasattr on a module": edit(
        "import helper\ndef run(x):\n    return hasattr(helper, 'EXTRA')\n", "K = 2", "K = 2\nEXTRA = 1", _HELPER, "helper.py"
    ),
    "dict of a module": edit("import helper\ndef run(x):\n    return helper.__dict__['scale'](x)\n", "* 2", "* 3", _HELPER, "helper.py"),
    "vars of a module": edit("import helper\ndef run(x):\n    return vars(helper)['K']\n", "K = 2", "K = 3", _HELPER, "helper.py"),
    "dir of a module": edit(
        "import helper\ndef run(x):\n    return sorted(n for n in dir(helper) if n[0] != '_')\n",
        "K = 2",
        "K = 2\nL = 1",
        _HELPER,
        "helper.py",
    ),
    "module kept in a variable": edit(
        "import helper\nH = helper\ndef run(x):\n    return H.scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "module in a list": edit(
        "import helper\nALL = [helper]\ndef run(x):\n    return ALL[0].scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "module handed to a helper": edit(
        "import helper\ndef go(m, x):\n    return m.scale(x)\ndef run(x):\n    return go(helper, x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "import of a submodule as another name": edit(
        "import pkg.a.b.c as deep\ndef run(x):\n    return deep.go(x)\n", "x + 1", "x + 2", _PKG, "pkg/a/b/c.py"
    ),
    "import of a submodule in the body": edit(
        "def run(x):\n    import pkg.a.b.c as deep\n    return deep.go(x)\n", "x + 1", "x + 2", _PKG, "pkg/a/b/c.py"
    ),
    "import of a package in the body": edit(
        "def run(x):\n    import pkg.a.b.c\n    return pkg.a.b.c.go(x)\n", "x + 1", "x + 2", _PKG, "pkg/a/b/c.py"
    ),
    "module of the body that goes on": edit(
        "def run(x):\n    import helper\n    m = helper\n    return m.scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "constant of a module of the body": edit(
        "def run(x):\n    import helper\n    return helper.K\n", "K = 2", "K = 3", _HELPER, "helper.py"
    ),
    "relative import": edit("from pkg.rel import use\ndef run(x):\n    return use(x)\n", "x + 1", "x + 2", _PKG, "pkg/a/b/c.py"),
    "constant of a relative import": edit(
        "from pkg.rel import use\ndef run(x):\n    return use(x)\n", "K = 3", "K = 4", _PKG, "pkg/const.py"
    ),
    "relative import in the body": edit(
        "from pkg.late import use\ndef run(x):\n    return use(x)\n",
        "K = 3",
        "K = 4",
        {**_PKG, "pkg/late.py": "def use(x):\n    from . import const\n    return const.K\n"},
        "pkg/const.py",
    ),
    "import that depends on a constant": edit(
        "import flags\nif flags.FAST:\n    from fast import go\nelse:\n    from slow import go\ndef run(x):\n    return go(x)\n",
        "FAST = True",
        "FAST = False",
        {"flags.py": "FAST = True\n", "fast.py": "def go(x):\n    return 'fast'\n", "slow.py": "def go(x):\n    return 'slow'\n"},
        "flags.py",
    ),
    "fallback of a failing import": edit(_TRY["steps"], "return x", "return -x", {"slow.py": _TRY["slow"]}, "slow.py"),
    "module that appears": edit(_TRY["steps"], more={"slow.py": _TRY["slow"]}, added={"fast.py": "def go(x):\n    return 'fast'\n"}),
    "module that appears for an import in the body": edit(
        "def run(x):\n    try:\n        import fast\n    except ImportError:\n        return 'slow'\n    return fast.go(x)\n",
        added={"fast.py": "def go(x):\n    return 'fast'\n"},
    ),
    "module that becomes a package": edit(
        "import helper\ndef run(x):\n    return helper.scale(x)\n",
        more=_HELPER,
        added={"helper/__init__.py": "def scale(x):\n    return x * 7\n"},
        gone=("helper.py",),
    ),
    "module that hides a library": edit(
        "import colorsys\ndef run(x):\n    return colorsys.rgb_to_hsv(1, 1, 1)\n",
        added={"colorsys.py": "def rgb_to_hsv(*a):\n    return 'mine'\n"},
    ),
    "getattr of a module": edit(
        "import lazy\ndef run(x):\n    return lazy.anything\n",
        "'one'",
        "'two'",
        {"lazy.py": "def __getattr__(name):\n    return name + 'one'\n"},
        "lazy.py",
    ),
    "initialised global": edit(_GLOBAL, "M = 5", "M = 6"),
    "comprehension at import": edit("SQUARES = [i * i for i in range(4)]\ndef run(x):\n    return SQUARES\n", "i * i", "i * 3"),
    "loop at import": edit(_LOOP, "2 ** n", "3 ** n"),
    "config filled by another module": edit(
        "import config, setup_config\ndef run(x):\n    return config.C\n",
        "= 1",
        "= 2",
        {"config.py": "C = {}\n", "setup_config.py": "import config\nconfig.C['a'] = 1\n"},
        "setup_config.py",
    ),
    "user's module patched by another": edit(
        "import helper, patch\ndef run(x):\n    return helper.scale(x)\n",
        "x * 5",
        "x * 6",
        {**_HELPER, "patch.py": "import helper\ndef mine(x):\n    return x * 5\nhelper.scale = mine\n"},
        "patch.py",
    ),
    "library patched by another module": edit(
        "import json\nimport patch\ndef run(x):\n    return json.dumps(x)\n",
        "'mine'",
        "'yours'",
        {"patch.py": "import json\ndef mine(x, **k):\n    return 'mine'\njson.dumps = mine\n"},
        "patch.py",
    ),
    "library's constant set by another module": edit(
        "import string\nimport patch\ndef run(x):\n    return string.digits\n",
        "'01'",
        "'012'",
        {"patch.py": "import string\nstring.digits = '01'\n"},
        "patch.py",
    ),
    "library's class patched": edit(
        "import fractions\nimport patch\ndef run(x):\n    return fractions.Fraction(1, 2).half()\n",
        "/ 2",
        "/ 4",
        {"patch.py": "import fractions\ndef half(self):\n    return float(self) / 2\nfractions.Fraction.half = half\n"},
        "patch.py",
    ),
    "library's class patched by setattr": edit(
        "import fractions\nimport patch\ndef run(x):\n    return fractions.Fraction(1, 2).half()\n",
        "/ 2",
        "/ 4",
        {"patch.py": "import fractions\nsetattr(fractions.Fraction, 'half', lambda self: float(self) / 2)\n"},
        "patch.py",
    ),
    "decimal precision": edit(
        "from decimal import Decimal, getcontext\ngetcontext().prec = 5\ndef run(x):\n    return str(Decimal(1) / Decimal(x))\n",
        "prec = 5",
        "prec = 6",
    ),
    "decimal precision of a context in a name": edit(
        "import decimal\nctx = decimal.getcontext()\nctx.prec = 5\ndef run(x):\n    return str(decimal.Decimal(1) / decimal.Decimal(x))\n",
        "prec = 5",
        "prec = 6",
    ),
    "decimal precision by a helper": edit(
        "import decimal\ndef configure(n):\n    decimal.getcontext().prec = n\nconfigure(5)\ndef run(x):\n    return str(decimal.Decimal(1) / decimal.Decimal(x))\n",
        "configure(5)",
        "configure(6)",
    ),
    "decimal precision by a constant": edit(
        "import decimal\nPREC = 5\ndecimal.getcontext().prec = PREC\ndef run(x):\n    return str(decimal.Decimal(1) / decimal.Decimal(x))\n",
        "PREC = 5",
        "PREC = 6",
    ),
    "setting of a module that only the home imports": edit(
        "import decimal\nimport first\ndef run(x):\n    return str(decimal.Decimal(1) / decimal.Decimal(x))\n",
        "prec = 5",
        "prec = 6",
        {"first.py": "import second\n", "second.py": "import decimal\ndecimal.getcontext().prec = 5\n"},
        "second.py",
    ),
    "error state of numpy": edit(
        "import numpy as np\nold = np.seterr(divide='ignore')\ndef run(x):\n    return np.geterr()['divide']\n", "'ignore'", "'warn'"
    ),
    "print options of numpy": edit(
        "import numpy as np\nnp.set_printoptions(precision=2)\ndef run(x):\n    return str(np.array([1 / 3]))\n",
        "precision=2",
        "precision=4",
    ),
    "option of pandas": edit(
        "import pandas as pd\npd.set_option('display.precision', 2)\ndef run(x):\n    return str(pd.Series([1 / 3]))\n", "', 2", "', 4"
    ),
    "accessor registered in pandas": edit(
        "import pandas as pd\nimport geo\ndef run(x):\n    return pd.Series([1, 2]).geo.area()\n",
        "'area'",
        "'size'",
        {
            "geo.py": "import pandas as pd\n@pd.api.extensions.register_series_accessor('geo')\nclass Geo:\n    def __init__(self, s):\n        self.s = s\n    def area(self):\n        return 'area'\n"
        },
        "geo.py",
    ),
    "class registered with a library's": edit(
        "from collections.abc import Sequence\nclass Mine:\n    pass\nclass Yours:\n    pass\nSequence.register(Mine)\ndef run(x):\n    return isinstance(Mine(), Sequence)\n",
        "register(Mine)",
        "register(Yours)",
    ),
    "locale": edit(
        "import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C')\ndef run(x):\n    return locale.localeconv()['decimal_point'], locale.setlocale(locale.LC_NUMERIC)\n",
        "'C'",
        "'C.UTF-8'",
    ),
    "recursion limit": edit(
        "import sys\nsys.setrecursionlimit(900)\ndef run(x):\n    return sys.getrecursionlimit()\n", "900", "901", truth="plain"
    ),
    "seed of a generator": edit("import random\nR = random.Random(1)\ndef run(x):\n    return R.random()\n", "Random(1)", "Random(2)"),
    "seed of numpy's generator": edit(
        "import numpy as np\nSEED = 1\ndef run(x):\n    return np.random.default_rng(SEED).random()\n", "SEED = 1", "SEED = 2"
    ),
    "global seed set in the body": edit(
        "import random\ndef run(x):\n    random.seed(1)\n    return random.random()\n", "seed(1)", "seed(2)"
    ),
    "unseeded draw of another step's argument": edit(
        "import random\ndef run(x):\n    return random.randint(0, 10 ** 9) * K\nK = 1\n", "K = 1", "K = 2", truth="engine"
    ),
    "async helper": edit(_ASYNC, "x + 1", "x + 2"),
    "generator expression": edit("def run(x):\n    return sum(i * 2 for i in range(x))\n", "i * 2", "i * 3"),
    "yield from": edit(
        "def inner():\n    yield 1\n    yield 2\ndef outer():\n    yield from inner()\ndef run(x):\n    return list(outer())\n",
        "yield 2",
        "yield 3",
    ),
    "send to a generator": edit(
        "def echo():\n    got = yield 1\n    yield got * 2\ndef run(x):\n    g = echo()\n    next(g)\n    return g.send(x)\n",
        "got * 2",
        "got * 3",
    ),
    "context manager's class": edit(
        "class C:\n    def __enter__(self):\n        return 1\n    def __exit__(self, *a):\n        return True\ndef run(x):\n    with C() as v:\n        return v\n",
        "return 1",
        "return 2",
    ),
    "exec-made function": edit("exec('def made(x):\\n    return x + 1')\ndef run(x):\n    return made(x)\n", "x + 1", "x + 2"),
    "compiled text of a constant": edit(
        "SRC = 'x + 1'\nspace = {}\nexec('def made(x): return ' + SRC, space)\nmade = space['made']\ndef run(x):\n    return made(x)\n",
        "'x + 1'",
        "'x + 2'",
    ),
    "string template": edit(
        "from string import Template\nT = Template('$a is one')\ndef run(x):\n    return T.substitute(a=x)\n", "is one", "is two"
    ),
    "flags of a regular expression": edit("import re\nP = re.compile('a', re.I)\ndef run(x):\n    return P.findall('aA')\n", ", re.I", ""),
    "docstring of a nested function": edit("def run(x):\n    def h():\n        'one'\n    return h.__doc__\n", "'one'", "'two'"),
    "docstring by getattr": edit("def h():\n    'one'\ndef run(x):\n    return getattr(h, '__doc__')\n", "'one'", "'two'"),
    "docstring of a module": edit("'one'\nimport steps\ndef run(x):\n    return steps.__doc__\n", "'one'", "'two'"),
    "annotation by inspect": edit(
        "import inspect\ndef h(x: int):\n    pass\ndef run(x):\n    return str(inspect.signature(h))\n", "x: int", "x: str"
    ),
    "source by inspect": edit(
        "import inspect\ndef h(x):\n    return 1  # one\ndef run(x):\n    return inspect.getsource(h)\n", "# one", "# two"
    ),
    "line number of a frame": edit("import sys\ndef run(x):\n    return sys._getframe().f_lineno\n", "import sys\n", "import sys\n\n\n"),
    "locals of the caller": edit(
        "import sys\ndef peek():\n    return sorted(sys._getframe(1).f_locals)\ndef run(x):\n    a = 1\n    return peek()\n",
        "a = 1",
        "b = 1",
    ),
    "parameter names of a helper": edit(
        "import inspect\ndef h(a):\n    pass\ndef run(x):\n    return list(inspect.signature(h).parameters)\n", "h(a)", "h(b)"
    ),
    "keyword-only default of a helper": edit("def h(x, *, k=1):\n    return k\ndef run(x):\n    return h(x)\n", "k=1", "k=2"),
    "default that is a list": edit("def h(x, k=[1, 2]):\n    return k\ndef run(x):\n    return h(x)\n", "[1, 2]", "[1, 3]"),
    "default that is a function": edit(
        "def f():\n    return 1\ndef h(x, k=f):\n    return k()\ndef run(x):\n    return h(x)\n", "return 1", "return 2"
    ),
    "closure in a loop": edit(
        "FS = [lambda x, i=i: x + i for i in range(3)]\ndef run(x):\n    return [f(x) for f in FS]\n", "x + i", "x - i"
    ),
    "late-bound closure in a loop": edit(
        "FS = [lambda x: x + i for i in range(3)]\ndef run(x):\n    return [f(x) for f in FS]\n", "range(3)", "range(4)"
    ),
    "nonlocal counter": edit(
        "def counter():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n        return n\n    return up\ndef run(x):\n    up = counter()\n    return [up(), up()]\n",
        "n += 1",
        "n += 2",
    ),
    "nonlocal to global": edit(
        "n = 10\ndef run(x):\n    n = 1\n    def up():\n        nonlocal n\n        n += 1\n    up()\n    return n\n",
        "nonlocal n",
        "global n",
    ),
    "dispatch on an added type": edit(
        "import functools\n@functools.singledispatch\ndef f(x):\n    return 'any'\nimport more\ndef run(x):\n    return f(x)\n",
        "",
        "",
        {"more.py": "import steps\n"},
        added={"more.py": "import steps\n@steps.f.register(int)\ndef _(x):\n    return 'int'\n"},
    ),
    "typed dictionary's total": edit(
        "from typing import NewType, get_type_hints\nclass A:\n    x: int\ndef run(v):\n    return str(get_type_hints(A))\n",
        "x: int",
        "x: str",
    ),
    "constant through a NewType": edit(
        "from typing import NewType\nUser = NewType('User', int)\nU = User(5)\ndef run(x):\n    return U\n", "User(5)", "User(6)"
    ),
    "context variable's default": edit(
        "import contextvars\nV = contextvars.ContextVar('V', default=1)\ndef run(x):\n    return V.get()\n", "default=1", "default=2"
    ),
    "thread-local default": edit(
        "import threading\nclass L(threading.local):\n    v = 1\nT = L()\ndef run(x):\n    return T.v\n", "v = 1", "v = 2"
    ),
    "weak registry": edit(
        "import weakref\nclass A:\n    v = 1\nKEEP = A()\nW = weakref.WeakValueDictionary({'a': KEEP})\ndef run(x):\n    return W['a'].v\n",
        "v = 1",
        "v = 2",
    ),
    "chain of maps": edit(
        "from collections import ChainMap\nC = ChainMap({}, {'a': 1})\ndef run(x):\n    return C['a']\n", "'a': 1", "'a': 2"
    ),
    "user's dictionary": edit(
        "from collections import UserDict\nclass D(UserDict):\n    def __missing__(self, k):\n        return k * 2\nT = D()\ndef run(x):\n    return T[x]\n",
        "k * 2",
        "k * 3",
    ),
    "default factory": edit(
        "from collections import defaultdict\ndef make():\n    return 1\nD = defaultdict(make)\ndef run(x):\n    return dict(D).get(x, D.default_factory())\n",
        "return 1",
        "return 2",
    ),
    "iterator kept as a constant": edit(
        "import itertools\nC = itertools.count(5)\ndef run(x):\n    return next(C)\n", "count(5)", "count(6)"
    ),
    "two lambdas of one line in one list": edit(
        "FS = sorted([(2, lambda x: x + 1), (1, lambda x: x + 2)], key=lambda p: p[0])\ndef run(x):\n    return FS[0][1](x)\n",
        "(1, lambda x: x + 2)",
        "(1, lambda x: x + 4)",
    ),
    "edit that keeps time and size": edit(
        "import helper\ndef run(x):\n    return helper.K\n",
        "K = 2",
        "K = 3",
        _HELPER,
        "helper.py",
        prepare="import os\nos.utime('helper.py', (1e9, 1e9))",
    ),
    "logger's level that is asked for": edit(
        "import logging\nlog = logging.getLogger('mine')\nlog.setLevel(10)\ndef run(x):\n    return log.isEnabledFor(10)\n",
        "setLevel(10)",
        "setLevel(20)",
    ),
    "numba-like compiled function": edit(
        "class Jit:\n    def __init__(self, f):\n        self.py_func = f\n    def __call__(self, x):\n        return self.py_func(x)\n@Jit\ndef h(x):\n    return x + 1\ndef run(x):\n    return h(x)\n",
        "x + 1",
        "x + 2",
    ),
    "vectorised function": edit(
        "import numpy as np\nf = np.vectorize(lambda v: v + 1)\ndef run(x):\n    return f([1, 2]).tolist()\n", "v + 1", "v + 2"
    ),
    "ufunc from a function": edit(
        "import numpy as np\nf = np.frompyfunc(lambda v: v + 1, 1, 1)\ndef run(x):\n    return f(np.array([1, 2])).tolist()\n",
        "v + 1",
        "v + 2",
    ),
    "what an annotation's name means": edit(
        "from typing import get_type_hints\nNumber = int\ndef h(x: Number):\n    pass\ndef run(x):\n    return str(get_type_hints(h))\n",
        "Number = int",
        "Number = float",
    ),
    "what a postponed annotation's name means": edit(
        "from __future__ import annotations\nfrom typing import get_type_hints\nNumber = int\ndef h(x: Number):\n    pass\ndef run(x):\n    return str(get_type_hints(h))\n",
        "Number = int",
        "Number = float",
    ),
    "what an annotation means to a library": edit(
        "import pydantic\nNumber = int\ndef h(x: Number):\n    return x\ndef run(x):\n    return pydantic.validate_call(h)('3')\n",
        "Number = int",
        "Number = float",
    ),
    "annotation of a nested function that a library reads": edit(
        "import pydantic\ndef run(x):\n    def h(x: int):\n        return x\n    return pydantic.validate_call(h)('3')\n",
        "x: int",
        "x: float",
    ),
    "limit in an annotation that a library reads": edit(
        "import pydantic\nfrom typing import Annotated\nLOW = 1\ndef h(x: Annotated[int, pydantic.Field(ge=LOW)]):\n    return x\ndef run(x):\n    try:\n        return pydantic.validate_call(h)(x)\n    except pydantic.ValidationError:\n        return 'bad'\n",
        "LOW = 1",
        "LOW = 5",
    ),
    "type of a dataclass that a library reads": edit(
        "import pydantic\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    a: int\ndef run(x):\n    return repr(pydantic.TypeAdapter(C).validate_python({'a': '3'}))\n",
        "a: int",
        "a: float",
    ),
    "private name in a class": edit(
        "def __help(x):\n    return x + 1\n_A__help = __help\nclass A:\n    def go(self, x):\n        return __help(x)\ndef run(x):\n    return A().go(x)\n",
        "x + 1",
        "x + 2",
    ),
    "private attribute": edit(
        "class A:\n    __k = 1\n    def go(self):\n        return self.__k\ndef run(x):\n    return A().go()\n", "__k = 1", "__k = 2"
    ),
    "default of a nested function that names a global": edit(
        "K = 1\ndef run(x):\n    def h(y=K):\n        return y\n    return h()\n", "K = 1", "K = 2"
    ),
    "decorator of a nested function": edit(
        "def d(f):\n    return lambda: 1\ndef run(x):\n    @d\n    def h():\n        return 0\n    return h()\n", "lambda: 1", "lambda: 2"
    ),
    "base of a nested class": edit("class B:\n    v = 1\ndef run(x):\n    class A(B):\n        pass\n    return A.v\n", "v = 1", "v = 2"),
    "submodule of a package that is used as a value": edit(
        "import pkg.sub\nimport pkg\ndef run(x, n='sub'):\n    return getattr(pkg, n).go(x)\n",
        "x + 1",
        "x + 2",
        {"pkg/__init__.py": "", "pkg/sub.py": "def go(x):\n    return x + 1\n"},
        "pkg/sub.py",
    ),
    "submodule that a package imports": edit(
        "import pkg\ndef run(x, n='sub'):\n    return getattr(pkg, n).go(x)\n",
        "x + 1",
        "x + 2",
        {"pkg/__init__.py": "from . import sub\n", "pkg/sub.py": "def go(x):\n    return x + 1\n"},
        "pkg/sub.py",
    ),
    "comparison of types": edit("def run(x):\n    return isinstance(x, int)\n", "int)", "str)"),
    "star in a call": edit("def h(*a):\n    return a\ndef run(x):\n    return h([1, 2])\n", "h([1, 2])", "h(*[1, 2])"),
    "order of keyword arguments": edit("def h(**k):\n    return list(k)\ndef run(x):\n    return h(a=1, b=2)\n", "a=1, b=2", "b=2, a=1"),
    "default of a lambda": edit("f = lambda x, k=1: x + k\ndef run(x):\n    return f(x)\n", "k=1", "k=2"),
    "del of a key": edit("def run(x):\n    d = {'a': 1, 'b': 2}\n    del d['a']\n    return d\n", "del d['a']", "del d['b']"),
    "assert that is caught": edit(
        "def run(x):\n    try:\n        assert x > 5\n    except AssertionError:\n        return 'low'\n    return 'high'\n",
        "x > 5",
        "x > 1",
    ),
    "conditional expression": edit("def run(x):\n    return 1 if x else 2\n", "1 if x else 2", "2 if x else 1"),
    "short circuit": edit("def run(x):\n    return x and 5\n", "and", "or"),
    "complex literal": edit("def run(x):\n    return 1j * x\n", "1j", "2j"),
    "bytes literal": edit("def run(x):\n    return b'a'\n", "b'a'", "b'b'"),
    "text with another escape": edit("def run(x):\n    return '\\x41'\n", "x41", "x42"),
    "keyword of a call": edit("def run(x):\n    return sorted([3, 1], reverse=True)\n", "True", "False"),
    "format by percent": edit("def run(x):\n    return '%d' % x\n", "%d", "%5d"),
    "unpacked dict's order": edit("A = {'k': 1}\nB = {'k': 2}\ndef run(x):\n    return {**A, **B}\n", "**A, **B", "**B, **A"),
    "class of a caught error": edit(
        "class E(Exception):\n    def __str__(self):\n        return 'one'\ndef run(x):\n    try:\n        raise E\n    except E as e:\n        return str(e)\n",
        "'one'",
        "'two'",
    ),
    "group of errors": edit(
        "def run(x):\n    try:\n        raise ExceptionGroup('g', [ValueError(1), KeyError(2)])\n    except* ValueError as g:\n        a = len(g.exceptions)\n    except* KeyError:\n        a = 'k'\n    return a\n",
        "a = 'k'",
        "a = 'key'",
    ),
    "environment of a constant at import": edit(
        "import settings\ndef run(x):\n    return settings.get('rate')\n",
        "1.5",
        "1.6",
        {"settings.py": "import json\n_C = json.loads('{\"rate\": 1.5}')\ndef get(n):\n    return _C[n]\n"},
        "settings.py",
    ),
    "mutable default that a caller fills": edit(
        "def h(x, seen=[]):\n    seen.append(x)\n    return list(seen)\nh(1)\ndef run(x):\n    return h(x)\n", "h(1)", "h(2)"
    ),
    "memo filled at import": edit(
        "import functools\nLIMIT = 1\n@functools.cache\ndef h():\n    return LIMIT\nh()\nLIMIT = 7\ndef run(x):\n    return h()\n",
        "LIMIT = 1",
        "LIMIT = 2",
    ),
    "registered codec": edit(
        "import codecs, mycodec\ndef run(x):\n    return codecs.encode('a', 'mine')\n",
        "'one'",
        "'two'",
        {
            "mycodec.py": "import codecs\ndef find(n):\n    if n == 'mine':\n        return codecs.CodecInfo(lambda t, e='strict': ('one', len(t)), None, name='mine')\ncodecs.register(find)\n"
        },
        "mycodec.py",
    ),
    "registered converter of a database": edit(
        "import sqlite3\nsqlite3.register_adapter(complex, lambda c: 'one')\ndef run(x):\n    c = sqlite3.connect(':memory:')\n    try:\n        return c.execute('select ?', (1j,)).fetchone()\n    finally:\n        c.close()\n",
        "'one'",
        "'two'",
    ),
    "copy by a registered function": edit(
        "import copyreg, copy\nclass A:\n    v = 0\ndef reduce(a):\n    return str, ('one',)\ncopyreg.pickle(A, reduce)\ndef run(x):\n    return copy.copy(A())\n",
        "'one'",
        "'two'",
    ),
    "hook of the interpreter": edit("import builtins\nbuiltins.own = lambda x: x + 1\ndef run(x):\n    return own(x)\n", "x + 1", "x + 2"),
    "builtin replaced": edit(
        "import builtins, patch\ndef run(x):\n    return oct(8)\n",
        "'mine'",
        "'ours'",
        {"patch.py": "import builtins\nbuiltins.oct = lambda x: 'mine'\n"},
        "patch.py",
    ),
    "second of two settings by a helper": edit(
        "import decimal\ndef configure(n):\n    decimal.getcontext().prec = n\nconfigure(5)\nconfigure(6)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "configure(6)",
        "configure(7)",
    ),
    "setting by a helper whose result is kept": edit(
        "import decimal\ndef boot(n):\n    decimal.getcontext().prec = n\n    return n\nSTATE = boot(5)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "boot(5)",
        "boot(6)",
    ),
    "setting by a method": edit(
        "import decimal\nclass S:\n    def __init__(self, n):\n        self.n = n\n    def apply(self):\n        decimal.getcontext().prec = self.n\nS0 = S(5)\nS0.apply()\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "S(5)",
        "S(6)",
    ),
    "setting by the making of an object": edit(
        "import decimal\nclass S:\n    def __init__(self, n):\n        decimal.getcontext().prec = n\nS(5)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "S(5)",
        "S(6)",
    ),
    "setting by a class method": edit(
        "import decimal\nclass S:\n    @classmethod\n    def apply(cls, n):\n        decimal.getcontext().prec = n\nS.apply(5)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "apply(5)",
        "apply(6)",
    ),
    "setting by another module's helper": edit(
        "import decimal, conf\nconf.setup(5)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "prec = n",
        "prec = n + 1",
        {"conf.py": "import decimal\ndef setup(n):\n    decimal.getcontext().prec = n\n"},
        "conf.py",
    ),
    "setting in a block": edit(
        "import decimal\nif True:\n    for n in (4, 5):\n        decimal.getcontext().prec = n\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "(4, 5)",
        "(4, 6)",
    ),
    "function that a decorator notes in a library": edit(
        "import copyreg, copy, plug\ndef run(x):\n    return copy.copy(plug.A())\n",
        "'one'",
        "'two'",
        {
            "plug.py": "import copyreg\nclass A:\n    pass\ndef handles(cls):\n    def note(f):\n        copyreg.pickle(cls, f)\n        return f\n    return note\n@handles(A)\ndef reduce(a):\n    return str, ('one',)\n"
        },
        "plug.py",
    ),
    "arguments of a literal type": edit(
        "from typing import Literal, get_args\nMODE = Literal['a', 'b']\ndef run(x):\n    return get_args(MODE)\n", "'b'", "'c'"
    ),
    "supertype of a new type": edit(
        "from typing import NewType\nUser = NewType('User', int)\ndef run(x):\n    return User.__supertype__(x)\n", "int", "str"
    ),
    "bound of a type variable": edit(
        "from typing import TypeVar\nT = TypeVar('T', bound=int)\ndef run(x):\n    return T.__bound__(x)\n", "bound=int", "bound=str"
    ),
    "format of a struct": edit("import struct\nS = struct.Struct('>i')\ndef run(x):\n    return S.pack(x)\n", "'>i'", "'<i'"),
    "code of a function exchanged": edit(
        "def f(x):\n    return 1\ndef g(x):\n    return 2\nf.__code__ = g.__code__\ndef run(x):\n    return f(x)\n", "return 2", "return 3"
    ),
    "defaults of a function set": edit(
        "def f(x, k=1):\n    return k\nf.__defaults__ = (5,)\ndef run(x):\n    return f(x)\n", "(5,)", "(6,)"
    ),
    "method set on an object": edit(
        "import types\nclass A:\n    pass\nX = A()\nX.go = types.MethodType(lambda self, x: x + 1, X)\ndef run(x):\n    return X.go(x)\n",
        "x + 1",
        "x + 2",
    ),
    "attribute of an int's subclass": edit(
        "class I(int):\n    pass\nX = I(3)\nX.note = 'a'\ndef run(x):\n    return X.note\n", "'a'", "'b'"
    ),
    "error kept as a constant": edit("E = ValueError('a')\ndef run(x):\n    return str(E)\n", "'a'", "'b'"),
    "plug-ins imported at import": edit(
        "import reg\ndef run(x):\n    return [f(x) for f in reg.ALL]\n",
        "x + 1",
        "x + 2",
        {
            "reg.py": "import importlib\nALL = [importlib.import_module('plugs.' + n).go for n in ('a', 'b')]\n",
            "plugs/__init__.py": "",
            "plugs/a.py": "def go(x):\n    return x\n",
            "plugs/b.py": "def go(x):\n    return x + 1\n",
        },
        "plugs/b.py",
    ),
    "class decorator with state": edit(
        "class Count:\n    def __init__(self, f, by=2):\n        self.f, self.by = f, by\n    def __call__(self, x):\n        return self.f(x) * self.by\n@Count\ndef h(x):\n    return x\ndef run(x):\n    return h(x)\n",
        "by=2",
        "by=3",
    ),
    "operator on library objects patched by a subclass": edit(
        "import fractions\nclass F(fractions.Fraction):\n    def __add__(self, o):\n        return 'one'\nA = F(1, 2)\ndef run(x):\n    return A + 1\n",
        "'one'",
        "'two'",
    ),
    "setting by the post-init of a record": edit(
        "import decimal\nfrom dataclasses import dataclass\n@dataclass\nclass S:\n    n: int\n    def __post_init__(self):\n        decimal.getcontext().prec = self.n\nS0 = S(5)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "S(5)",
        "S(6)",
    ),
    "setting by an inherited init": edit(
        "import decimal\nclass B:\n    def __init__(self, n):\n        decimal.getcontext().prec = n\nclass S(B):\n    pass\nS(5)\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n",
        "S(5)",
        "S(6)",
    ),
}
