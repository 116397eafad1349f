# ruff: noqa: E501
"""Edits beside the code: files, variables, packages, compiled modules, and code that is found by computed names."""

from __future__ import annotations

from tests.unit.data.case import Case, edit


def _package(version: str, body: str = "def go(x):\n    return x\n") -> dict[str, str]:
    return {
        "site-packages/tinydep.py": body,
        "site-packages/tinydep-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tinydep\nVersion: {version}\n",
        "site-packages/tinydep-1.dist-info/RECORD": "tinydep.py,,\ntinydep-1.dist-info/METADATA,,\n",
    }


_THIRD = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site-packages'))\nimport tinydep\ndef run(x):\n    return tinydep.go(x)\n"
_LATE = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site-packages'))\ndef run(x):\n    import tinydep\n    return tinydep.go(x)\n"
_UNDER = {
    **_package("1.0"),
    "site-packages/midlib.py": "import tinydep\ndef go(x):\n    return tinydep.go(x)\n",
    "site-packages/midlib-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: midlib\nVersion: 1\nRequires-Dist: tinydep\n",
    "site-packages/midlib-1.dist-info/RECORD": "midlib.py,,\n",
}
_EDITABLE = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib', 'src'))\nimport ownlib\ndef run(x):\n    return ownlib.go(x)\n"
_C = '#include <Python.h>\nstatic PyObject *go(PyObject *self, PyObject *arg) { return PyLong_FromLong(PyLong_AsLong(arg) + 1); }\nstatic PyMethodDef M[] = {{"go", go, METH_O, 0}, {0}};\nstatic struct PyModuleDef D = {PyModuleDef_HEAD_INIT, "fastc", 0, -1, M};\nPyMODINIT_FUNC PyInit_fastc(void) { return PyModule_Create(&D); }\n'
_BUILD = "import subprocess, sysconfig\nsubprocess.run(['cc', '-shared', '-fPIC', '-O0', '-I' + sysconfig.get_paths()['include'], 'fastc.c', '-o', 'fastc.so'], check=True)\n"
_SHARED = "import ctypes, os\nL = ctypes.CDLL(os.path.abspath('libown.so'))\ndef run(x):\n    return L.go(x)\n"
_BUILD_SHARED = "import subprocess\nsubprocess.run(['cc', '-shared', '-fPIC', '-O0', 'own.c', '-o', 'libown.so'], check=True)\n"
_DATA = {"data.txt": "one"}
_CSV = {"data.csv": "a,b\n1,2\n"}
_FRAME = "pl.DataFrame({'a': [%s]}).write_parquet('data.parquet')"
_SQL = "import sqlite3\nwith sqlite3.connect('own.db') as c:\n    c.execute('create table if not exists t (a)')\n    c.execute('delete from t')\n    c.execute('insert into t values (%s)')\nc.close()\n"

