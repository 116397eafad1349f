# ruff: noqa: E501
"""Edits that change no result, of kinds in which a careful cache could see a change: none of them may run anything."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_BIG = """
import dataclasses, functools, json, logging, math
from pathlib import Path
import numpy as np
LOG = logging.getLogger(__name__)
HERE = Path(__file__).parent
RATE = 2
SPARE = 3
@dataclasses.dataclass
class Row:
    '''A row.'''
    a: int = 1
    def twice(self) -> int:
        '''Twice.'''
        return self.a * RATE
@functools.lru_cache
def load(name):
    # reads
    with open(HERE / name) as file:
        return json.load(file)
def clean(rows):
    out = []
    for row in rows:
        if row.a > 0:
            out.append(row)
    return out
def unused(value):
    return value + SPARE
def run(x):
    '''Run.'''
    LOG.info('begin %s', x)
    rows = clean([Row(v) for v in load('d.json')])
    total = sum(row.twice() for row in rows)
    return total + math.floor(np.float64(x))
"""
_FILES = {"d.json": "[1, 2]", "README.md": "a", "other.py": "K = 1\n", "tests/test_steps.py": "def test_it():\n    pass\n"}


def _same(old: str = "", new: str = "", file: str = "steps.py", **rest: object) -> Case:
    """Return a case that edits a module as people write them."""
    return edit(_BIG, old, new, _FILES, file, **rest)


_DOCS = "def h(v):\n    'one'\n    return v\ndef run(x):\n    return h(x)\n"
_TWO = {"helper.py": "import os\nK = 1\ndef scale(v):\n    return v * 2\ndef other(v):\n    return v * 3\n"}
_USE = "from helper import scale\ndef run(x):\n    return scale(x)\n"
_FRAME = "import pandas as pd\nLIMIT = 1\nSPARE = 5\ndef run(x):\n    frame = pd.DataFrame({'a': [1, 2, 3]})\n    return frame.query('a > @LIMIT')['a'].tolist()\n"
_LAZY = "import polars as pl\ndef run(x):\n    lazy = pl.scan_csv('d.csv')\n    return lazy.filter(pl.col('a') > 0).collect()\n"
_MODEL = "import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\n    @pydantic.field_validator('a')\n    @classmethod\n    def check(cls, value):\n        return value + 1\ndef run(x):\n    return M(a=x).a\n"
_CLASS = "class A:\n    def __init__(self, by):\n        self.by = by\n    def go(self, v):\n        found = v * self.by\n        return found\ndef run(x):\n    return A(2).go(x)\n"
_ASK = "import importlib.util\ndef run(x):\n    return importlib.util.find_spec('spare') is not None\n"
_VERSION = "from importlib.metadata import version\ndef run(x):\n    return version('numpy').split('.')[0]\n"
_PLUG = "import importlib\ndef run(x, name='plug'):\n    return importlib.import_module(name + '_a').go(x)\n"
_PLUGS = {"plug_a.py": "def go(v):\n    total = v + 1\n    return total\n", "plug_b.py": "def go(v):\n    return v\n"}
_TEMP = "import tempfile\nfrom pathlib import Path\ndef run(x):\n    with tempfile.TemporaryDirectory() as made:\n        (Path(made) / 'a').write_text('1')\n        return (Path(made) / 'a').read_text()\n"
_LOGGED = "import logging\nlogging.basicConfig(format='%(asctime)s %(message)s', level=logging.INFO)\nLOG = logging.getLogger(__name__)\ndef run(x):\n    LOG.info('one')\n    return x\n"

SAME: dict[str, Case] = {
    # --- a module as people write them ---
    "module: comment": _same("# reads", "# reads a file"),
    "module: comment removed": _same("    # reads\n", ""),
    "module: docstring of a record": _same("'''A row.'''", "'''A row of the table.'''"),
    "module: docstring of a method": _same("'''Twice.'''", "'''Two times.'''"),
    "module: docstring of the step": _same("    '''Run.'''\n", "    '''Run it all.\n\n    Args:\n        x: a number.\n    '''\n"),
    "module: docstring added above": _same("\nimport dataclasses", "'''Steps.'''\nimport dataclasses"),
    "module: blank lines": _same("def clean", "\n\ndef clean"),
    "module: local renamed": _same("total", "result"),
    "module: loop variable renamed": _same(
        "for row in rows:\n        if row.a > 0:\n            out.append(row)",
        "for r in rows:\n        if r.a > 0:\n            out.append(r)",
    ),
    "module: unused helper changed": _same("value + SPARE", "value - SPARE"),
    "module: unused constant changed": _same("SPARE = 3", "SPARE = 4"),
    "module: unused helper removed": _same("def unused(value):\n    return value + SPARE\n", ""),
    "module: helper moved": _same(
        "def unused(value):\n    return value + SPARE\ndef run",
        "def spare():\n    return 1\ndef unused(value):\n    return value + SPARE\ndef run",
    ),
    "module: imports reordered": _same(
        "import dataclasses, functools, json, logging, math\nfrom pathlib import Path",
        "import math\nfrom pathlib import Path\nimport dataclasses, functools, json, logging",
    ),
    "module: import added": _same("import numpy as np", "import collections\nimport numpy as np\nimport pandas as pd"),
    "module: hints added": _same("def clean(rows):", "def clean(rows: list[Row]) -> list[Row]:"),
    "module: hints postponed": _same("\nimport dataclasses", "from __future__ import annotations\nimport dataclasses"),
    "module: hint of a local": _same("    out = []", "    out: list[Row] = []"),
    "module: hint of a constant": _same("RATE = 2", "RATE: int = 2"),
    "module: constant written otherwise": _same("RATE = 2", "RATE = 1 + 1"),
    "module: type: ignore": _same("return json.load(file)", "return json.load(file)  # type: ignore[no-any-return]"),
    "module: lines joined": _same("    out = []\n    for", "    out = []; \n    for"),
    "module: condition in brackets": _same("if row.a > 0:", "if (row.a > 0):"),
    "module: call over lines": _same("clean([Row(v) for v in load('d.json')])", "clean(\n        [Row(v) for v in load('d.json')],\n    )"),
    "module: text in other quotes": _same("'begin %s'", '"begin %s"'),
    "module: README": _same("a", "b", "README.md"),
    "module: another module": _same("K = 1", "K = 2", "other.py"),
    "module: its test": _same("pass", "assert True", "tests/test_steps.py"),
    "module: file added": _same(added={"e.json": "[]"}),
    "module: file touched": _same(prepare="1", new_prepare="import os\nos.utime('d.json', (5, 5))"),
    "module: file replaced by the same": _same(
        prepare="1", new_prepare="import os, shutil\nshutil.copy('d.json', 'e')\nos.replace('e', 'd.json')"
    ),
    "module: variable": _same(variables={"SPARE_OWN": "1"}, new_variables={"SPARE_OWN": "2"}),
    "module: method reordered": _same("    a: int = 1\n    def twice", "    a: int = 1\n\n    def twice"),
    "module: guard of a script": _same("\ndef run", "\nif __name__ == '__main__':\n    print(run(1))\ndef run"),
    "module: exports": _same("RATE = 2", "__all__ = ['run']\nRATE = 2"),
    "module: unused class with a setting": _same(
        "def unused", "class Setup:\n    def apply(self):\n        import decimal\n        decimal.getcontext().prec = 3\ndef unused"
    ),
    "module: alias of a type": _same("RATE = 2", "Rows = list[int]\nRATE = 2"),
    "module: import for a type checker": _same(
        "RATE = 2", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from other import K\nRATE = 2"
    ),
    # --- beside what repairs made sharper ---
    "docstring beside a docstring's name in text": edit(_DOCS + "NOTE = '__doc__'\n", "'one'", "'two'"),
    "docstring beside a getattr of another name": edit(
        "class A:\n    rate = 1\ndef h(v):\n    'one'\n    return v\ndef run(x):\n    return getattr(A, 'rate'), h(x)\n", "'one'", "'two'"
    ),
    "comment beside an error that is caught": edit(
        "def h(v):\n    raise ValueError(v)\ndef run(x):\n    try:\n        h(x)\n    except ValueError as error:\n        return str(error)\n",
        "def h",
        "# raises\ndef h",
    ),
    "comment beside a logged error": edit(
        "import logging\nLOG = logging.getLogger('own')\nLOG.addHandler(logging.NullHandler())\nLOG.propagate = False\ndef run(x):\n    try:\n        return 1 / 0\n    except ZeroDivisionError:\n        LOG.exception('a')\n        return x\n",
        "def run",
        "# divides\ndef run",
    ),
    "hint beside a library that reads none": edit(
        "import numpy as np\ndef h(v):\n    return np.sum(v)\ndef run(x):\n    return float(h(x))\n", "h(v)", "h(v: 'np.ndarray')"
    ),
    "future import beside a model's hints": edit(
        "import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\ndef h(v: int):\n    return v\ndef run(x):\n    return M(a=h(x)).a\n",
        "h(v: int)",
        "h(v: int) ",
    ),
    "comment beside a query": edit(_FRAME, "LIMIT = 1", "LIMIT = 1  # least"),
    "constant beside a query that does not name it": edit(_FRAME, "SPARE = 5", "SPARE = 6"),
    "function beside a query": edit(_FRAME, "def run", "def spare():\n    return 1\ndef run"),
    "comment beside a lazy frame": edit(_LAZY, "    lazy", "    # lazy\n    lazy", {"d.csv": "a\n1\n"}),
    "other file beside a lazy frame": edit(_LAZY, "1", "2", {"d.csv": "a\n1\n", "e.csv": "a\n1\n"}, "e.csv"),
    "comment in a validator": edit(_MODEL, "        return value", "        # adds\n        return value"),
    "renamed argument of a lambda in a table": edit(
        "T = {'a': lambda v: v + 1}\ndef run(x):\n    return T['a'](x)\n", "lambda v: v + 1", "lambda v: (v + 1)"
    ),
    "local of a method": edit(_CLASS, "found", "got"),
    "method's comment": edit(_CLASS, "        found", "        # multiplies\n        found"),
    "class beside in the same module": edit(_CLASS, "class A", "class Spare:\n    def go(self):\n        return 1\nclass A"),
    "class body with a constant beside": edit(_CLASS, "class A", "class Spare:\n    rate = 3\n    made = dict(a=1)\nclass A"),
    "class of a library's base beside": edit(
        _CLASS, "class A", "import collections\nclass Spare(collections.UserDict):\n    rate = 1\nclass A"
    ),
    "estimator of the user's beside": edit(
        _CLASS,
        "class A",
        "from sklearn.base import BaseEstimator\nclass Spare(BaseEstimator):\n    def __init__(self, by=1):\n        self.by = by\nclass A",
    ),
    "object made by an import beside": edit(_CLASS, "def run", "SPARE = A(3)\nSPARE.by = 4\nSPARE.go(1)\ndef run"),
    "decorated helper beside": edit(
        _CLASS,
        "def run",
        "import functools\ndef told(f):\n    @functools.wraps(f)\n    def call(*args):\n        return f(*args)\n    return call\n@told\ndef spare():\n    return 1\nKEPT = spare()\ndef run",
    ),
    "map at import beside": edit(_CLASS, "def run", "SPARE = list(map(str, [1, 2]))\ndef run"),
    "other module beside one that is looked for": edit(_ASK, added={"other.py": ""}),
    "edit of a module that is looked for": edit(_ASK, "1", "2", {"spare.py": "K = 1\n"}, "spare.py"),
    "comment beside a version that is asked for": edit(_VERSION, "def run", "# asks\ndef run"),
    "comment in a plug-in": edit(_PLUG, "    total", "    # adds\n    total", _PLUGS, "plug_a.py"),
    "local of a plug-in": edit(_PLUG, "total", "summed", _PLUGS, "plug_a.py"),
    "another plug-in": edit(_PLUG, "return v", "return -v", _PLUGS, "plug_b.py"),
    "comment beside a temporary folder": edit(_TEMP, "def run", "# writes\ndef run"),
    "comment beside a log with its time": edit(_LOGGED, "def run", "# logs\ndef run"),
    "level of a log that is for people": edit(_LOGGED, "level=logging.INFO", "level=logging.DEBUG"),
    "folder added to the path of modules": edit("import sys\nsys.path.append('lib')\ndef run(x):\n    return x\n", "'lib'", "'lib2'"),
    "path of modules that the step extends": edit(
        "import sys\ndef run(x):\n    sys.path.insert(0, 'lib')\n    import inlib\n    return inlib.go(x)\n",
        "def run",
        "# extends\ndef run",
        {"lib/inlib.py": "def go(v):\n    return v\n"},
    ),
    "comment beside a coroutine": edit(
        "import asyncio\nasync def go(v):\n    await asyncio.sleep(0)\n    return v\ndef run(x):\n    return asyncio.run(go(x))\n",
        "async def",
        "# goes\nasync def",
    ),
    "comment beside an enum": edit(
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ndef run(x):\n    return E.A.value\n", "    A = 1", "    # first\n    A = 1"
    ),
    "docstring of an enum": edit(
        "import enum\nclass E(enum.Enum):\n    A = 1\ndef run(x):\n    return E.A.value\n", "    A = 1", "    'Kinds.'\n    A = 1"
    ),
    "comment in a named tuple": edit(
        "import typing\nclass P(typing.NamedTuple):\n    a: int = 1\ndef run(x):\n    return P().a\n",
        "    a: int",
        "    # first\n    a: int",
    ),
    "escape written otherwise": edit("def run(x):\n    return 'A\\n'\n", "'A\\n'", "'\\x41\\x0a'"),
    "text joined by lines": edit("T = 'a' 'b'\ndef run(x):\n    return T\n", "'a' 'b'", "('a'\n     'b')"),
    "name with another form of its letters": edit("def run(x):\n    ﬁle = x\n    return ﬁle\n", "ﬁle", "file"),
    "mark at the beginning of the file": edit("K = 1\ndef run(x):\n    return K\n", "K = 1\n", "# -*- coding: utf-8 -*-\nK = 1\n"),
    "star import of the same names": edit(
        "from helper import *\ndef run(x):\n    return scale(x)\n", "K = 1\n", "K = 1\nL = 2\n", _TWO, "helper.py"
    ),
    "import in the body moved up": edit(_USE, "v * 3", "v * 4", _TWO, "helper.py"),
    "handler of an import that does not fail": edit(
        "try:\n    import json as impl\nexcept ImportError:\n    import slow as impl\ndef run(x):\n    return impl.dumps(x)\n",
        "except ImportError",
        "except (ImportError, AttributeError)",
    ),
    "assertion of a type checker": edit(
        "import typing\ndef run(x):\n    y = x\n    return y\n", "    return y", "    return y  # reveal_type(y)"
    ),
    "overload beside a helper": edit(
        "import typing\ndef h(v):\n    return v\ndef run(x):\n    return h(x)\n",
        "def h",
        "@typing.overload\ndef h(v: int) -> int: ...\n@typing.overload\ndef h(v: str) -> str: ...\ndef h",
    ),
}
