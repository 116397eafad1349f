# ruff: noqa: E501
"""Edits of small projects, and what each must do to the key of ``steps:run``.

A case is files, and edits as (file, old, new). ``CHANGES`` alter what ``run`` computes; ``HARMLESS`` do not.
"""

from __future__ import annotations

from tests.unit.data.case import Case, edit
from tests.unit.data.edits_around import AROUND
from tests.unit.data.edits_classes import CLASSES
from tests.unit.data.edits_code import CODE
from tests.unit.data.edits_harmless import MORE_HARMLESS
from tests.unit.data.edits_language import LANGUAGE
from tests.unit.data.edits_libraries import LIBRARIES
from tests.unit.data.edits_native import NATIVE, NATIVE_HARMLESS
from tests.unit.data.edits_outside import OUTSIDE, OUTSIDE_HARMLESS
from tests.unit.data.edits_process import PROCESS
from tests.unit.data.edits_readers import READERS
from tests.unit.data.edits_roundabout import ROUNDABOUT
from tests.unit.data.edits_same import SAME
from tests.unit.data.edits_values import VALUES

_HELPER = {"helper.py": "def scale(x):\n    return x * 2\n"}
_DISPATCH = """
import functools
@functools.singledispatch
def show(x):
    return 'any'
@show.register
def _(x: int):
    return 'int'
def run(x):
    return show(x), show('a')
"""
_DECORATED = """
import functools
def times(n):
    def decorate(function):
        @functools.wraps(function)
        def call(*args):
            return function(*args) * n + 0
        return call
    return decorate
@times(3)
def inner(x):
    return x + 1
def run(x):
    return inner(x)
"""
_CLASS = """
class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)
class Base:
    offset = 1
    def shift(self, x):
        return x + self.offset
class Shifter(Base, metaclass=Meta):
    limits = {'low': 0}
    def __init__(self, by):
        self.by = by
    @property
    def twice(self):
        return self.by * 2
    @staticmethod
    def plain(x):
        return x - 5
    @classmethod
    def make(cls):
        return cls(7)
def run(x):
    made = Shifter.make()
    return made.shift(x), made.twice, made.plain(x), made.limits, made.by
"""
_PLUGINS = """
class Plugin:
    known = {}
    def __init_subclass__(cls):
        Plugin.known[cls.__name__] = cls
class Double(Plugin):
    def go(self, x):
        return x * 2
def run(x):
    return Plugin.known['Double']().go(x)
"""
_SUBCLASSES = """
class Rule:
    pass
class First(Rule):
    def go(self, x):
        return x * 2
def run(x):
    return [each().go(x) for each in Rule.__subclasses__()]
"""
_ENUM = "import enum\nclass Mode(enum.Enum):\n    FAST = 1\n    SLOW = 2\n    def cost(self):\n        return self.value * 10\ndef run(x):\n    return Mode.FAST.cost(), [m.name for m in Mode]\n"
_DATACLASS = (
    "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Config:\n    rate: float = 0.5\n    tags: list = dataclasses.field("
    "default_factory=list)\n    def doubled(self):\n        return self.rate * 2\nCONFIG = Config(rate=0.25)\ndef run(x):\n    return CONFIG.doubled(), Config().rate, Config().tags\n"
)
_GENERATOR = "def rows(n):\n    for i in range(n):\n        yield i * 2\ndef run(x):\n    return list(rows(x))\n"
_LAMBDAS = "PAIR = (lambda x: x + 1, lambda x: x + 2)\ndef run(x):\n    return PAIR[0](x), PAIR[1](x)\n"
_CLOSURE = "def make(k):\n    def inner(x):\n        return x * k\n    return inner\ninner = make(3)\ndef run(x):\n    return inner(x)\n"
_REGISTRY = """
RULES = {}
def rule(function):
    RULES[function.__name__] = function
    return function
@rule
def double(x):
    return x * 2
def run(x, name='double'):
    return RULES[name](x), list(RULES)
"""
_DEEP = {
    "pkg/__init__.py": "from pkg.face import scale\n",
    "pkg/face.py": "from pkg.inner import scale\n",
    "pkg/inner.py": "def scale(x):\n    return x * 2\n",
}
_INSTANCE = """
class Scaler:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, x):
        return x * self.factor
SCALER = Scaler(2)
def run(x):
    return SCALER(x)
"""
_PLAIN = "K = 1\ndef run(x, k=K):\n    return [x * K, K]\n"
_MANY = "import helper\ndef run(x):\n    return helper.scale(x)\n"

