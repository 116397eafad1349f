# ruff: noqa: E501
"""Edits of classes and of objects that alter what a step computes."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_MIXINS = "class A:\n    def go(self):\n        return 'a'\nclass B:\n    def go(self):\n        return 'b'\nclass C(A, B):\n    pass\ndef run(x):\n    return C().go()\n"
_META = """
class Ordered(type):
    @classmethod
    def __prepare__(mcs, name, bases):
        return {'made': 'by prepare'}
    def __new__(mcs, name, bases, space):
        space['count'] = len(space)
        return super().__new__(mcs, name, bases, space)
    def __getitem__(cls, item):
        return item * 2
    @property
    def label(cls):
        return 'label'
class Thing(metaclass=Ordered):
    pass
def run(x):
    return Thing.made, Thing[x], Thing.label, Thing.count
"""
_VECTOR = """
class V:
    def __init__(self, x):
        self.x = x
    def __add__(self, other):
        return V(self.x + other.x)
    def __radd__(self, other):
        return V(self.x + other)
    def __eq__(self, other):
        return self.x == other.x
    def __hash__(self):
        return 1
    def __lt__(self, other):
        return self.x < other.x
    def __len__(self):
        return 7
    def __bool__(self):
        return True
    def __contains__(self, item):
        return item == 1
    def __iter__(self):
        return iter([1, 2])
    def __getitem__(self, item):
        return item
    def __call__(self, y):
        return self.x * y
    def __format__(self, spec):
        return 'V' + spec
    def __index__(self):
        return 2
    def __matmul__(self, other):
        return 'mat'
def run(x):
    a, b = V(1), V(2)
    return (a + b).x, sum([a, b], 0).x, a == b, len({a, b}), max(a, b).x, len(a), bool(a), 1 in a, list(a), a[5], a(3), f'{a:q}', [0, 1, 2][a], a @ b
"""
_DESCRIPTOR = """
class Field:
    def __init__(self, factor):
        self.factor = factor
    def __set_name__(self, owner, name):
        self.name = name + '!'
    def __get__(self, instance, owner):
        return self.factor, self.name
class Row:
    size = Field(3)
def run(x):
    return Row().size