AROUND: dict[str, Case] = {
    "file read by open": edit("def run(x):\n    with open('data.txt') as f:\n        return f.read()\n", "one", "two", _DATA, "data.txt"),
    "file read by a path": edit(
        "from pathlib import Path\ndef run(x):\n    return Path('data.txt').read_text()\n", "one", "two", _DATA, "data.txt"
    ),
    "file beside the code": edit(
        "from pathlib import Path\nHERE = Path(__file__).parent\ndef run(x):\n    return (HERE / 'data.txt').read_bytes().decode()\n",
        "one",
        "two",
        _DATA,
        "data.txt",
    ),
    "file with time and size kept": edit(
        "def run(x):\n    with open('data.txt') as f:\n        return f.read()\n",
        "one",
        "two",
        _DATA,
        "data.txt",
        prepare="import os\nos.utime('data.txt', (1e9, 1e9))",
    ),
    "file read by a helper's module": edit(
        "import helper\ndef run(x):\n    return helper.load()\n",
        "one",
        "two",
        {**_DATA, "helper.py": "def load():\n    with open('data.txt') as f:\n        return f.read()\n"},
        "data.txt",
    ),
    "file read at import": edit(
        "with open('data.txt') as f:\n    TEXT = f.read()\ndel f\ndef run(x):\n    return TEXT\n", "one", "two", _DATA, "data.txt"
    ),
    "file whose name is an argument": edit(
        "def run(x):\n    with open(x) as f:\n        return f.read()\n", "one", "two", _DATA, "data.txt", args="'data.txt'"
    ),
    "configuration file": edit(
        "import configparser\ndef run(x):\n    c = configparser.ConfigParser()\n    c.read('own.ini')\n    return c['a']['k']\n",
        "k=1",
        "k=2",
        {"own.ini": "[a]\nk=1\n"},
        "own.ini",
    ),
    "configuration in TOML": edit(
        "import tomllib\ndef run(x):\n    with open('own.toml', 'rb') as f:\n        return tomllib.load(f)['k']\n",
        "k = 1",
        "k = 2",
        {"own.toml": "k = 1\n"},
        "own.toml",
    ),
    "file read by os.open": edit(
        "import os\ndef run(x):\n    h = os.open('data.txt', os.O_RDONLY)\n    try:\n        return os.read(h, 10)\n    finally:\n        os.close(h)\n",
        "one",
        "two",
        _DATA,
        "data.txt",
    ),
    "file mapped into memory": edit(
        "import mmap\ndef run(x):\n    with open('data.txt', 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:\n        return bytes(m)\n",
        "one",
        "two",
        _DATA,
        "data.txt",
    ),
    "file that appears": edit("import os\ndef run(x):\n    return os.path.exists('flag')\n", added={"flag": ""}),
    "file that goes away": edit("import os\ndef run(x):\n    return os.path.isfile('flag')\n", more={"flag": ""}, gone=("flag",)),
    "file that appears for a path": edit("from pathlib import Path\ndef run(x):\n    return Path('flag').exists()\n", added={"flag": ""}),
    "file that is tried": edit(
        "def run(x):\n    try:\n        with open('flag') as f:\n            return f.read()\n    except FileNotFoundError:\n        return 'none'\n",
        added={"flag": "there"},
    ),
    "file added to a folder": edit("import os\ndef run(x):\n    return sorted(os.listdir('d'))\n", more={"d/a": ""}, added={"d/b": ""}),
    "file added to what a pattern finds": edit(
        "from pathlib import Path\ndef run(x):\n    return sorted(p.name for p in Path('d').glob('*.txt'))\n",
        more={"d/a.txt": ""},
        added={"d/b.txt": ""},
    ),
    "file added to a walked folder": edit(
        "import os\ndef run(x):\n    return sorted(n for _, _, ns in os.walk('d') for n in ns)\n", more={"d/e/a": ""}, added={"d/e/b": ""}
    ),
    "file that a pattern finds and reads": edit(
        "import glob\ndef read(p):\n    with open(p) as f:\n        return f.read()\ndef run(x):\n    return [read(p) for p in sorted(glob.glob('d/*'))]\n",
        "one",
        "two",
        {"d/a": "one"},
        "d/a",
    ),
    "size of a file": edit("import os\ndef run(x):\n    return os.path.getsize('data.txt')\n", "one", "three", _DATA, "data.txt"),
    "CSV read by pandas": edit(
        "import pandas as pd\ndef run(x):\n    return pd.read_csv('data.csv')['a'].tolist()\n", "1,2", "3,2", _CSV, "data.csv"
    ),
    "CSV read by the library": edit(
        "import csv\ndef run(x):\n    with open('data.csv') as f:\n        return list(csv.reader(f))\n", "1,2", "3,2", _CSV, "data.csv"
    ),
    "CSV read by numpy": edit(
        "import numpy as np\ndef run(x):\n    return np.loadtxt('data.csv', delimiter=',', skiprows=1).tolist()\n",
        "1,2",
        "3,2",
        _CSV,
        "data.csv",
    ),
    "array read by numpy": edit(
        "import numpy as np\ndef run(x):\n    return np.load('a.npy').tolist()\n",
        prepare="np.save('a.npy', np.array([1]))",
        new_prepare="np.save('a.npy', np.array([2]))",
    ),
    "raw file read by numpy": edit(
        "import numpy as np\ndef run(x):\n    return np.fromfile('data.txt', 'u1').tolist()\n", "one", "two", _DATA, "data.txt"
    ),
    "CSV read by polars": edit(
        "import polars as pl\ndef run(x):\n    return pl.read_csv('data.csv')['a'].to_list()\n", "1,2", "3,2", _CSV, "data.csv"
    ),
    "CSV scanned by polars": edit(
        "import polars as pl\ndef run(x):\n    return pl.scan_csv('data.csv').collect()['a'].to_list()\n", "1,2", "3,2", _CSV, "data.csv"
    ),
    "Parquet read by polars": edit(
        "import polars as pl\ndef run(x):\n    return pl.read_parquet('data.parquet')['a'].to_list()\n",
        prepare=_FRAME % 1,
        new_prepare=_FRAME % 2,
    ),
    "Parquet scanned by polars": edit(
        "import polars as pl\ndef run(x):\n    return pl.scan_parquet('*.parquet').collect()['a'].to_list()\n",
        prepare=_FRAME % 1,
        new_prepare=_FRAME % 2,
    ),
    "Parquet read by pandas": edit(
        "import pandas as pd\ndef run(x):\n    return pd.read_parquet('data.parquet')['a'].tolist()\n",
        prepare=_FRAME % 1,
        new_prepare=_FRAME % 2,
    ),
    "Parquet read by pyarrow": edit(
        "import pyarrow.parquet as pq\ndef run(x):\n    return pq.read_table('data.parquet').to_pylist()\n",
        prepare=_FRAME % 1,
        new_prepare=_FRAME % 2,
    ),
    "row of SQLite": edit(
        "import sqlite3\ndef run(x):\n    with sqlite3.connect('own.db') as c:\n        got = c.execute('select a from t').fetchall()\n    c.close()\n    return got\n",
        prepare=_SQL % 1,
        new_prepare=_SQL % 2,
    ),
    "pickle of a plain value": edit(
        "import pickle\ndef run(x):\n    with open('p', 'rb') as f:\n        return pickle.load(f)\n",
        prepare="import pickle\nwith open('p', 'wb') as f:\n    pickle.dump([1], f)",
        new_prepare="import pickle\nwith open('p', 'wb') as f:\n    pickle.dump([2], f)",
    ),
    "class of a pickled object": edit(
        "import pickle\ndef run(x):\n    with open('p', 'rb') as f:\n        return pickle.load(f).go()\n",
        "return 1",
        "return 2",
        {"thing.py": "class T:\n    def go(self):\n        return 1\n"},
        "thing.py",
        prepare="import pickle, sys\nsys.path.insert(0, '.')\nimport thing\nwith open('p', 'wb') as f:\n    pickle.dump(thing.T(), f)",
    ),
    "compressed file": edit(
        "import gzip\ndef run(x):\n    with gzip.open('z.gz') as f:\n        return f.read()\n",
        prepare="import gzip\nwith gzip.open('z.gz', 'wb') as f:\n    f.write(b'one')",
        new_prepare="import gzip\nwith gzip.open('z.gz', 'wb') as f:\n    f.write(b'two')",
    ),
    "resource of a package": edit(
        "from importlib import resources\ndef run(x):\n    return resources.files('pkg').joinpath('r.txt').read_text()\n",
        "one",
        "two",
        {"pkg/__init__.py": "", "pkg/r.txt": "one"},
        "pkg/r.txt",
    ),
    "environment variable": edit(
        "import os\ndef run(x):\n    return os.environ['OWN']\n", variables={"OWN": "a"}, new_variables={"OWN": "b"}
    ),
    "environment variable by getenv": edit("import os\ndef run(x):\n    return os.getenv('OWN', 'none')\n", new_variables={"OWN": "b"}),
    "environment variable by a name": edit(
        "from os import environ\ndef run(x):\n    return environ.get('OWN')\n", variables={"OWN": "a"}, new_variables={"OWN": "b"}
    ),
    "environment variable at import": edit(
        "import os\nMODE = os.environ.get('OWN')\ndef run(x):\n    return MODE\n", variables={"OWN": "a"}, new_variables={"OWN": "b"}
    ),
    "environment variable asked for": edit("import os\ndef run(x):\n    return 'OWN' in os.environ\n", new_variables={"OWN": "b"}),
    "environment variable in a path": edit(
        "import os\ndef run(x):\n    return os.path.expandvars('$OWN/x')\n", variables={"OWN": "a"}, new_variables={"OWN": "b"}
    ),
    "all environment variables": edit(
        "import os\ndef run(x):\n    return dict(os.environ).get('OWN')\n", variables={"OWN": "a"}, new_variables={"OWN": "b"}
    ),
    "time zone of the process": edit(
        "import time, datetime\nif True:\n    time.tzset()\ndef run(x):\n    return datetime.datetime.fromtimestamp(0).isoformat()\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "module imported by a computed name": edit(
        "import importlib\ndef run(x, name='plug'):\n    return importlib.import_module(name + 'in').go(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "module imported by __import__": edit(
        "def run(x):\n    return __import__('plug' + 'in').go(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "module that is loaded already, by a computed name": edit(
        "import importlib\nimport plugin\ndel plugin\ndef run(x):\n    return importlib.import_module('plug' + 'in').go(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "module looked up in sys.modules": edit(
        "import sys\nimport plugin\ndel plugin\ndef run(x):\n    return sys.modules['plugin'].go(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "name resolved from text": edit(
        "import pkgutil\ndef run(x):\n    return pkgutil.resolve_name('plugin:go')(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "name located from text": edit(
        "import pydoc\ndef run(x):\n    return pydoc.locate('plugin.go')(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "module run from its path": edit(
        "import runpy\ndef run(x):\n    return runpy.run_path('script.py')['V']\n", "V = 1", "V = 2", {"script.py": "V = 1\n"}, "script.py"
    ),
    "module loaded from its path": edit(
        "import importlib.util\ndef run(x):\n    spec = importlib.util.spec_from_file_location('script', 'script.py')\n    module = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n    return module.V\n",
        "V = 1",
        "V = 2",
        {"script.py": "V = 1\n"},
        "script.py",
    ),
    "code read and executed": edit(
        "def run(x):\n    space = {}\n    with open('script.py') as f:\n        exec(f.read(), space)\n    return space['V']\n",
        "V = 1",
        "V = 2",
        {"script.py": "V = 1\n"},
        "script.py",
    ),
    "plug-ins of a folder": edit(
        "import importlib, pkgutil, plugs\ndef run(x):\n    return [importlib.import_module('plugs.' + m.name).V for m in pkgutil.iter_modules(plugs.__path__)]\n",
        more={"plugs/__init__.py": "", "plugs/a.py": "V = 1\n"},
        added={"plugs/b.py": "V = 2\n"},
    ),
    "callable named in a configuration": edit(
        "import json, importlib\ndef run(x):\n    with open('c.json') as f:\n        m, n = json.load(f)['call'].split(':')\n    return getattr(importlib.import_module(m), n)(x)\n",
        "x + 1",
        "x + 2",
        {"c.json": '{"call": "plugin:go"}', "plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "method found by getattr on a module by name": edit(
        "import operator, plugin\ndef run(x):\n    return operator.attrgetter('g' + 'o')(plugin)(x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def go(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "globals of a helper": edit(
        "import plugin\ndef run(x):\n    return plugin.one.__globals__['two'](x)\n",
        "x + 1",
        "x + 2",
        {"plugin.py": "def one():\n    pass\ndef two(x):\n    return x + 1\n"},
        "plugin.py",
    ),
    "version of a package": edit(
        _THIRD,
        "Version: 1.0",
        "Version: 1.1",
        _package("1.0", "import os\nfrom importlib.metadata import version\ndef go(x):\n    return version('tinydep')\n"),
        "site-packages/tinydep-1.dist-info/METADATA",
    ),
    "upgrade of a package": edit(_THIRD, more=_package("1.0"), added=_package("1.1", "def go(x):\n    return -x\n")),
    "upgrade of a package of the body": edit(_LATE, more=_package("1.0"), added=_package("1.1", "def go(x):\n    return -x\n")),
    "upgrade of what a package requires": edit(
        _THIRD.replace("tinydep", "midlib"), more=_UNDER, added=_package("1.1", "def go(x):\n    return -x\n")
    ),
    "package without metadata": edit(
        _THIRD, "return x", "return -x", {"site-packages/tinydep.py": "def go(x):\n    return x\n"}, "site-packages/tinydep.py"
    ),
    "package built from a folder": edit(
        _THIRD,
        more={**_package("1.0"), "site-packages/tinydep-1.dist-info/direct_url.json": "{}"},
        added={
            "site-packages/tinydep.py": "def go(x):\n    return -x\n",
            "site-packages/tinydep-1.dist-info/RECORD": "tinydep.py,sha256=new,9\n",
        },
    ),
    "editable install": edit(
        _EDITABLE,
        "return x",
        "return -x",
        {"lib/src/ownlib/__init__.py": "from ownlib.inner import go\n", "lib/src/ownlib/inner.py": "def go(x):\n    return x\n"},
        "lib/src/ownlib/inner.py",
    ),
    "compiled module": edit(
        "import fastc\ndef run(x):\n    return fastc.go(x)\n", "+ 1", "+ 2", {"fastc.c": _C}, "fastc.c", prepare=_BUILD
    ),
    "compiled function": edit(
        "from fastc import go\ndef run(x):\n    return go(x)\n", "+ 1", "+ 2", {"fastc.c": _C}, "fastc.c", prepare=_BUILD
    ),
    "shared library": edit(_SHARED, "x + 1", "x + 2", {"own.c": "int go(int x) { return x + 1; }\n"}, "own.c", prepare=_BUILD_SHARED),
    "shared library of the body": edit(
        "import ctypes, os\ndef run(x):\n    return ctypes.CDLL(os.path.abspath('libown.so')).go(x)\n",
        "x + 1",
        "x + 2",
        {"own.c": "int go(int x) { return x + 1; }\n"},
        "own.c",
        prepare=_BUILD_SHARED,
    ),
    "output of a child process": edit(
        "import subprocess\ndef run(x):\n    return subprocess.run(['cat', 'data.txt'], capture_output=True, text=True).stdout\n",
        "one",
        "two",
        _DATA,
        "data.txt",
    ),
    "output of a shell": edit(
        "import os\ndef run(x):\n    with os.popen('cat data.txt') as p:\n        return p.read()\n", "one", "two", _DATA, "data.txt"
    ),
    "folder that code runs in": edit(
        "import os\ndef run(x):\n    return os.path.basename(os.getcwd()) == 'project' and sorted(os.listdir('.'))[-1]\n", added={"zzz": ""}
    ),
    "file read in a thread": edit(
        "import threading\ndef run(x):\n    out = []\n    def work():\n        with open('data.txt') as f:\n            out.append(f.read())\n    t = threading.Thread(target=work)\n    t.start()\n    t.join()\n    return out\n",
        "one",
        "two",
        _DATA,
        "data.txt",
    ),
    "file read in a pool of threads": edit(
        "from concurrent.futures import ThreadPoolExecutor\ndef read(p):\n    with open(p) as f:\n        return f.read()\ndef run(x):\n    with ThreadPoolExecutor(1) as pool:\n        return list(pool.map(read, ['data.txt']))\n",
        "one",
        "two",
        _DATA,
        "data.txt",
    ),
    "link to a file": edit(
        "def run(x):\n    with open('link') as f:\n        return f.read()\n",
        "one",
        "two",
        _DATA,
        "data.txt",
        prepare="import os\nif not os.path.islink('link'):\n    os.symlink('data.txt', 'link')",
    ),
    "target of a link": edit(
        "def run(x):\n    with open('link') as f:\n        return f.read()\n",
        more={"a": "one", "b": "two"},
        prepare="import os\nos.symlink('a', 'link')",
        new_prepare="import os\nos.remove('link')\nos.symlink('b', 'link')",
    ),
}
