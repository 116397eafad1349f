# ruff: noqa: E501
"""Edits of what an import does to a library in roundabout ways, and of what is hung on frames.

The options of pandas are not asked for themselves, as those of decimals are: what sets them must be found.
"""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_PD = "import pandas as pd\n"
_SETS = "pd.set_option('display.precision', 3)\n"


def _shows(how: str, more: dict[str, str] | None = None, file: str = "steps.py", old: str = "3)", new: str = "4)") -> Case:
    """Return a case in which importing ``steps`` sets how many places pandas shows."""
    return edit(f"{_PD}{how}def run(x):\n    return repr(pd.Series([1 / 3]))\n", old, new, more, file)


_OPTIONS = {"options.py": _PD + _SETS}
_HANGS = "def told(frame):\n    return getattr(frame, 'label', None)\ndef run(x):\n    return told(FRAME)\n"

_WRAPT = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site-packages'))\nimport wrapt\n"
_TABLE = {
    "site-packages/wrapt.py": "TABLE = {}\ndef register(name):\n    def note(function):\n        TABLE[name] = function\n        return function\n    return note\ndef call(name, *given):\n    return TABLE[name](*given)\n",
    "site-packages/wrapt-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: wrapt\nVersion: 1\n",
    "site-packages/wrapt-1.dist-info/RECORD": "wrapt.py,,\nwrapt-1.dist-info/METADATA,,\n",
}