"""
_MISSING = (
    "class D(dict):\n    def __missing__(self, key):\n        return key + '?'\nT = D(a='x')\ndef run(x):\n    return T['a'], T['b']\n"
)
_GETATTR = "class A:\n    def __getattr__(self, name):\n        return name + '!'\n    def __getattribute__(self, name):\n        if name == 'own':\n            return 'own'\n        return super().__getattribute__(name)\ndef run(x):\n    return A().anything, A().own\n"
_ORDERING = "import functools\n@functools.total_ordering\nclass R:\n    def __init__(self, n):\n        self.n = n\n    def __eq__(self, o):\n        return self.n == o.n\n    def __lt__(self, o):\n        return self.n < o.n\ndef run(x):\n    return R(1) >= R(2), max([R(1), R(3)]).n\n"
_ABSTRACT = "import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def go(self):\n        return 1\n    def both(self):\n        return self.go() + 1\nclass One(Base):\n    def go(self):\n        return super().go() + 5\nclass Other:\n    pass\nclass Third:\n    pass\nBase.register(Other)\ndef run(x):\n    return One().both(), isinstance(Other(), Base), isinstance(Third(), Base)\n"
_PROTOCOL = "from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass P(Protocol):\n    def go(self):\n        return 'default'\nclass A(P):\n    pass\nclass B:\n    def go(self):\n        return 1\ndef run(x):\n    return A().go(), isinstance(B(), P)\n"
_SUBCLASS = "class Base:\n    names = []\n    def __init_subclass__(cls, tag='', **k):\n        super().__init_subclass__(**k)\n        Base.names.append((cls.__name__, tag))\nclass A(Base, tag='a'):\n    pass\ndef run(x):\n    return Base.names\n"
_GENERIC = "from typing import Generic, TypeVar, get_args\nT = TypeVar('T')\nclass Parser(Generic[T]):\n    def parse(self, text):\n        return get_args(type(self).__orig_bases__[0])[0](text)\nclass Own(Parser[int]):\n    pass\ndef run(x):\n    return Own().parse('3')\n"
_ITEM = "class Box:\n    def __class_getitem__(cls, item):\n        return item * 2\ndef run(x):\n    return Box[x]\n"
_NAMED = "from typing import NamedTuple\nfrom collections import namedtuple\nclass P(NamedTuple):\n    a: int = 1\n    b: int = 2\n    def total(self):\n        return self.a + self.b\nQ = namedtuple('Q', 'u v', defaults=[3])\ndef run(x):\n    return tuple(P()), P().total(), tuple(Q(x)), Q._fields\n"
_SLOTS = "class S:\n    __slots__ = ('a', 'b')\n    def __init__(self):\n        self.a = 1\n        self.b = 2\n    def total(self):\n        return self.a + self.b\nS1 = S()\nS1.b = 5\ndef run(x):\n    return S1.total()\n"
_REDUCED = "class Settings:\n    def __init__(self):\n        self.rate = 1\n    def __reduce__(self):\n        return 'SETTINGS'\nSETTINGS = Settings()\nSETTINGS.rate = 4\ndef run(x):\n    return SETTINGS.rate\n"
_STATE = "class Model:\n    def __init__(self, w):\n        self.w = w\n        self.cache = 3\n    def __getstate__(self):\n        return {'w': self.w}\nM = Model(2)\ndef run(x):\n    return M.w * M.cache\n"
_FLAG = "import enum\nclass F(enum.Flag, boundary=enum.KEEP):\n    A = 1\n    B = 2\n    AB = 3\ndef run(x):\n    return (F.A | F.B).name, int(getattr(F(9), 'value', F(9))), len(list(F.AB))\n"
_ENUM = "import enum\nclass Planet(enum.Enum):\n    EARTH = (1, 2)\n    MARS = (3, 4)\n    def __init__(self, mass, radius):\n        self.density = mass * radius\n    @classmethod\n    def _missing_(cls, value):\n        return cls.EARTH\n    @property\n    def big(self):\n        return self.density > 5\nPlanet.MARS.moons = 2\ndef run(x):\n    return Planet.MARS.density, Planet('?').name, Planet.MARS.big, Planet.MARS.moons\n"
_AUTO = "import enum\nclass E(enum.Enum):\n    @staticmethod\n    def _generate_next_value_(name, start, count, last):\n        return name.lower()\n    A = enum.auto()\n    B = enum.auto()\ndef run(x):\n    return [m.value for m in E]\n"
_DATA = "from dataclasses import dataclass, field, replace, asdict\n@dataclass(order=True)\nclass C:\n    a: int = 1\n    b: int = field(default=2, compare=True)\n    c: list = field(default_factory=lambda: [1])\n    d: int = field(default=0, init=False, repr=False, compare=False)\n    def __post_init__(self):\n        self.d = self.a + self.b\ndef run(x):\n    return repr(C()), C().d, C(1) < C(2), asdict(C()), C(a=1, b=2) == C(a=1, b=3)\n"
_CONFIG = "from dataclasses import dataclass, fields\n@dataclass\nclass C:\n    a: int = 1\ndef run(x):\n    return [str(f.type) for f in fields(C)]\n"
_PYDANTIC = "from typing import Annotated\nimport pydantic\ndef up(v):\n    return v + 1\nclass M(pydantic.BaseModel):\n    model_config = pydantic.ConfigDict(str_to_lower=False)\n    x: int = 1\n    y: Annotated[int, pydantic.AfterValidator(up)] = 2\n    z: float = pydantic.Field(default=3, alias='zz')\n    s: str = 'A'\n    @pydantic.field_validator('x', mode='before')\n    @classmethod\n    def check(cls, v):\n        return int(v) * 10\n    @pydantic.model_validator(mode='after')\n    def whole(self):\n        self.z = self.z + 1\n        return self\n    @pydantic.computed_field\n    @property\n    def c(self) -> int:\n        return self.x + 1\n    @pydantic.field_serializer('s')\n    def ser(self, v):\n        return v + '!'\ndef run(x):\n    return M(x='3', y=5, zz=7, s='Ab').model_dump()\n"
_FUTURE = "from __future__ import annotations\n" + _PYDANTIC
_ATTRS = "import attrs\ndef pos(i, a, v):\n    if v < 0:\n        raise ValueError\n@attrs.define\nclass A:\n    x: int = attrs.field(default=1, converter=int, validator=pos)\n    y: list = attrs.Factory(lambda: [1])\n    z: int = attrs.field(default=5, eq=False)\n    def __attrs_post_init__(self):\n        self.y.append(self.x)\ndef run(x):\n    return repr(A('3')), A(1, [], 1) == A(1, [], 2), attrs.asdict(A())\n"
_STRUCT = "import msgspec\nfrom typing import Annotated\nLIMIT = 5\nclass S(msgspec.Struct, rename='upper'):\n    x: Annotated[int, msgspec.Meta(le=LIMIT)] = 1\n    y: list[int] = []\n    def __post_init__(self):\n        self.y = [*self.y, 1]\ndef run(x):\n    out = []\n    for v in (1, 6, '2'):\n        try:\n            out.append(repr(msgspec.convert({'X': v}, S)))\n        except msgspec.ValidationError:\n            out.append('bad')\n    return out, msgspec.to_builtins(S())\n"
_CONVERTED = "from dataclasses import dataclass\nimport msgspec\n@dataclass\nclass C:\n    a: int\ndef run(x):\n    try:\n        return repr(msgspec.convert({'a': '1'}, C))\n    except msgspec.ValidationError:\n        return 'bad'\n"
_TYPED = "from typing import TypedDict\nimport msgspec\nclass T(TypedDict):\n    a: int\ndef run(x):\n    try:\n        return msgspec.convert({'a': 'x'}, T)\n    except msgspec.ValidationError:\n        return 'bad'\n"
_FINISH = "class Visitor:\n    def visit(self, x):\n        return getattr(self, 'visit_' + type(x).__name__)(x)\n    def visit_int(self, x):\n        return x + 1\ndef run(x):\n    return Visitor().visit(x)\n"
_SUPER = "class A:\n    def go(self):\n        return 1\nclass B(A):\n    def go(self):\n        return super().go() * 10\nclass C(B):\n    pass\ndef run(x):\n    return C().go()\n"
_CACHED = "import functools\nclass A:\n    @functools.lru_cache\n    def m(self):\n        return 1\n    @functools.singledispatchmethod\n    def d(self, x):\n        return 'any'\n    @d.register\n    def _(self, x: int):\n        return 'int'\n    pm = functools.partialmethod(lambda self, k: k, 4)\ndef run(x):\n    return A().m(), A().d(x), A().pm()\n"
_INNER = "class A:\n    class B:\n        v = 1\n    def make(self):\n        return self.B()\ndef run(x):\n    return A().make().v\n"
_SINGLETON = "class S:\n    _one = None\n    def __new__(cls):\n        if cls._one is None:\n            cls._one = super().__new__(cls)\n            cls._one.v = 3\n        return cls._one\ndef run(x):\n    return S().v\n"
_DYNAMIC_CLASS = "def go(self):\n    return 1\nD = type('D', (), {'go': go, 'k': 2})\ndef run(x):\n    return D().go(), D.k\n"
_COPIED = (
    "import copy\nclass A:\n    def __deepcopy__(self, memo):\n        return 'copied'\nX = A()\ndef run(x):\n    return copy.deepcopy(X)\n"
)
_HOOKED = "class Meta(type):\n    def __instancecheck__(cls, x):\n        return x == 3\nclass A(metaclass=Meta):\n    pass\ndef run(x):\n    return isinstance(x, A)\n"

CLASSES: dict[str, Case] = {
    "order of mixins": edit(_MIXINS, "C(A, B)", "C(B, A)"),
    "method of a mixin": edit(_MIXINS, "'a'", "'z'"),
    "override added": edit(_MIXINS, "    pass\n", "    def go(self):\n        return 'c'\n"),
    "super's method": edit(_SUPER, "return 1", "return 2"),
    "base replaced": edit(_SUPER, "class C(B)", "class C(A)"),
    "metaclass's prepare": edit(_META, "'by prepare'", "'by others'"),
    "metaclass's new": edit(_META, "len(space)", "len(space) * 2"),
    "metaclass's item": edit(_META, "item * 2", "item * 3"),
    "metaclass's property": edit(_META, "'label'", "'other'"),
    "metaclass's instance check": edit(_HOOKED, "x == 3", "x == 4"),
    "addition": edit(_VECTOR, "self.x + other.x", "self.x - other.x"),
    "reflected addition": edit(_VECTOR, "V(self.x + other)", "V(self.x - other - 1)"),
    "equality": edit(_VECTOR, "self.x == other.x", "self.x != other.x"),
    "hash": edit(
        _VECTOR,
        "return self.x == other.x\n    def __hash__(self):\n        return 1",
        "return True\n    def __hash__(self):\n        return 1",
    ),
    "comparison": edit(_VECTOR, "self.x < other.x", "self.x > other.x"),
    "length": edit(_VECTOR, "return 7", "return 8"),
    "truth": edit(_VECTOR, "return True", "return False"),
    "membership": edit(_VECTOR, "item == 1", "item == 2"),
    "iteration": edit(_VECTOR, "iter([1, 2])", "iter([1, 3])"),
    "subscript": edit(_VECTOR, "return item\n", "return item + 1\n"),
    "call": edit(_VECTOR, "self.x * y", "self.x + y"),
    "format": edit(_VECTOR, "'V' + spec", "'W' + spec"),
    "index": edit(_VECTOR, "return 2", "return 1"),
    "matrix product": edit(_VECTOR, "'mat'", "'mul'"),
    "descriptor's get": edit(_DESCRIPTOR, "self.factor, self.name", "self.name, self.factor"),
    "descriptor's setting": edit(_DESCRIPTOR, "Field(3)", "Field(4)"),
    "descriptor's name": edit(_DESCRIPTOR, "'!'", "'?'"),
    "missing key": edit(_MISSING, "'?'", "'!'"),
    "content of a dict's subclass": edit(_MISSING, "a='x'", "a='y'"),
    "missing attribute": edit(_GETATTR, "name + '!'", "name + '?'"),
    "every attribute": edit(_GETATTR, "return 'own'", "return 'mine'"),
    "total ordering": edit(_ORDERING, "self.n < o.n", "self.n > o.n"),
    "abstract method": edit(_ABSTRACT, "return 1", "return 2"),
    "method of an abstract class": edit(_ABSTRACT, "self.go() + 1", "self.go() + 2"),
    "class registered with an abstract one": edit(_ABSTRACT, "register(Other)", "register(Third)"),
    "protocol's default method": edit(_PROTOCOL, "'default'", "'other'"),
    "protocol's methods": edit(_PROTOCOL, "class B:\n    def go", "class B:\n    def went"),
    "argument of a subclass hook": edit(_SUBCLASS, "tag='a'", "tag='b'"),
    "body of a subclass hook": edit(_SUBCLASS, "cls.__name__, tag", "tag, cls.__name__"),
    "subclass added to a hook": edit(_SUBCLASS, "def run", "class B(Base):\n    pass\ndef run"),
    "argument of a generic base": edit(_GENERIC, "Parser[int]", "Parser[float]"),
    "class's item": edit(_ITEM, "item * 2", "item * 3"),
    "default of a named tuple": edit(_NAMED, "a: int = 1", "a: int = 7"),
    "method of a named tuple": edit(_NAMED, "self.a + self.b", "self.a - self.b"),
    "fields of a named tuple": edit(_NAMED, "'u v'", "'v u'"),
    "default of a collected tuple": edit(_NAMED, "defaults=[3]", "defaults=[4]"),
    "state in slots": edit(_SLOTS, "S1.b = 5", "S1.b = 6"),
    "method of a class with slots": edit(_SLOTS, "self.a + self.b", "self.a - self.b"),
    "object that is pickled by name": edit(_REDUCED, "SETTINGS.rate = 4", "SETTINGS.rate = 5"),
    "state left out of a pickle": edit(_STATE, "self.cache = 3", "self.cache = 4"),
    "flag's boundary": edit(_FLAG, "enum.KEEP", "enum.CONFORM"),
    "flag's alias": edit(_FLAG, "AB = 3", "AB = 1"),
    "enum's init": edit(_ENUM, "mass * radius", "mass + radius"),
    "enum's missing": edit(_ENUM, "cls.EARTH", "cls.MARS"),
    "enum's property": edit(_ENUM, "> 5", "> 50"),
    "attribute of a member": edit(_ENUM, "moons = 2", "moons = 3"),
    "enum's automatic values": edit(_AUTO, "name.lower()", "name.upper()"),
    "field order": edit(
        _DATA,
        "    a: int = 1\n    b: int = field(default=2, compare=True)\n",
        "    b: int = field(default=2, compare=True)\n    a: int = 1\n",
    ),
    "field left out of comparison": edit(_DATA, "compare=True", "compare=False"),
    "field shown": edit(_DATA, "repr=False", "repr=True"),
    "factory of a field": edit(_DATA, "lambda: [1]", "lambda: [2]"),
    "post-init": edit(_DATA, "self.a + self.b", "self.a * self.b"),
    "type of a field that is read": edit(_CONFIG, "a: int", "a: float"),
    "pydantic validator": edit(_PYDANTIC, "int(v) * 10", "int(v) * 20"),
    "pydantic validator's mode": edit(_PYDANTIC, "return int(v) * 10", "return str(v)"),
    "pydantic model validator": edit(_PYDANTIC, "self.z + 1", "self.z + 2"),
    "function of an annotated validator": edit(_PYDANTIC, "v + 1", "v + 2"),
    "pydantic annotation": edit(_PYDANTIC, "z: float", "z: int"),
    "pydantic alias": edit(_PYDANTIC, "alias='zz'", "alias='yy'"),
    "pydantic default": edit(_PYDANTIC, "default=3, alias='zz'", "default=4, alias='yy'"),
    "pydantic configuration": edit(_PYDANTIC, "str_to_lower=False", "str_to_lower=True"),
    "pydantic computed field": edit(_PYDANTIC, "self.x + 1", "self.x + 2"),
    "pydantic serializer": edit(_PYDANTIC, "v + '!'", "v + '?'"),
    "field that a validator is for": edit(_PYDANTIC, "field_validator('x'", "field_validator('y'"),
    "function of an annotated validator in text": edit(_FUTURE, "v + 1", "v + 2"),
    "pydantic annotation in text": edit(_FUTURE, "z: float", "z: int"),
    "attrs converter": edit(_ATTRS, "converter=int", "converter=float"),
    "attrs validator": edit(_ATTRS, "if v < 0:\n        raise ValueError", "i.y.append('checked')"),
    "attrs default": edit(_ATTRS, "default=1", "default=2"),
    "attrs factory": edit(_ATTRS, "lambda: [1]", "lambda: [2]"),
    "attrs equality": edit(_ATTRS, "eq=False", "eq=True"),
    "attrs post-init": edit(_ATTRS, "append(self.x)", "append(0)"),
    "struct's renaming": edit(_STRUCT, "rename='upper'", "rename='lower'"),
    "struct's limit": edit(_STRUCT, "LIMIT = 5", "LIMIT = 9"),
    "struct's default": edit(_STRUCT, "= 1\n", "= 2\n"),
    "struct's post-init": edit(_STRUCT, "*self.y, 1", "*self.y, 2"),
    "struct's annotation": edit(_STRUCT, "Annotated[int", "Annotated[float"),
    "struct's limit in text": edit("from __future__ import annotations\n" + _STRUCT, "LIMIT = 5", "LIMIT = 9"),
    "annotation that a library converts by": edit(_CONVERTED, "a: int", "a: str"),
    "typed dictionary that a library converts by": edit(_TYPED, "a: int", "a: str"),
    "method found by its computed name": edit(_FINISH, "x + 1", "x + 2"),
    "cached method": edit(_CACHED, "return 1", "return 2"),
    "dispatched method": edit(_CACHED, "'int'", "'whole'"),
    "partial method": edit(_CACHED, "k: k, 4", "k: k, 5"),
    "nested class of a class": edit(_INNER, "v = 1", "v = 2"),
    "singleton": edit(_SINGLETON, "v = 3", "v = 4"),
    "class made by type": edit(_DYNAMIC_CLASS, "'k': 2", "'k': 3"),
    "function of a class made by type": edit(_DYNAMIC_CLASS, "return 1", "return 4"),
    "copy hook": edit(_COPIED, "'copied'", "'moved'"),
}
