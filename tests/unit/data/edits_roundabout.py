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

ROUNDABOUT: dict[str, Case] = {
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
    # --- questions about files ---
    "file becomes a link, asked by os.path": edit(
        "import os\ndef run(x):\n    return os.path.islink('now')\n",
        prepare="import os\nif os.path.lexists('now'): os.unlink('now')\nopen('now', 'w').write('1')\nopen('then', 'w').write('1')",
        new_prepare="import os\nos.unlink('now')\nos.symlink('then', 'now')",
    ),
}
