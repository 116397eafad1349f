# ruff: noqa: E501
"""Edits that alter nothing that a step computes."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_HELPER = {"helper.py": "K = 2\ndef scale(x):\n    return x * 2\ndef other(x):\n    return x * 5\n"}
_MANY = "import helper\ndef run(x):\n    return helper.scale(x)\n"
_TYPED = "def run(x, y=None):\n    total = x + 1\n    return [total, y]\n"
_DATA = "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\n    def go(self):\n        return self.a\ndef run(x):\n    return C().go()\n"
_NESTED = "def run(x):\n    def inner(y):\n        z = y + 1\n        return z\n    return inner(x)\n"
_WITH = "import contextlib\ndef run(x):\n    with contextlib.suppress(ValueError) as nothing, contextlib.nullcontext(x) as value:\n        return value\n"
_FOR = "def run(x):\n    out = []\n    for i in range(x):\n        out.append(1)\n    return out\n"
_MATCH = "def run(x):\n    match x:\n        case [first, *rest]:\n            return first, rest\n        case {'a': value, **others}:\n            return value, others\n        case whole:\n            return whole\n"
_NOTEBOOK = "K = 2\ndef helper(x):\n    return x * K\ndef run(x):\n    return helper(x)\n"
_RULES = "RULES = {}\ndef rule(f):\n    RULES[f.__name__] = f\n    return f\n@rule\ndef double(x):\n    return x * 2\ndef plain(x):\n    return x\ndef run(x):\n    return RULES['double'](x)\n"
_IMPORT = (
    "import decimal\ndecimal.getcontext().prec = 5\ndef unused():\n    return 1\ndef run(x):\n    return str(decimal.Decimal(1) / x)\n"
)
_PLUGINS = {"plugs/__init__.py": "", "plugs/a.py": "def go(x):\n    return x\n", "plugs/b.py": "def go(x):\n    return x + 1\n"}
_LONG = "def run(x):\n    return sum([x, 1, 2]) + len('abc') * max(3, x)\n"
_PYDANTIC = "import pydantic\nclass M(pydantic.BaseModel):\n    x: int = 1\n    def go(self):\n        y = self.x\n        return y\ndef run(x):\n    return M(x=x).go()\n"

MORE_HARMLESS: dict[str, Case] = {
    "comment in the middle of an expression": edit(_LONG, "[x, 1, 2]", "[x,  # first\n        1, 2]"),
    "comment at the end of the file": edit(_LONG, "x)\n", "x)\n# end\n"),
    "comment above a decorator": edit(
        "import functools\n@functools.cache\ndef h(x):\n    return x\ndef run(x):\n    return h(x)\n", "@functools", "# why\n@functools"
    ),
    "comment in a class": edit(_DATA, "    def go", "    # why\n    def go"),
    "docstring of a helper": edit(_MANY, "    return x * 2", "    'Twice.'\n    return x * 2", _HELPER, "helper.py"),
    "docstring of a method": edit(_DATA, "    def go(self):\n", "    def go(self):\n        'Goes.'\n"),
    "docstring of a nested function": edit(_NESTED, "        z =", "        'Adds.'\n        z ="),
    "docstring of a module": edit(_MANY, "import helper", "'Steps.'\nimport helper", _HELPER),
    "docstring of a used module": edit(_MANY, "K = 2", "'Helps.'\nK = 2", _HELPER, "helper.py"),
    "docstring for a body of pass": edit(
        "class E(Exception):\n    pass\ndef run(x):\n    try:\n        raise E\n    except E:\n        return x\n",
        "    pass",
        "    'An error.'",
    ),
    "pass beside other statements": edit(_FOR, "        out.append(1)", "        pass\n        out.append(1)"),
    "ellipsis for pass": edit("def h():\n    pass\ndef run(x):\n    return h()\n", "    pass", "    ..."),
    "text that stands alone": edit(_FOR, "    for i", "    'a note'\n    for i"),
    "annotation of a parameter": edit(_TYPED, "(x, y=None)", "(x: int, y: str | None = None)"),
    "annotation of a result": edit(_TYPED, "None):", "None) -> list:"),
    "annotation of a local name": edit(_TYPED, "total = x", "total: int = x"),
    "annotation of a helper": edit(_MANY, "def scale(x)", "def scale(x: float) -> float", _HELPER, "helper.py"),
    "annotation of a module's constant": edit("K = 2\ndef run(x):\n    return K\n", "K = 2", "K: int = 2"),
    "annotation of a nested function": edit(_NESTED, "inner(y)", "inner(y: int) -> int"),
    "annotation of a method": edit(_DATA, "go(self)", "go(self) -> int"),
    "annotation of a dataclass's field": edit(_DATA, "a: int", "a: float"),
    "annotations postponed": edit(
        "def h(x: int):\n    return x\ndef run(x):\n    return h(x)\n", "def h", "from __future__ import annotations\ndef h"
    ),
    "import for a type checker": edit(
        _MANY,
        "import helper\n",
        "import helper\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from helper import other\n",
        _HELPER,
    ),
    "type alias": edit(_MANY, "import helper\n", "import helper\nNumber = int | float\n", _HELPER),
    "renamed local of a nested function": edit(_NESTED, "z", "result"),
    "renamed local of a helper": edit("def h(x):\n    y = x + 1\n    return y\ndef run(x):\n    return h(x)\n", "y", "result"),
    "renamed loop variable": edit(_FOR, "for i", "for _"),
    "renamed variable of a comprehension": edit("def run(x):\n    return [i * 2 for i in range(x)]\n", "i * 2 for i in", "n * 2 for n in"),
    "renamed context": edit(_WITH, "value", "got"),
    "renamed error": edit(
        "def run(x):\n    try:\n        return 1 // 0\n    except ZeroDivisionError as error:\n        return str(error)\n",
        "as error:\n        return str(error)",
        "as e:\n        return str(e)",
    ),
    "renamed captures of a match": edit(_MATCH, "first", "head", args="[1, 2]"),
    "renamed walrus": edit("def run(x):\n    return [y := x, y]\n", "y", "same"),
    "renamed local in an f-string": edit("def run(x):\n    y = x\n    return f'{y} is {y:>3}'\n", "y", "z"),
    "local with a name that is text elsewhere": edit(
        "def run(x):\n    total = x\n    return {'total': total}\n",
        "    total = x\n    return {'total': total}",
        "    t = x\n    return {'total': t}",
    ),
    "quotes": edit("def run(x):\n    return 'a' + \"b\"\n", "'a' + \"b\"", "\"a\" + 'b'"),
    "implicit joining of text": edit("def run(x):\n    return 'ab'\n", "'ab'", "('a'\n            'b')"),
    "raw text": edit("def run(x):\n    return 'a\\\\d'\n", "'a\\\\d'", "r'a\\d'"),
    "brackets": edit(_LONG, "len('abc') * max(3, x)", "(len('abc') * max(3, x))"),
    "trailing comma": edit(_LONG, "[x, 1, 2]", "[x, 1, 2,]"),
    "line breaks": edit(_LONG, "sum([x, 1, 2])", "sum(\n        [\n            x,\n            1,\n            2,\n        ]\n    )"),
    "backslash at the end of a line": edit(_LONG, ") + len", ") \\\n        + len"),
    "indentation": edit(_FOR, "        out.append(1)", "            out.append(1)"),
    "semicolon": edit(_FOR, "    out = []\n", "    out = [];\n"),
    "number written otherwise": edit("def run(x):\n    return 1000 + 16\n", "1000 + 16", "1_000 + 0x10"),
    "spaces at the ends of lines": edit(_FOR, "out = []", "out = []   "),
    "blank lines in a function": edit(_FOR, "    for", "\n\n    for"),
    "moved to another line": edit(_MANY, "import helper\n", "import helper\n\n\n# ---\n\n\n", _HELPER),
    "reordered imports": edit(
        "import json\nimport re\nimport helper\ndef run(x):\n    return helper.scale(x), json.dumps(x), bool(re)\n",
        "import json\nimport re\n",
        "import re\nimport json\n",
        _HELPER,
    ),
    "unused import": edit(_MANY, "import helper\n", "import colorsys\nimport helper\n", _HELPER),
    "unused import of the user's": edit(
        _MANY, "import helper\n", "import helper\nimport spare\n", {**_HELPER, "spare.py": "def go():\n    return 1\n"}
    ),
    "reordered functions of a helper": edit(
        _MANY, _HELPER["helper.py"], "K = 2\ndef other(x):\n    return x * 5\ndef scale(x):\n    return x * 2\n", _HELPER, "helper.py"
    ),
    "reordered constants": edit("A = 1\nB = 2\ndef run(x):\n    return A + B\n", "A = 1\nB = 2\n", "B = 2\nA = 1\n"),
    "helper moved below": edit(
        "def h(x):\n    return x\ndef run(x):\n    return h(x)\n",
        "def h(x):\n    return x\ndef run(x):\n    return h(x)\n",
        "def run(x):\n    return h(x)\ndef h(x):\n    return x\n",
    ),
    "unused helper changed": edit(_MANY, "x * 5", "x * 6", _HELPER, "helper.py"),
    "unused helper added": edit(_MANY, "def scale", "def spare():\n    return 0\ndef scale", _HELPER, "helper.py"),
    "unused helper of the step's module changed": edit("def other():\n    return 1\ndef run(x):\n    return x\n", "return 1", "return 2"),
    "unused constant changed": edit(_MANY, "K = 2", "K = 3", _HELPER, "helper.py"),
    "unused class changed": edit("class A:\n    v = 1\ndef run(x):\n    return x\n", "v = 1", "v = 2"),
    "unused function beside a registry": edit(_RULES, "return x\ndef run", "return -x\ndef run"),
    "unused function beside a setting": edit(_IMPORT, "return 1", "return 2"),
    "another step": edit(
        "from plimsoll.pipelines.step import step\n@step\ndef other(x):\n    return x + 1\n@step\ndef run(x):\n    return x\n",
        "x + 1",
        "x + 2",
    ),
    "options of the step": edit(
        "from plimsoll.pipelines.step import step\n@step\ndef run(x):\n    return x\n", "@step", "@step(retries=2)"
    ),
    "module imported in the body: another function": edit(
        "def run(x):\n    import helper\n    return helper.scale(x)\n", "x * 5", "x * 6", _HELPER, "helper.py"
    ),
    "module imported in the body: comment": edit(
        "def run(x):\n    import helper\n    return helper.scale(x)\n", "K = 2", "K = 2  # two", _HELPER, "helper.py"
    ),
    "module used as a value: comment": edit(
        "import helper\ndef run(x, n='scale'):\n    return getattr(helper, n)(x)\n", "K = 2", "K = 2  # two", _HELPER, "helper.py"
    ),
    "module used as a value: blank lines": edit(
        "import helper\ndef run(x, n='scale'):\n    return getattr(helper, n)(x)\n", "def other", "\n\n\ndef other", _HELPER, "helper.py"
    ),
    "module imported by its name: docstring": edit(
        "import importlib\ndef run(x):\n    return importlib.import_module('helper').scale(x)\n",
        "def scale(x):\n",
        "def scale(x):\n    'Twice.'\n",
        _HELPER,
        "helper.py",
    ),
    "module imported by a computed name: comment": edit(
        "import importlib\ndef run(x, n='plugs.a'):\n    return importlib.import_module(n).go(x)\n",
        "return x",
        "return x  # it",
        _PLUGINS,
        "plugs/a.py",
    ),
    "module imported by a computed name: another one": edit(
        "import importlib\ndef run(x, n='plugs.a'):\n    return importlib.import_module(n).go(x)\n",
        "x + 1",
        "x + 2",
        _PLUGINS,
        "plugs/b.py",
    ),
    "code under a script's guard": edit(_MANY + "if __name__ == '__main__':\n    print(run(1))\n", "run(1)", "run(2)", _HELPER),
    "statement that only prints": edit("print('one')\ndef run(x):\n    return x\n", "'one'", "'two'"),
    "level of logging": edit(
        "import logging\nlogging.basicConfig(level=logging.INFO)\nlog = logging.getLogger(__name__)\ndef run(x):\n    log.info('a')\n    return x\n",
        "INFO",
        "DEBUG",
    ),
    "order of a set": edit("NAMES = {'a', 'b', 'c'}\ndef run(x):\n    return sorted(NAMES)\n", "{'a', 'b', 'c'}", "{'c', 'a', 'b'}"),
    "order of a set argument": Case(steps="def run(x):\n    return sorted(x)\n", args="{'a', 'b', 'c'}", new_args="{'c', 'b', 'a'}"),
    "argument by its name": Case(steps="def run(a, b=2):\n    return a - b\n", args="1", new_args="1, 2"),
    "constant computed otherwise": edit("K = 60 * 60\ndef run(x):\n    return K\n", "60 * 60", "3600"),
    "constant by a comprehension": edit("K = [1, 2, 3]\ndef run(x):\n    return K\n", "[1, 2, 3]", "[i for i in range(1, 4)]"),
    "comment in a model": edit(_PYDANTIC, "        y = self.x", "        # why\n        y = self.x"),
    "local of a model's method": edit(_PYDANTIC, "        y = self.x\n        return y", "        z = self.x\n        return z"),
    "file that is not read": edit(
        "def run(x):\n    with open('a.txt') as f:\n        return f.read()\n", "two", "three", {"a.txt": "one", "b.txt": "two"}, "b.txt"
    ),
    "time of a file": edit(
        "def run(x):\n    with open('a.txt') as f:\n        return f.read()\n",
        more={"a.txt": "one"},
        prepare="import os\nos.utime('a.txt', (1e9, 1e9))",
        new_prepare="import os\nos.utime('a.txt', (2e9, 2e9))",
    ),
    "variable that is not read": edit(
        "import os\ndef run(x):\n    return os.environ.get('OWN')\n",
        variables={"OWN": "a", "SPARE": "a"},
        new_variables={"OWN": "a", "SPARE": "b"},
    ),
    "file that appears beside": edit("import os\ndef run(x):\n    return os.path.exists('flag')\n", added={"other": ""}),
    "upgrade of a package that is not used": edit(
        "def run(x):\n    return x\n",
        more={"site-packages/tinydep-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinydep\nVersion: 1.0\n"},
        added={"site-packages/tinydep-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinydep\nVersion: 1.1\n"},
    ),
    "seeded generator: comment": edit(
        "import numpy as np\nSEED = 1\ndef run(x):\n    return np.random.default_rng(SEED).random()\n", "SEED = 1", "SEED = 1  # one"
    ),
    "unseeded draw: comment": edit(
        "import random\ndef run(x):\n    return random.random()\n", "import random", "import random  # draws", truth="engine"
    ),
    "table from a file: comment": edit(
        "import polars as pl\ndef run(x):\n    return pl.read_csv('data.csv')['a'].to_list()\n",
        "import polars as pl",
        "import polars as pl  # fast",
        {"data.csv": "a,b\n1,2\n"},
    ),
    "estimator: comment": edit(
        "import numpy as np\nfrom sklearn.linear_model import LinearRegression\ndef run(x):\n    m = LinearRegression().fit(np.arange(4).reshape(-1, 1), np.arange(4))\n    return round(float(m.coef_[0]), 3)\n",
        "import numpy as np",
        "import numpy as np  # arrays",
    ),
    "frame handed on: renamed local": edit(
        "import pandas as pd\ndef run(x):\n    frame = pd.DataFrame({'a': [1, 2]})\n    frame['b'] = frame['a'] * 2\n    return frame\n",
        "frame",
        "table",
    ),
    "helper of a constant that is not used": edit(
        "def make(n):\n    return [n] * 2\nSPARE = make(3)\ndef run(x):\n    return x\n", "[n] * 2", "[n] * 3"
    ),
    "registration beside that is not used": edit(
        "RULES = {}\ndef rule(f):\n    RULES[f.__name__] = f\n    return f\n@rule\ndef double(x):\n    return x * 2\ndef run(x):\n    return x\n",
        "x * 2",
        "x * 3",
    ),
    "object beside that is not used": edit(
        "class Config:\n    def __init__(self):\n        self.rate = 1\nCONFIG = Config()\nCONFIG.rate = 2\ndef run(x):\n    return x\n",
        "CONFIG.rate = 2",
        "CONFIG.rate = 3",
    ),
    "sentinel moved": edit(
        "MISSING = object()\ndef run(x=None):\n    return x is MISSING\n", "MISSING = object()", "# none\nMISSING = object()"
    ),
    "record beside that is not used": edit(
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    rate: int\ndef make(n):\n    return C(n)\nSPARE = [C(1), make(2)]\ndef run(x):\n    return x\n",
        "C(1)",
        "C(3)",
    ),
}