ROUNDABOUT: dict[str, Case] = {
    "class registered through its package": edit(
        "import collections.abc\nclass Mine:\n    pass\nclass Yours:\n    pass\ncollections.abc.Sequence.register(Mine)\ndef run(x):\n    return issubclass(Mine, collections.abc.Sequence)\n",
        "register(Mine)",
        "register(Yours)",
    ),
    "two names of a library set at once": edit(
        "import patch\ndef run(x):\n    import textwrap\n    return textwrap.spare\n",
        "1, 2",
        "1, 3",
        {"patch.py": "import textwrap\ntextwrap.other, textwrap.spare = 1, 2\n"},
        "patch.py",
    ),
    "name of a library set by a loop": edit(
        "import patch\ndef run(x):\n    import textwrap\n    return textwrap.spare\n",
        "2)",
        "3)",
        {"patch.py": "import textwrap\nfor textwrap.spare in (1, 2):\n    pass\n"},
        "patch.py",
    ),
    "name put back into collections": edit(
        "import collections\nimport old\ndef run(x):\n    return isinstance([], getattr(collections, 'Listed', dict))\n",
        "Sequence",
        "Mapping",
        {"old.py": "import collections\nimport collections.abc\ncollections.Listed = collections.abc.Sequence\n"},
        "old.py",
    ),
    # --- modules that an import imports late ---
    "options of pandas by a module that a function imports": _shows("def setup():\n    import options\nsetup()\n", _OPTIONS, "options.py"),
    "options of pandas by a module that a method imports": _shows(
        "class Setup:\n    def __init__(self):\n        import options\nSETUP = Setup()\n", _OPTIONS, "options.py"
    ),
    "options of pandas by a module that is imported by its name": _shows(
        "import importlib\nOPTIONS = importlib.import_module('options')\n", _OPTIONS, "options.py"
    ),
    "options of pandas by modules that are imported by their names": _shows(
        "import importlib\nfor name in ('options',):\n    importlib.import_module(name)\n", _OPTIONS, "options.py"
    ),
    # --- calls that go round a corner ---
    "options of pandas by getattr": _shows("getattr(pd, 'set_option')('display.precision', 3)\n"),
    "options of pandas by a table of functions": _shows("TABLE = {'set': pd.set_option}\nTABLE['set']('display.precision', 3)\n"),
    "options of pandas by a function that is given another": _shows(
        f"def call(function):\n    function()\ndef setup():\n    {_SETS}call(setup)\n"
    ),
    "options of pandas by a decorator that calls": _shows(
        f"def at_once(function):\n    function()\n    return function\n@at_once\ndef setup():\n    {_SETS}"
    ),
    "options of pandas by a thread of a pool": _shows(
        f"from concurrent.futures import ThreadPoolExecutor\ndef setup():\n    {_SETS}with ThreadPoolExecutor(1) as pool:\n    done = pool.submit(setup).result()\n"
    ),
    "options of pandas by a context that a generator makes": _shows(
        f"import contextlib\n@contextlib.contextmanager\ndef setup():\n    {_SETS}    yield\nwith setup():\n    pass\n"
    ),
    "options of polars that are kept": edit(
        "import polars as pl\nKEPT = pl.Config(tbl_rows=2)\ndef run(x):\n    return str(pl.DataFrame({'a': range(9)}))\n", "=2", "=4"
    ),
    # --- what is hung on a frame ---
    "attribute of a frame of pandas": edit(_PD + "FRAME = pd.DataFrame({'a': [1]})\nFRAME.label = 'm'\n" + _HANGS, "'m'", "'km'"),
    "attribute of an index of pandas": edit(_PD + "FRAME = pd.Index([1])\nFRAME.label = 'm'\n" + _HANGS, "'m'", "'km'"),
    "attribute of a frame of polars": edit(
        "import polars as pl\nFRAME = pl.DataFrame({'a': [1]})\nFRAME.label = 'm'\n" + _HANGS, "'m'", "'km'"
    ),
    "attribute of an array": edit(
        "import numpy as np\nclass Lengths(np.ndarray):\n    pass\nFRAME = np.ones(2).view(Lengths)\nFRAME.label = 'm'\n" + _HANGS,
        "'m'",
        "'km'",
    ),
    # --- what objects of the standard library and of numpy keep beside their content ---
    "attribute of an ordered dictionary": edit(
        "from collections import OrderedDict\nSTATE = OrderedDict(a=1)\nSTATE.version = 1\ndef run(x):\n    return STATE.version\n",
        "version = 1",
        "version = 2",
    ),
    "attribute of a counter": edit(
        "from collections import Counter\nSTATE = Counter(a=1)\nSTATE.version = 1\ndef run(x):\n    return STATE.version\n",
        "version = 1",
        "version = 2",
    ),
    "attribute of a partial as an argument": edit(
        "from functools import partial\ndef make(unit):\n    made = partial(int, '3')\n    made.unit = unit\n    return made\ndef run(f):\n    return f.unit\n",
        args="make(1)",
        new_args="make(2)",
    ),
    "order of a namespace": edit(
        "from types import SimpleNamespace\nCONFIG = SimpleNamespace(a=1, b=2)\ndef run(x):\n    return str(CONFIG)\n",
        "a=1, b=2",
        "b=2, a=1",
    ),
    "order of an object's attributes as an argument": edit(
        "class Config:\n    pass\ndef make(names):\n    made = Config()\n    for name in names:\n        setattr(made, name, 1)\n    return made\ndef run(c):\n    return list(vars(c))\n",
        args="make('ab')",
        new_args="make('ba')",
    ),
    "attribute of an error's own": edit(
        "ERROR = SystemExit(0)\nERROR.code = 1\ndef run(x):\n    return ERROR.code\n", "code = 1", "code = 2"
    ),
    "view of bytes that may be written": edit(
        "VIEW = memoryview(bytes(2))\ndef run(x):\n    return VIEW.readonly\n", "bytes(2)", "bytearray(2)"
    ),
    "strides of a view of bytes": edit("VIEW = memoryview(b'ab')\ndef run(x):\n    return VIEW.contiguous\n", "b'ab')", "b'a_b_')[::2]"),
    "safety of a UUID": edit(
        "from uuid import UUID, SafeUUID\nMARK = UUID(int=1, is_safe=SafeUUID.safe)\ndef run(x):\n    return MARK.is_safe.name\n",
        "SafeUUID.safe)",
        "SafeUUID.unsafe)",
    ),
    "mask that there is not": edit(
        "import numpy as np\nROW = np.ma.array([1, 2])\ndef run(x):\n    return ROW.mask is np.ma.nomask\n",
        "[1, 2])",
        "[1, 2], mask=[0, 0])",
    ),
    "attribute of a masked array as an argument": edit(
        "import numpy as np\ndef make(unit):\n    made = np.ma.array([1, 2])\n    made.unit = unit\n    return made\ndef run(row):\n    return row.unit\n",
        args="make('m')",
        new_args="make('km')",
    ),
    "category of many": edit(
        "import pandas as pd\nKIND = pd.CategoricalDtype([*range(500), 1000, *range(501, 900)])\ndef run(x):\n    return int(KIND.categories[500])\n",
        "1000",
        "2000",
    ),
    # --- decorators of packages whose other decorators note nothing ---
    "function that a decorator of a library registers": edit(
        _WRAPT + "@wrapt.register('go')\ndef go(value):\n    return value * 2\ndef run(x):\n    return wrapt.call('go', x)\n",
        "* 2",
        "* 3",
        _TABLE,
    ),
    "function that such a decorator under another name registers": edit(
        _WRAPT + "import others\ndef run(x):\n    return wrapt.call('go', x)\n",
        "* 2",
        "* 3",
        {**_TABLE, "others.py": "from wrapt import register as noted\n@noted('go')\ndef go(value):\n    return value * 2\n"},
        "others.py",
    ),
    # --- files whose names come by keywords ---
    "CSV by keywords of a dict": edit(
        "import pyarrow.csv\nGIVEN = {'input_file': 'd' + '.csv'}\ndef run(x):\n    return pyarrow.csv.read_csv(**GIVEN).to_pydict()\n",
        prepare="open('d.csv', 'w').write('a\\n1\\n')",
        new_prepare="open('d.csv', 'w').write('a\\n2\\n')",
    ),
    "CSV after another keyword": edit(
        "import pyarrow.csv as c\ndef run(x):\n    return c.read_csv(read_options=c.ReadOptions(), input_file='d%s.csv' % x).to_pydict()\n",
        prepare="open('d3.csv', 'w').write('a\\n1\\n')",
        new_prepare="open('d3.csv', 'w').write('a\\n2\\n')",
    ),
    # --- questions about files ---
    "file becomes a link, asked by os.path": edit(
        "import os\ndef run(x):\n    return os.path.islink('now')\n",
        prepare="import os\nif os.path.lexists('now'): os.unlink('now')\nopen('now', 'w').write('1')\nopen('then', 'w').write('1')",
        new_prepare="import os\nos.unlink('now')\nos.symlink('then', 'now')",
    ),
}
