# ruff: noqa: E501
"""Edits that the language itself makes act, in corners where few look: hooks of classes, literals, names in text, places in source."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_RECORD = "import dataclasses\n@dataclasses.dataclass%s\nclass R:\n    a: int = 1\n    b: int = 2\ndef run(x):\n%s"
_ENUM = "import enum\nclass E(%s):\n    A = %s\n    B = enum.auto()\n%sdef run(x):\n    return %s\n"
_ALIAS = "def run(x):\n    return %s\n"
_TWO = {"helper.py": "K = 1\ndef go(x):\n    return x + 1\n"}
_LINES = "import %s\n\ndef deep():\n    raise ValueError('a')\ndef run(x):\n    try:\n        deep()\n    except ValueError as error:\n        return %s\n"
_LAZY = "import importlib.util\ndef run(x):\n    return importlib.util.find_spec('spare') is not None\n"

LANGUAGE: dict[str, Case] = {
    # --- classes ---
    "names that a class matches by": edit(
        "class P:\n    __match_args__ = ('a', 'b')\n    a, b = 1, 2\ndef run(x):\n    match P():\n        case P(first, second):\n            return first, second\n",
        "('a', 'b')",
        "('b', 'a')",
    ),
    "names that a base matches by": edit(
        "class B:\n    __match_args__ = ('a',)\nclass P(B):\n    a, b = 1, 2\ndef run(x):\n    match P():\n        case P(first):\n            return first\n",
        "('a',)",
        "('b',)",
    ),
    "slots that refuse": edit(
        "class P:\n    pass\ndef run(x):\n    p = P()\n    try:\n        p.a = 1\n    except AttributeError:\n        return 'refused'\n    return p.a\n",
        "    pass\n",
        "    __slots__ = ()\n",
    ),
    "data descriptor made of another": edit(
        "class D:\n    def __get__(self, one, kind):\n        return 1\nclass P:\n    d = D()\ndef run(x):\n    p = P()\n    p.__dict__['d'] = 2\n    return p.d\n",
        "class P",
        "    def __set__(self, one, value):\n        pass\nclass P",
    ),
    "deletion by a descriptor": edit(
        "class D:\n    def __delete__(self, one):\n        one.log.append(1)\nclass P:\n    d = D()\n    def __init__(self):\n        self.log = []\ndef run(x):\n    p = P()\n    del p.d\n    return p.log\n",
        "append(1)",
        "append(2)",
    ),
    "property by an attrgetter": edit(
        "import operator\nclass P:\n    @property\n    def deep(self):\n        return self\n    @property\n    def rate(self):\n        return 1\nGET = operator.attrgetter('deep.rate')\ndef run(x):\n    return GET(P())\n",
        "return 1",
        "return 2",
    ),
    "property's setter": edit(
        "class P:\n    @property\n    def v(self):\n        return self._v\n    @v.setter\n    def v(self, value):\n        self._v = value + 1\ndef run(x):\n    p = P()\n    p.v = x\n    return p.v\n",
        "value + 1",
        "value + 2",
    ),
    "attribute written by setattr's hook": edit(
        "class P:\n    def __setattr__(self, name, value):\n        super().__setattr__(name, value * 2)\ndef run(x):\n    p = P()\n    p.v = x\n    return p.v\n",
        "* 2",
        "* 3",
    ),
    "directory of an object": edit(
        "class P:\n    def __dir__(self):\n        return ['a']\ndef run(x):\n    return dir(P())\n", "['a']", "['b']"
    ),
    "size of an object": edit(
        "class P:\n    def __sizeof__(self):\n        return 100\ndef run(x):\n    return P().__sizeof__()\n", "100", "200"
    ),
    "length hint": edit(
        "import operator\nclass P:\n    def __length_hint__(self):\n        return 3\ndef run(x):\n    return operator.length_hint(P())\n",
        "return 3",
        "return 4",
    ),
    "missing item of a mapping": edit(
        "class M(dict):\n    def __missing__(self, key):\n        return key * 2\ndef run(x):\n    return '{a}{b}'.format_map(M(a='1'))\n",
        "* 2",
        "* 3",
    ),
    "buffer or bytes of an object": edit(
        "class P:\n    def __bytes__(self):\n        return b'1'\ndef run(x):\n    return bytes(P())\n", "b'1'", "b'2'"
    ),
    "path of an object": edit(
        "import os\nclass P:\n    def __fspath__(self):\n        return 'a/b'\ndef run(x):\n    return os.path.basename(P())\n",
        "a/b",
        "a/c",
    ),
    "rounding of an object": edit(
        "import math\nclass P:\n    def __ceil__(self):\n        return 1\n    def __round__(self, n=0):\n        return 5\ndef run(x):\n    return math.ceil(P()), round(P())\n",
        "return 1",
        "return 2",
    ),
    "reflected operation of a subclass": edit(
        "class A:\n    def __add__(self, other):\n        return 'A'\nclass B(A):\n    pass\ndef run(x):\n    return A() + B()\n",
        "class B(A):\n    pass",
        "class B(A):\n    def __radd__(self, other):\n        return 'B'",
    ),
    "operation in place": edit(
        "class A:\n    n = 1\n    def __iadd__(self, other):\n        self.n += other\n        return self\ndef run(x):\n    a = A()\n    a += x\n    return a.n\n",
        "+= other\n        return",
        "-= other\n        return",
    ),
    "not implemented operation": edit(
        "class A:\n    def __eq__(self, other):\n        return NotImplemented\ndef run(x):\n    return A() == 1\n",
        "NotImplemented",
        "True",
    ),
    "keyword of a base's init_subclass through a metaclass": edit(
        "class M(type):\n    def __new__(meta, name, bases, space, rate=1):\n        made = super().__new__(meta, name, bases, space)\n        made.rate = rate\n        return made\nclass A(metaclass=M, rate=2):\n    pass\ndef run(x):\n    return A.rate\n",
        "rate=2",
        "rate=3",
    ),
    "metaclass's call that keeps one": edit(
        "class M(type):\n    def __call__(cls, *args):\n        return [super().__call__(*args).v, 1]\nclass A(metaclass=M):\n    v = 0\ndef run(x):\n    return A()\n",
        ", 1]",
        ", 2]",
    ),
    "metaclass's getattr": edit(
        "class M(type):\n    def __getattr__(cls, name):\n        return name + '1'\nclass A(metaclass=M):\n    pass\ndef run(x):\n    return A.anything\n",
        "'1'",
        "'2'",
    ),
    "metaclass's iteration": edit(
        "class M(type):\n    def __iter__(cls):\n        return iter([1])\nclass A(metaclass=M):\n    pass\ndef run(x):\n    return list(A)\n",
        "[1]",
        "[2]",
    ),
    "metaclass's union": edit(
        "class M(type):\n    def __or__(cls, other):\n        return 'or'\nclass A(metaclass=M):\n    pass\ndef run(x):\n    return A | int\n",
        "'or'",
        "'and'",
    ),
    "entries of bases": edit(
        "class F:\n    def __mro_entries__(self, bases):\n        return (Real,)\nclass Real:\n    v = 1\nclass Other:\n    v = 2\nclass A(F()):\n    pass\ndef run(x):\n    return A.v\n",
        "(Real,)",
        "(Other,)",
    ),
    "class cell of super in a nested function": edit(
        "class B:\n    def v(self):\n        return 1\nclass A(B):\n    def v(self):\n        return [super(A, self).v() for _ in range(2)]\ndef run(x):\n    return A().v()\n",
        "return 1",
        "return 2",
    ),
    "class attribute through a base of a library": edit(
        "import collections\nclass D(collections.UserDict):\n    factor = 2\n    def __getitem__(self, key):\n        return super().__getitem__(key) * self.factor\ndef run(x):\n    return D(a=1)['a']\n",
        "factor = 2",
        "factor = 3",
    ),
    "encoder of a subclass of the library's": edit(
        "import json\nclass E(json.JSONEncoder):\n    item_separator = ';'\n    def default(self, value):\n        return 'other'\ndef run(x):\n    return json.dumps([1, {2}], cls=E)\n",
        "';'",
        "'|'",
    ),
    "visitor found by its method's name": edit(
        "import ast\nclass V(ast.NodeVisitor):\n    def __init__(self):\n        self.found = []\n    def visit_Name(self, node):\n        self.found.append(node.id)\ndef run(x):\n    v = V()\n    v.visit(ast.parse('a + b.c'))\n    return v.found\n",
        "node.id)",
        "node.id * 2)",
    ),
    "hook of a library's parser": edit(
        "import html.parser\nclass P(html.parser.HTMLParser):\n    def handle_starttag(self, tag, attrs):\n        self.found = tag + '1'\ndef run(x):\n    p = P()\n    p.feed('<b>')\n    return p.found\n",
        "'1'",
        "'2'",
    ),
    # --- records and enums ---
    "metadata of a field": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass R:\n    a: int = dataclasses.field(default=1, metadata={'unit': 'm'})\ndef run(x):\n    return dict(dataclasses.fields(R)[0].metadata)\n",
        "'m'",
        "'km'",
    ),
    "factory of a field that is a lambda": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass R:\n    a: list = dataclasses.field(default_factory=lambda: [1, START])\nSTART = 5\ndef run(x):\n    return R().a\n",
        "START = 5",
        "START = 6",
    ),
    "record's order": edit(
        _RECORD % ("(order=True)", "    try:\n        return R(1) < R(2)\n    except TypeError:\n        return 'none'\n"),
        "order=True",
        "eq=True",
    ),
    "frozen record": edit(
        _RECORD
        % (
            "(frozen=False)",
            "    r = R()\n    try:\n        r.a = 5\n    except AttributeError:\n        return 'frozen'\n    return r.a\n",
        ),
        "frozen=False",
        "frozen=True",
    ),
    "record without a repr": edit(_RECORD % ("(repr=True)", "    return 'R(' in repr(R())\n"), "repr=True", "repr=False"),
    "record with slots": edit(_RECORD % ("(slots=False)", "    return hasattr(R(), '__dict__')\n"), "slots=False", "slots=True"),
    "record that matches": edit(
        _RECORD
        % (
            "(match_args=True)",
            "    try:\n        match R():\n            case R(a, b):\n                return a, b\n    except TypeError:\n        return 'no'\n",
        ),
        "match_args=True",
        "match_args=False",
    ),
    "keyword-only record": edit(
        _RECORD % ("(kw_only=False)", "    try:\n        return R(7).a\n    except TypeError:\n        return 'no'\n"),
        "kw_only=False",
        "kw_only=True",
    ),
    "value of init only": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass R:\n    a: int = 0\n    n: dataclasses.InitVar[int] = 2\n    def __post_init__(self, n):\n        self.a = n\ndef run(x):\n    return R().a\n",
        "[int] = 2",
        "[int] = 3",
    ),
    "record made of names": edit(
        "import dataclasses\nR = dataclasses.make_dataclass('R', [('a', int, 1)])\ndef run(x):\n    return R().a\n", "int, 1", "int, 2"
    ),
    "member that is missing": edit(
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\n    @classmethod\n    def _missing_(cls, value):\n        return cls.A\ndef run(x):\n    return E(x).name\n",
        "return cls.A",
        "return cls.B",
    ),
    "kind of text enum": edit(
        "import enum\nclass E(enum.StrEnum):\n    A = 'a'\ndef run(x):\n    return f'{E.A}', str(E.A)\n",
        "(enum.StrEnum)",
        "(str, enum.Enum)",
    ),
    "automatic member's start": edit(_ENUM % ("enum.Enum", "1", "", "E.B.value"), "A = 1", "A = 5"),
    "ignored names of an enum": edit(
        "import enum\nclass E(enum.Enum):\n    _ignore_ = ['spare']\n    A = 1\n    spare = 2\ndef run(x):\n    return [m.name for m in E]\n",
        "['spare']",
        "[]",
    ),
    "enum by a call": edit("import enum\nE = enum.Enum('E', 'A B')\ndef run(x):\n    return [m.name for m in E]\n", "'A B'", "'A C'"),
    "member that is none": edit(
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = (lambda self: 3)\n    def C(self):\n        return 4\ndef run(x):\n    return E.A.C(), E.A.B()\n",
        "self: 3",
        "self: 5",
    ),
    "flag's combination as a constant": edit(
        "import enum\nclass F(enum.Flag):\n    A = 1\n    B = 2\n    C = 4\nBOTH = F.A | F.B\ndef run(x):\n    return F.C in BOTH, BOTH.value\n",
        "F.A | F.B",
        "F.A | F.C",
    ),
    "format of an enum": edit(
        "import enum\nclass E(enum.Enum):\n    A = 1\n    def __format__(self, spec):\n        return 'one' + spec\ndef run(x):\n    return f'{E.A:!}'\n",
        "'one'",
        "'two'",
    ),
    # --- functions ---
    "implementation registered by another module for its own class": edit(
        "import show, kinds\ndef run(x):\n    return show.show(kinds.Kind())\n",
        "'kind'",
        "'KIND'",
        {
            "show.py": "import functools\n@functools.singledispatch\ndef show(x):\n    return 'any'\n",
            "kinds.py": "import show\nclass Kind:\n    pass\n@show.show.register(Kind)\ndef _(x):\n    return 'kind'\n",
        },
        "kinds.py",
    ),
    "default of a helper's context variable": edit(
        "import helper\ndef run(x):\n    return helper.get()\n",
        "default=1",
        "default=2",
        {"helper.py": "import contextvars\nV = contextvars.ContextVar('v', default=1)\ndef get():\n    return V.get()\n"},
        "helper.py",
    ),
    "context that is copied": edit(
        "import contextvars\nV = contextvars.ContextVar('v', default=1)\nC = contextvars.copy_context()\nC.run(V.set, 2)\ndef run(x):\n    return C.run(V.get)\n",
        "V.set, 2",
        "V.set, 3",
    ),
    "coroutine in a gathering": edit(
        "import asyncio\nasync def one(x):\n    return x + 1\nasync def both(x):\n    return await asyncio.gather(one(x), one(x))\ndef run(x):\n    return asyncio.run(both(x))\n",
        "x + 1",
        "x + 2",
    ),
    "asynchronous generator in a comprehension": edit(
        "import asyncio\nasync def rows(n):\n    for i in range(n):\n        yield i * 2\nasync def all_(n):\n    return [i async for i in rows(n) if i > 1]\ndef run(x):\n    return asyncio.run(all_(x))\n",
        "i * 2",
        "i * 4",
    ),
    "asynchronous context": edit(
        "import asyncio\nclass C:\n    async def __aenter__(self):\n        return 1\n    async def __aexit__(self, *error):\n        return False\nasync def go():\n    async with C() as value:\n        return value\ndef run(x):\n    return asyncio.run(go())\n",
        "return 1",
        "return 2",
    ),
    "awaitable object": edit(
        "import asyncio\nclass A:\n    def __await__(self):\n        yield from ()\n        return 1\nasync def go():\n    return await A()\ndef run(x):\n    return asyncio.run(go())\n",
        "return 1\n",
        "return 2\n",
    ),
    "generator's last value": edit(
        "def inner():\n    yield 1\n    return 5\ndef outer():\n    last = yield from inner()\n    yield last\ndef run(x):\n    return list(outer())\n",
        "return 5",
        "return 6",
    ),
    "generator that is closed": edit(
        "LOG = 'a'\ndef rows(log):\n    try:\n        yield 1\n    finally:\n        log.append(LOG)\ndef run(x):\n    log = []\n    made = rows(log)\n    next(made)\n    made.close()\n    return log\n",
        "LOG = 'a'",
        "LOG = 'b'",
    ),
    "positional-only marker": edit(
        "def h(a, b=1):\n    return a, b\ndef run(x):\n    try:\n        return h(a=x)\n    except TypeError:\n        return 'no'\n",
        "(a, b=1)",
        "(a, /, b=1)",
    ),
    "order of parameters": edit("def h(a, b):\n    return a - b\ndef run(x):\n    return h(x, 1)\n", "(a, b)", "(b, a)"),
    "star before parameters": edit(
        "def h(*rest, k=0):\n    return rest, k\ndef run(x):\n    return h(x, 1)\n", "(*rest, k=0)", "(k=0, *rest)"
    ),
    "keywords merged in another order": edit("A, B = {'k': 1}, {'k': 2}\ndef run(x):\n    return {**A, **B}\n", "{**A, **B}", "{**B, **A}"),
    "order of arguments with effects": edit(
        "def run(x):\n    it = iter([1, 2])\n    return dict(a=next(it), b=next(it))\n", "a=next(it), b=next(it)", "b=next(it), a=next(it)"
    ),
    "mutable default shared by calls": edit(
        "def h(item, seen=[0]):\n    return seen + [item]\ndef run(x):\n    return h(x)\n", "seen=[0]", "seen=[1]"
    ),
    "default taken from another function's attribute": edit(
        "def a():\n    pass\na.rate = 2\ndef h(x, rate=a.rate):\n    return x * rate\ndef run(x):\n    return h(x)\n",
        "a.rate = 2",
        "a.rate = 3",
    ),
    "decorator that is a lambda": edit(
        "@lambda f: lambda x: f(x) + 1\ndef h(x):\n    return x\ndef run(x):\n    return h(x)\n", "f(x) + 1", "f(x) + 2"
    ),
    "decorator found in a table": edit(
        "T = {'a': lambda f: lambda x: f(x) * 2, 'b': lambda f: lambda x: f(x) * 3}\n@T['a']\ndef h(x):\n    return x\ndef run(x):\n    return h(x)\n",
        "@T['a']",
        "@T['b']",
    ),
    "closure over a loop's last value": edit(
        "def make(ks):\n    out = []\n    for k in ks:\n        def f(x):\n            return x * k\n        out.append(f)\n    return out\nFS = make([1, 2])\ndef run(x):\n    return [f(x) for f in FS]\n",
        "[1, 2]",
        "[1, 3]",
    ),
    "cell of a cell": edit(
        "def a(k):\n    def b():\n        def c(x):\n            return x + k\n        return c\n    return b()\nC = a(1)\ndef run(x):\n    return C(x)\n",
        "a(1)",
        "a(2)",
    ),
    "lambda in a nested argument": Case(
        steps="def two(v):\n    return v * 2\ndef three(v):\n    return v * 3\ndef run(p):\n    return p['steps'][0]['f'](1)\n",
        args="{'steps': [{'f': lambda v: two(v)}]}",
        new_args="{'steps': [{'f': lambda v: three(v)}]}",
    ),
    "lambda argument's global": edit("K = 1\nF = {'f': lambda v: v + K}\ndef run(p):\n    return p['f'](1)\n", "K = 1", "K = 2", args="F"),
    "notebook's later definition": edit(
        "def clean(v):\n    return v + 1\ndef use(v):\n    return clean(v)\ndef run(x):\n    return use(x)\n",
        "def run",
        "def clean(v):\n    return v + 2\ndef run",
    ),
    "cached function's parameters": edit(
        "import functools\nclass A:\n    @functools.lru_cache(maxsize=1)\n    def go(self):\n        return 1\ndef run(x):\n    return A.go.cache_parameters()['maxsize']\n",
        "maxsize=1",
        "maxsize=2",
    ),
    "typed cache": edit(
        "import functools\n@functools.lru_cache(typed=False)\ndef h(v, w):\n    return str(v)\ndef run(x):\n    return h(1, 0), h(1.0, 0)\n",
        "typed=False",
        "typed=True",
    ),
    "comparison made a key": edit(
        "import functools\ndef by(a, b):\n    return a - b\ndef run(x):\n    return sorted([2, 1], key=functools.cmp_to_key(by))\n",
        "a - b",
        "b - a",
    ),
    "callback of a weak reference": edit(
        "import weakref\nclass A:\n    pass\ndef gone(log):\n    log.append(1)\ndef run(x):\n    a, log = A(), []\n    weakref.finalize(a, gone, log)\n    del a\n    return log\n",
        "append(1)",
        "append(2)",
    ),
    "weak reference's function": edit(
        "import weakref\nclass A:\n    pass\ndef run(x):\n    a, log = A(), []\n    r = weakref.ref(a, lambda _: log.append(MARK))\n    del a\n    return log\nMARK = 1\n",
        "MARK = 1",
        "MARK = 2",
    ),
    "thread that reads a global": edit(
        "import threading\nK = [1]\ndef work(out):\n    out.append(K[0])\ndef run(x):\n    out = []\n    t = threading.Thread(target=work, args=(out,))\n    t.start()\n    t.join()\n    return out\n",
        "K = [1]",
        "K = [2]",
    ),
    "timer's function": edit(
        "import threading\nclass T(threading.Thread):\n    def run(self):\n        self.got = K\nK = 1\ndef run(x):\n    t = T()\n    t.start()\n    t.join()\n    return t.got\n",
        "K = 1",
        "K = 2",
    ),
    # --- literals ---
    "True for 1 in a nested tuple": edit(_ALIAS % "((1, (2, 1)), x)", "(2, 1)", "(2, True)"),
    "float for int in a set of constants": edit(_ALIAS % "[type(v).__name__ for v in (1, 2)], x", "(1, 2)", "(1, 2.0)"),
    "0j for -0j": edit("ZERO = complex(0.0, 0.0)\ndef run(x):\n    return repr(ZERO)\n", "complex(0.0, 0.0)", "complex(0.0, -0.0)"),
    "NaN for infinity": edit("V = float('nan')\ndef run(x):\n    return repr(V)\n", "'nan'", "'inf'"),
    "greater than any float": edit(_ALIAS % "1e308 * x", "1e308", "1e309", args="1"),
    "bytes for text in a nested list": edit(_ALIAS % "[['a'], x]", "['a']", "[b'a']"),
    "list for tuple in the body": edit(_ALIAS % "(1, x)", "(1, x)", "[1, x]"),
    "frozenset of a test": edit(_ALIAS % "x in {1, 2, 3}", "{1, 2, 3}", "{1, 2, 4}"),
    "composed letter": edit(_ALIAS % "len('é')", "'é'", "'e\u0301'"),
    "no-break space": edit(_ALIAS % "'a b'.split(' ')", "'a b'", "'a\u00a0b'"),
    "space at the end of a line of text": edit("def run(x):\n    return '''a\nb'''\n", "'''a\n", "'''a \n"),
    "tab in text": edit("def run(x):\n    return 'a b'\n", "a b", "a\tb"),
    "indentation of a text": edit("def run(x):\n    return '''a\n  b'''\n", "  b", "   b"),
    "comment sign in text": edit(_ALIAS % "'a # b'", "# b", "# c"),
    "bytes escaped": edit(_ALIAS % r"b'\x00\x01'", r"\x01", r"\x02"),
    "raw prefix that acts": edit(_ALIAS % r"len('\n')", r"'\n'", r"r'\n'"),
    "octal number": edit(_ALIAS % "0o17", "0o17", "17"),
    "nested format": edit("def run(x):\n    w = 5\n    return f'{x:>{w}}'\n", "{x:>{w}}", "{x:<{w}}"),
    "braces of an f-string": edit("def run(x):\n    return f'{{x}}'\n", "{{x}}", "{x}"),
    "signs of a format": edit("SPEC = '{:.2f}'\ndef run(x):\n    return SPEC.format(x)\n", ".2f", ".3f"),
    "format that takes an attribute": edit(
        "class C:\n    rate = 1\n    other = 2\nT = '{0.rate}'\ndef run(x):\n    return T.format(C)\n", "{0.rate}", "{0.other}"
    ),
    "attribute that a format takes": edit(
        "import helper\nT = '{0.K}'\ndef run(x):\n    return T.format(helper)\n", "K = 1", "K = 2", _TWO, "helper.py"
    ),
    "names that format takes of the module": edit("K = 1\ndef run(x):\n    return '{K}'.format_map(globals())\n", "K = 1", "K = 2"),
    "great table": edit(f"T = {list(range(20_000))!r}\ndef run(x):\n    return T[12345]\n", "12345,", "12344,"),
    "end of a long text": edit(f"T = {'a' * 100_000!r}\ndef run(x):\n    return T[-1]\n", "a'", "b'"),
    "precedence of not": edit(_ALIAS % "not x == 4, x", "not x == 4", "(not x) == 4"),
    "power and sign": edit(_ALIAS % "-x ** 2", "-x ** 2", "(-x) ** 2"),
    "or for any": edit("def run(x):\n    return 0 or x\n", "0 or x", "0 and x"),
    "is for equality": edit("def run(x):\n    return [1, 2] == [1, 2]\n", "==", "is"),
    "chained assignment": edit("def run(x):\n    a = b = []\n    a.append(x)\n    return b\n", "a = b = []", "a, b = [], []"),
    "exception's cause left out": edit(
        "def run(x):\n    try:\n        try:\n            1 / 0\n        except ZeroDivisionError as e:\n            raise ValueError from e\n    except ValueError as e:\n        return type(e.__cause__).__name__\n",
        "from e\n",
        "from None\n",
    ),
    "return in a finally": edit(
        "def run(x):\n    for i in range(3):\n        try:\n            continue\n        finally:\n            x += 1\n    return x\n",
        "continue",
        "break",
    ),
    "else of a try": edit(
        "def run(x):\n    try:\n        y = 1\n    except ValueError:\n        y = 2\n    else:\n        y = 3\n    return y\n",
        "y = 3",
        "y = 4",
    ),
    "global made local": edit("K = [1]\ndef h():\n    global K\n    K = [2]\ndef run(x):\n    h()\n    return K\n", "    global K\n", ""),
    "nonlocal left out": edit(
        "def run(x):\n    n = 0\n    def up():\n        nonlocal n\n        n = 1\n    up()\n    return n\n", "        nonlocal n\n", ""
    ),
    "walrus's scope": edit(
        "def run(x):\n    y = 0\n    [y for y in range(x)]\n    return y\n", "[y for y in range(x)]", "[y := v for v in range(x)]"
    ),
    "deleted name": edit(
        "K = 1\ndef run(x):\n    try:\n        return K\n    except NameError:\n        return 'gone'\n", "def run", "del K\ndef run"
    ),
    "private name of a class": edit(
        "class A:\n    _A__v = 1\n    def go(self):\n        return self.__v\n    __v = 2\ndef run(x):\n    return A().go()\n",
        "    __v = 2\n",
        "",
    ),
    # --- names: imports and modules ---
    "what a star brings": edit(
        "K = 0\nfrom helper import *\ndef run(x):\n    return K\n", "K = 1", "__all__ = ['go']\nK = 1", _TWO, "helper.py"
    ),
    "circular imports": edit(
        "import one\ndef run(x):\n    return one.go(x)\n",
        "x + 1",
        "x + 2",
        {
            "one.py": "import two\ndef go(x):\n    return two.go(x)\ndef add(x):\n    return x + 1\n",
            "two.py": "import one\ndef go(x):\n    return one.add(x)\n",
        },
        "one.py",
    ),
    "relative import of two dots": edit(
        "from kit.deep.use import go\ndef run(x):\n    return go(x)\n",
        "RATE = 1",
        "RATE = 2",
        {
            "kit/__init__.py": "",
            "kit/const.py": "RATE = 1\n",
            "kit/deep/__init__.py": "",
            "kit/deep/use.py": "from ..const import RATE\ndef go(x):\n    return x * RATE\n",
        },
        "kit/const.py",
    ),
    "module of a namespace package": edit(
        "import space.part\ndef run(x):\n    return space.part.go(x)\n",
        "x + 1",
        "x + 2",
        {"space/part.py": "def go(x):\n    return x + 1\n"},
        "space/part.py",
    ),
    "namespace that gets an init": edit(
        "import space.part\ndef run(x):\n    return getattr(space, 'K', 0)\n",
        more={"space/part.py": ""},
        added={"space/__init__.py": "K = 1\n"},
    ),
    "package's module that appears for a fallback": edit(
        "def run(x):\n    try:\n        from kit import fast as impl\n    except ImportError:\n        from kit import slow as impl\n    return impl.NAME\n",
        more={"kit/__init__.py": "", "kit/slow.py": "NAME = 'slow'\n"},
        added={"kit/fast.py": "NAME = 'fast'\n"},
    ),
    "module that appears for a fallback at import": edit(
        "try:\n    import fast as impl\nexcept ImportError:\n    import slow as impl\ndef run(x):\n    return impl.NAME\n",
        more={"slow.py": "NAME = 'slow'\n"},
        added={"fast.py": "NAME = 'fast'\n"},
    ),
    "module that is looked for": edit(_LAZY, added={"spare.py": ""}),
    "module that is looked for under another name": edit(
        "from importlib.util import find_spec as has\ndef run(x):\n    return has('spare') is not None\n", added={"spare.py": ""}
    ),
    "submodule that is looked for": edit(_LAZY.replace("'spare'", "'kit.spare'"), more={"kit/__init__.py": ""}, added={"kit/spare.py": ""}),
    "module that is looked for by a computed name": edit(_LAZY.replace("'spare'", "'sp' + 'are'"), added={"spare.py": ""}),
    "place of a module that is looked for": edit(
        "import importlib.util\ndef run(x):\n    return importlib.util.find_spec('spare').submodule_search_locations is None\n",
        more={"spare.py": ""},
        added={"spare/__init__.py": ""},
        gone=("spare.py",),
    ),
    "constant of a module by importlib's own import": edit(
        "import importlib\ndef run(x):\n    return importlib.__import__('helper').K\n", "K = 1", "K = 2", _TWO, "helper.py"
    ),
    "constant of a module of a function": edit(
        "import inspect\nfrom helper import go\ndef run(x):\n    return inspect.getmodule(go).K\n", "K = 1", "K = 2", _TWO, "helper.py"
    ),
    "constant by a loader": edit(
        "import importlib.util\ndef run(x):\n    spec = importlib.util.find_spec('helper')\n    module = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n    return module.K\n",
        "K = 1",
        "K = 2",
        _TWO,
        "helper.py",
    ),
    "source by a loader": edit(
        "import helper\ndef run(x):\n    return helper.__loader__.get_source('helper')\n", "K = 1", "K = 2", _TWO, "helper.py"
    ),
    "source by a loader that is found": edit(
        "import importlib.util\ndef run(x):\n    return importlib.util.find_spec('helper').loader.get_source('helper')\n",
        "K = 1",
        "K = 2",
        _TWO,
        "helper.py",
    ),
    "module by a name in a format": edit(
        "import importlib\ndef run(x, kind='a'):\n    return getattr(importlib.import_module(f'plug_{kind}'), 'K')\n",
        "K = 1",
        "K = 2",
        {"plug_a.py": "K = 1\n"},
        "plug_a.py",
    ),
    "lazy module of a package": edit(
        "import kit\ndef run(x):\n    return kit.part.K\n",
        "K = 1",
        "K = 2",
        {
            "kit/__init__.py": "def __getattr__(name):\n    if name == 'part':\n        from kit import _part\n        return _part\n    raise AttributeError(name)\n",
            "kit/_part.py": "K = 1\n",
        },
        "kit/_part.py",
    ),
    "version check of the interpreter": edit(
        "import sys\nif sys.version_info >= (3, 0):\n    K = 1\nelse:\n    K = 2\ndef run(x):\n    return K\n", "(3, 0)", "(9, 0)"
    ),
    "type checking that is reversed": edit(
        "import typing\nif not typing.TYPE_CHECKING:\n    K = 1\nelse:\n    K = 2\ndef run(x):\n    return K\n",
        "not typing.TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    ),
    "module made by hand": edit(
        "import sys, types\nm = types.ModuleType('made')\nm.K = 1\nsys.modules['made'] = m\ndef run(x):\n    import made\n    return made.K\n",
        "m.K = 1",
        "m.K = 2",
    ),
    "functions executed at import": edit(
        "with open('defs.txt') as f:\n    exec(f.read())\ndel f\ndef run(x):\n    return go(x)\n",
        "x + 1",
        "x + 2",
        {"defs.txt": "def go(x):\n    return x + 1\n"},
        "defs.txt",
    ),
    "module of an importer": edit(
        "import sys, importlib.abc, importlib.util\nclass F(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n    def find_spec(self, name, path, target=None):\n        return importlib.util.spec_from_loader(name, self) if name == 'virtual' else None\n    def exec_module(self, module):\n        with open('virtual.txt') as f:\n            exec(f.read(), vars(module))\nsys.meta_path.insert(0, F())\nimport virtual\ndef run(x):\n    return virtual.go(x)\n",
        "x + 1",
        "x + 2",
        {"virtual.txt": "def go(x):\n    return x + 1\n"},
        "virtual.txt",
    ),
    "module without source": edit(
        "import bare\ndef run(x):\n    return bare.go(x)\n",
        "x + 1",
        "x + 2",
        {"src/bare.py": "def go(x):\n    return x + 1\n"},
        "src/bare.py",
        prepare="import py_compile\npy_compile.compile('src/bare.py', 'bare.pyc', doraise=True)",
    ),
    # --- what code says of itself ---
    "annotations that are postponed": edit(
        "def h(a: int):\n    return a\ndef run(x):\n    return str(h.__annotations__)\n",
        "def h",
        "from __future__ import annotations\ndef h",
    ),
    "signature's annotations that are postponed": edit(
        "import inspect\ndef h(a: int):\n    return a\ndef run(x):\n    return str(inspect.signature(h))\n",
        "import inspect\n",
        "from __future__ import annotations\nimport inspect\n",
    ),
    "annotations of a module": edit("import typing\nK: int = 1\ndef run(x):\n    return str(__annotations__)\n", "K: int", "K: float"),
    "annotations of a helper's module": edit(
        "import helper, typing\ndef run(x):\n    return str(typing.get_type_hints(helper))\n",
        "V: int",
        "V: float",
        {"helper.py": "V: int = 1\n"},
        "helper.py",
    ),
    "hints under another name": edit(
        "from typing import get_type_hints as hints\ndef h(a: int):\n    return a\ndef run(x):\n    return str(hints(h))\n",
        "a: int",
        "a: float",
    ),
    "docstring under another name": edit(
        "from inspect import getdoc as about\ndef h():\n    'one'\ndef run(x):\n    return about(h)\n", "'one'", "'two'"
    ),
    "source under another name": edit(
        "from inspect import getsource as text\ndef h():\n    return 1  # one\ndef run(x):\n    return text(h)\n", "# one", "# two"
    ),
    "docstring by pydoc": edit(
        "import pydoc\ndef h():\n    'one'\ndef run(x):\n    return pydoc.plain(pydoc.render_doc(h))\n", "'one'", "'two'"
    ),
    "docstring by help": edit(
        "import contextlib, io\ndef h():\n    'one'\ndef run(x):\n    out = io.StringIO()\n    with contextlib.redirect_stdout(out):\n        help(h)\n    return out.getvalue()\n",
        "'one'",
        "'two'",
    ),
    "docstring by a computed name": edit(
        "def h():\n    'one'\ndef run(x):\n    return getattr(h, '__' + 'doc' + '__')\n", "'one'", "'two'"
    ),
    "docstring of a property": edit(
        "class A:\n    @property\n    def v(self):\n        'one'\ndef run(x):\n    return A.v.__doc__\n", "'one'", "'two'"
    ),
    "description of a program": edit(
        "'''one'''\nimport argparse\ndef run(x):\n    return argparse.ArgumentParser(prog='p', description=__doc__).format_help()\n",
        "one",
        "two",
    ),
    "docstring by a test": edit(
        "import doctest\ndef h():\n    '''>>> 1\n    1\n    '''\ndef run(x):\n    return len(doctest.DocTestParser().get_examples(h.__doc__))\n",
        "    1\n",
        "    1\n    >>> 2\n    2\n",
    ),
    "line of a traceback": edit(_LINES % ("traceback", "traceback.format_exc()"), "\n\ndef deep", "\n\n\ndef deep"),
    "text of a traceback": edit(_LINES % ("traceback", "traceback.format_exc()"), "ValueError('a')", "ValueError('a')  # why"),
    "lines of a traceback under another name": edit(
        _LINES.replace("import %s", "from traceback import %s as told") % ("format_exception", "''.join(told(error))"),
        "\n\ndef deep",
        "\n\n\ndef deep",
    ),
    "line of a warning": edit(
        "import warnings\n\ndef run(x):\n    with warnings.catch_warnings(record=True) as found:\n        warnings.simplefilter('always')\n        warnings.warn('a')\n    return found[0].lineno\n",
        "\n\ndef run",
        "\n\n\ndef run",
    ),
    "line of a log's record": edit(
        "import logging, io\n\ndef run(x):\n    out = io.StringIO()\n    log = logging.getLogger('a')\n    log.propagate = False\n    handler = logging.StreamHandler(out)\n    handler.setFormatter(logging.Formatter('%(lineno)d %(message)s'))\n    log.addHandler(handler)\n    log.warning('a')\n    return out.getvalue()\n",
        "\n\ndef run",
        "\n\n\ndef run",
    ),
    "caller by the stack": edit("import inspect\n\ndef run(x):\n    return inspect.stack()[0].lineno\n", "\n\ndef run", "\n\n\ndef run"),
    "parameters by the code": edit(
        "def h(alpha, beta):\n    return 1\ndef run(x):\n    return h.__code__.co_argcount\n", "(alpha, beta)", "(alpha)"
    ),
    "name that a repr tells": edit(
        "class A:\n    pass\nB = A\ndef run(x):\n    return B.__qualname__\n", "class A:\n    pass\nB = A", "class C:\n    pass\nB = C"
    ),
    "fields of a named tuple by its class": edit(
        "import typing\nclass P(typing.NamedTuple):\n    a: int\n    b: int = 1\ndef run(x):\n    return P._field_defaults\n",
        "b: int = 1",
        "b: int = 2",
    ),
    "arguments that a type has": edit(
        "import typing\nT = dict[str, list[int]]\ndef run(x):\n    return str(typing.get_args(T)[1])\n", "list[int]", "list[str]"
    ),
}