CHANGES: dict[str, Case] = {
    "own body": edit("def run(x):\n    return x + 1\n", "x + 1", "x + 2"),
    "helper in the same module": edit("def helper(x):\n    return x + 1\ndef run(x):\n    return helper(x)\n", "x + 1", "x - 1"),
    "helper in another module": edit(
        "from helper import scale\ndef run(x):\n    return scale(x)\n", "x * 2", "x * 3", _HELPER, "helper.py"
    ),
    "helper through its module": edit(_MANY, "x * 2", "x * 3", _HELPER, "helper.py"),
    "helper under another name": edit("import helper as h\ndef run(x):\n    return h.scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"),
    "import in the body": edit("def run(x):\n    import helper\n    return helper.scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"),
    "from-import in the body": edit(
        "def run(x):\n    from helper import scale as s\n    return s(x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "module imported by name": edit(
        "import importlib\ndef run(x):\n    return importlib.import_module('helper').scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "star import": edit("from helper import *\ndef run(x):\n    return scale(x)\n", "* 2", "* 3", _HELPER, "helper.py"),
    "deep re-export": edit("import pkg\ndef run(x):\n    return pkg.scale(x)\n", "* 2", "* 3", _DEEP, "pkg/inner.py"),
    "helper in a submodule": edit("import pkg.inner\ndef run(x):\n    return pkg.inner.scale(x)\n", "* 2", "* 3", _DEEP, "pkg/inner.py"),
    "getattr on a module": edit(
        "import helper\ndef run(x, n='scale'):\n    return getattr(helper, n)(x)\n", "* 2", "* 3", _HELPER, "helper.py"
    ),
    "globals by name": edit("def h(x):\n    return x + 1\ndef run(x, n='h'):\n    return globals()[n](x)\n", "x + 1", "x + 2"),
    "base class": edit(_CLASS, "x + self.offset", "x - self.offset"),
    "class attribute of a base": edit(_CLASS, "offset = 1", "offset = 2"),
    "mutable class attribute": edit(_CLASS, "'low': 0", "'low': 1"),
    "property": edit(_CLASS, "self.by * 2", "self.by * 3"),
    "static method": edit(_CLASS, "x - 5", "x - 6"),
    "class method": edit(_CLASS, "cls(7)", "cls(8)"),
    "metaclass": edit(_CLASS, "super().__call__(*args)", "super().__call__(9)"),
    "subclass that registers itself": edit(_PLUGINS, "x * 2", "x * 3"),
    "subclass found by its base": edit(_SUBCLASSES, "x * 2", "x * 3"),
    "new subclass found by its base": edit(_SUBCLASSES, "def run", "class Second(Rule):\n    def go(self, x):\n        return 0\ndef run"),
    "enum member": edit(_ENUM, "FAST = 1", "FAST = 3"),
    "enum method": edit(_ENUM, "* 10", "* 11"),
    "enum order": edit(_ENUM, "    FAST = 1\n    SLOW = 2", "    SLOW = 2\n    FAST = 1"),
    "dataclass default": edit(_DATACLASS, "= 0.5", "= 0.6"),
    "dataclass factory": edit(_DATACLASS, "=list)", "=tuple)"),
    "dataclass method": edit(_DATACLASS, "* 2", "* 3"),
    "dataclass instance": edit(_DATACLASS, "rate=0.25", "rate=0.26"),
    "instance state": edit(_INSTANCE, "Scaler(2)", "Scaler(3)"),
    "instance method": edit(_INSTANCE, "x * self.factor", "x / self.factor"),
    "module constant": edit(_PLAIN, "K = 1", "K = 2"),
    "1 to True": edit(_PLAIN, "K = 1", "K = True"),
    "1 to 1.0": edit(_PLAIN, "K = 1", "K = 1.0"),
    "1 to text": edit(_PLAIN, "K = 1", "K = '1'"),
    "literal 1 to True": edit("def run(x):\n    return [x, 1]\n", "1", "True"),
    "literal 1 to 1.0": edit("def run(x):\n    return [x, 1]\n", "1", "1.0"),
    "literal 0.0 to -0.0": edit("def run(x):\n    return [x, 0.0]\n", "0.0", "-0.0"),
    "constant in another module": edit(
        "import helper\ndef run(x):\n    return helper.K\n", "K = 1", "K = 2", {"helper.py": "K = 1\n"}, "helper.py"
    ),
    "two constants that read alike": edit("A = 1\nB = 23\ndef run(x):\n    return A, B\n", "A = 1\nB = 23", "A = 12\nB = 3"),
    "mutable config": edit("CFG = {'a': [1, {'b': 2}]}\ndef run(x):\n    return CFG\n", "'b': 2", "'b': 3"),
    "config changed at import": edit("CFG = {}\nCFG['a'] = 1\ndef run(x):\n    return CFG\n", "= 1", "= 2"),
    "tuple to list": edit("K = (1, 2)\ndef run(x):\n    return K\n", "(1, 2)", "[1, 2]"),
    "default from a constant": edit("K = 1\ndef run(x, k=K * 2):\n    return k\n", "K = 1", "K = 2"),
    "keyword default": edit("def run(x, *, k=1):\n    return k\n", "k=1", "k=2"),
    "nested default": edit("def run(x):\n    def inner(k=1):\n        return k\n    return inner()\n", "k=1", "k=2"),
    "closure cell": edit(_CLOSURE, "make(3)", "make(4)"),
    "closure body": edit(_CLOSURE, "x * k", "x + k"),
    "decorator body": edit(_DECORATED, "* n + 0", "* n + 1"),
    "decorator argument": edit(_DECORATED, "@times(3)", "@times(4)"),
    "decorated body": edit(_DECORATED, "x + 1", "x + 2"),
    "decorator removed": edit(_DECORATED, "@times(3)\n", ""),
    "module lambda": edit("f = lambda x: x + 1\ndef run(x):\n    return f(x)\n", "x + 1", "x + 2"),
    "first of two lambdas": edit(_LAMBDAS, "x + 1", "x + 3"),
    "second of two lambdas": edit(_LAMBDAS, "x + 2", "x + 3"),
    "swapped lambdas": edit(_LAMBDAS, "lambda x: x + 1, lambda x: x + 2", "lambda x: x + 2, lambda x: x + 1"),
    "partial argument": edit(
        "import functools\ndef h(x, k):\n    return x * k\np = functools.partial(h, k=2)\ndef run(x):\n    return p(x)\n", "k=2", "k=3"
    ),
    "partial function": edit(
        "import functools\ndef h(x, k):\n    return x * k\np = functools.partial(h, k=2)\ndef run(x):\n    return p(x)\n", "x * k", "x + k"
    ),
    "registry": edit(_REGISTRY, "x * 2", "x * 3"),
    "new name in a registry": edit(_REGISTRY, "def run", "@rule\ndef triple(x):\n    return x * 3\ndef run"),
    "cached helper": edit(
        "import functools\n@functools.lru_cache\ndef h(x):\n    return x + 1\ndef run(x):\n    return h(x)\n", "x + 1", "x + 2"
    ),
    "cached property": edit(
        "import functools\nclass A:\n    @functools.cached_property\n    def v(self):\n        return 1\ndef run(x):\n    return A().v\n",
        "return 1",
        "return 2",
    ),
    "dispatched implementation": edit(_DISPATCH, "'int'", "'whole'"),
    "new dispatched implementation": edit(_DISPATCH, "def run", "@show.register\ndef _(x: str):\n    return 'str'\ndef run"),
    "generator": edit(_GENERATOR, "i * 2", "i * 3"),
    "context manager": edit(
        "import contextlib\n@contextlib.contextmanager\ndef c():\n    yield 1\ndef run(x):\n    with c() as v:\n        return v\n",
        "yield 1",
        "yield 2",
    ),
    "nested function": edit("def run(x):\n    def inner(y):\n        return y + 1\n    return inner(x)\n", "y + 1", "y + 2"),
    "nested class": edit("def run(x):\n    class A:\n        v = 1\n    return A.v\n", "v = 1", "v = 2"),
    "helper used in a comprehension": edit(
        "def h(x):\n    return x + 1\ndef run(x):\n    return [h(i) for i in range(x)]\n", "x + 1", "x + 2"
    ),
    "the name a comprehension reads": edit("def run(x, y):\n    return [x for x in x]\n", "in x]", "in y]", args="[1], [2]"),
    "other local used": edit("def run(x):\n    a = x + 1\n    b = x + 2\n    return a\n", "return a", "return b"),
    "rebound helper": edit(
        "def h(x):\n    return 1\ndef g(x):\n    return 2\nuse = h\ndef run(x):\n    return use(x)\n", "use = h", "use = g"
    ),
    "recursion partner": edit(
        "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)\ndef run(x):\n    return even(x)\n",
        "n == 0 or odd",
        "n <= 9 or odd",
    ),
    "parameter name": edit("import inspect\ndef run(x, k=1):\n    return list(inspect.signature(run).parameters)\n", "k=1", "j=1"),
    "annotation that is read": edit("def run(x: int):\n    return str(typing.get_type_hints(run))\nimport typing\n", "x: int", "x: float"),
    "docstring that is read": edit("def h():\n    'one'\ndef run(x):\n    return h.__doc__\n", "'one'", "'two'"),
    "local name that is read": edit("def run(x):\n    a = 1\n    return locals()\n", "a = 1", "b = 1"),
    "step behind a step": edit(
        "from plimsoll.pipelines.step import step\n@step\ndef h(x):\n    return x + 1\n@step\ndef run(x):\n    return h(x)\n",
        "x + 1",
        "x + 2",
    ),
    "regular expression": edit("import re\nP = re.compile('a+')\ndef run(x):\n    return P.findall(x)\n", "a+", "a*", args="'baab'"),
    "polars expression": edit(
        "import polars as pl\nE = pl.col('a') * 2\ndef run(x):\n    return x.select(E)\n", "* 2", "* 3", args="pl.DataFrame({'a': [1]})"
    ),
    "estimator's setting": edit(
        "from sklearn.linear_model import Ridge\nM = Ridge(alpha=1.0)\ndef run(x):\n    return M.get_params()['alpha']\n",
        "alpha=1.0",
        "alpha=2.0",
    ),
}

CHANGES |= {**CODE, **CLASSES, **VALUES, **AROUND, **READERS, **OUTSIDE, **NATIVE}

#: Thought out later, once those above found nothing any more.
SECOND: dict[str, Case] = {**LANGUAGE, **PROCESS, **LIBRARIES, **ROUNDABOUT}
assert len(SECOND) == len(LANGUAGE) + len(PROCESS) + len(LIBRARIES) + len(ROUNDABOUT)
assert not CHANGES.keys() & SECOND.keys(), CHANGES.keys() & SECOND.keys()

HARMLESS: dict[str, Case] = {
    "comment": edit("def run(x):\n    return x + 1\n", "return x + 1", "# why\n    return x + 1  # because"),
    "docstring": edit("def run(x):\n    'one'\n    return x + 1\n", "'one'", "'two'"),
    "docstring removed": edit("def run(x):\n    'one'\n    return x + 1\n", "    'one'\n", ""),
    "annotation": edit("def run(x):\n    return x + 1\n", "run(x)", "run(x: int) -> int"),
    "annotation of a local": edit("def run(x):\n    y = x + 1\n    return y\n", "y = x", "y: int = x"),
    "blank lines": edit("def run(x):\n    y = x + 1\n    return y\n", "    return", "\n\n    return"),
    "lines above": edit("def run(x):\n    return x + 1\n", "def run", "A = 1\n\n\ndef run"),
    "renamed local": edit("def run(x):\n    y = x + 1\n    return [y for _ in range(y)]\n", "y", "total"),
    "renamed local of a closure": edit(
        _CLOSURE.replace("(k)", "(k)").replace("def make(k):\n", "def make(j):\n    k = j\n"), " k", " factor"
    ),
    "reordered functions": edit(
        "def a():\n    return 1\ndef b():\n    return 2\ndef run(x):\n    return a() + b()\n",
        "def a():\n    return 1\ndef b():\n    return 2\n",
        "def b():\n    return 2\ndef a():\n    return 1\n",
    ),
    "reordered methods": edit(
        "class A:\n    def a(self):\n        return 1\n    def b(self):\n        return 2\ndef run(x):\n    return A().a()\n",
        "    def a(self):\n        return 1\n    def b(self):\n        return 2\n",
        "    def b(self):\n        return 2\n    def a(self):\n        return 1\n",
    ),
    "unused helper": edit("def h():\n    return 1\ndef run(x):\n    return x\n", "return 1", "return 2"),
    "unused constant of a used module": edit(_MANY, "def scale", "UNUSED = 1\ndef scale", _HELPER, "helper.py"),
    "brackets and quotes": edit("def run(x):\n    return (x + 1, 'a')\n", "(x + 1, 'a')", '((x + 1), "a")'),
    "comment in a helper": edit(_MANY, "return", "# why\n    return", _HELPER, "helper.py"),
    "docstring of a class": edit(_CLASS, "class Base:\n", "class Base:\n    'A base.'\n"),
    "annotation in a class": edit(_CLASS, "offset = 1", "offset: int = 1"),
    "logger": edit(
        "import logging\nlog = logging.getLogger('a')\ndef run(x):\n    log.info('a')\n    return x\n",
        "import logging\n",
        "import logging\n# why\n",
    ),
    "step's options": edit(
        "from plimsoll.pipelines.step import step\n@step\ndef h(x):\n    return x + 1\n@step\ndef run(x):\n    return h(x)\n",
        "@step",
        "@step(memory='1GB')",
    ),
}

HARMLESS |= {**MORE_HARMLESS, **OUTSIDE_HARMLESS, **NATIVE_HARMLESS}
SECOND_HARMLESS = SAME
assert not HARMLESS.keys() & SAME.keys(), HARMLESS.keys() & SAME.keys()

REFUSED: dict[str, Case] = {
    "eval": edit("def run(x):\n    return eval('x + 1')\n", "eval", "eval"),
    "a name without a value": edit("def run(x):\n    return later(x)\n", "later", "later"),
    "an open file": edit("F = open(__file__)\ndef run(x):\n    return F.read()\n", "F", "F"),
    "a generator": edit("G = (i for i in range(3))\ndef run(x):\n    return next(G)\n", "G", "G"),
    "sys.modules": edit("import sys\ndef run(x):\n    return sys.modules[x]\n", "run", "run"),
    "sys.modules, imported in the body": edit("def run(x):\n    import sys\n    return sys.modules[x]\n", "run", "run"),
    "sys.modules from sys in the body": edit("def run(x):\n    from sys import modules\n    return modules[x]\n", "run", "run"),
    "eval of builtins, imported in the body": edit("def run(x):\n    import builtins\n    return builtins.eval('x')\n", "run", "run"),
    "a script run by runpy in the body": edit("def run(x):\n    import runpy\n    return runpy.run_path(x)\n", "run", "run"),
    "a file loaded as a module in the body": edit(
        "def run(x):\n    from importlib import util\n    return util.spec_from_file_location('m', x)\n", "run", "run"
    ),
    "a module that goes on from the import": edit("def run(x):\n    import gc as g\n    h = g\n    return h.get_objects()\n", "run", "run"),
    "text that timeit runs": edit("import timeit\ndef run(x):\n    return timeit.timeit(x, number=1)\n", "run", "run"),
}
