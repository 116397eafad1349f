# ruff: noqa: E501
"""Edits of what readers, registries and settings take in beside the code, by ways that are not the plain ones."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_TEXT = {"data.txt": "one"}
_CSV = {"d/data.csv": "a,b\n1,2\n"}
_PARQUET = "import polars as pl, os\nos.makedirs('d', exist_ok=True)\npl.DataFrame({'a': [%s]}).write_parquet('d/%s.parquet')"
_OPENED = "def run(x):\n    return %s\n"
_SQL = "import sqlite3, contextlib\nwith contextlib.closing(sqlite3.connect('own.db')) as c, c:\n    c.execute('drop table if exists t')\n    c.execute('create table t (a)')\n    c.execute('insert into t values (%s)')\n"
_KIT = {"kit/__init__.py": "", "kit/data.json": '{"k": 1}'}


def _reads(body: str, imports: str = "", **rest: object) -> Case:
    """Return a case whose step reads ``data.txt`` by an expression."""
    return edit(f"{imports}\n{_OPENED % body}", "one", "two", _TEXT, "data.txt", **rest)


READERS: dict[str, Case] = {
    # --- files ---
    "file by codecs": _reads("codecs.open('data.txt', encoding='utf-8').read()", "import codecs"),
    "file by io": _reads("io.FileIO('data.txt').readall().decode()", "import io"),
    "file by fileinput": _reads("list(fileinput.input('data.txt'))", "import fileinput"),
    "file by shutil": edit(
        "import shutil\ndef run(x):\n    shutil.copy('data.txt', 'copy.txt')\n    with open('copy.txt') as f:\n        return f.read()\n",
        "one",
        "two",
        _TEXT,
        "data.txt",
    ),
    "file by runpy's neighbour": _reads("tokenize.open('data.txt').read()", "import tokenize"),
    "file by linecache": _reads("linecache.getline('data.txt', 1)", "import linecache"),
    "file by map": edit("def run(x):\n    return [f.read() for f in map(open, ['data.txt'])]\n", "one", "two", _TEXT, "data.txt"),
    "file by a partial": edit(
        "import functools\nread = functools.partial(open, mode='rb')\ndef run(x):\n    with read('data.txt') as f:\n        return f.read().decode()\n",
        "one",
        "two",
        _TEXT,
        "data.txt",
    ),
    "file by a class's reader": edit(
        "class R:\n    reader = staticmethod(open)\n    def go(self, p):\n        with self.reader(p) as f:\n            return f.read()\ndef run(x):\n    return R().go('data.txt')\n",
        "one",
        "two",
        _TEXT,
        "data.txt",
    ),
    "file compared": edit(
        "import filecmp\ndef run(x):\n    filecmp.clear_cache()\n    return filecmp.cmp('data.txt', 'other.txt', shallow=False)\n",
        "one",
        "two",
        {**_TEXT, "other.txt": "two"},
        "data.txt",
    ),
    "file of netrc": edit(
        "import netrc\ndef run(x):\n    return netrc.netrc('data.txt').hosts\n",
        "login one",
        "login two",
        {"data.txt": "machine a login one password p\n"},
        "data.txt",
    ),
    "property list": edit(
        "import plistlib\ndef run(x):\n    with open('d.plist', 'rb') as f:\n        return plistlib.load(f)\n",
        "<integer>1",
        "<integer>2",
        {"d.plist": '<?xml version="1.0"?><plist version="1.0"><dict><key>a</key><integer>1</integer></dict></plist>'},
        "d.plist",
    ),
    "XML": edit(
        "import xml.etree.ElementTree as e\ndef run(x):\n    return e.parse('d.xml').getroot().text\n",
        "one",
        "two",
        {"d.xml": "<a>one</a>"},
        "d.xml",
    ),
    "archive": edit(
        "import zipfile\ndef run(x):\n    return zipfile.ZipFile('d.zip').read('a').decode()\n",
        prepare="import zipfile\nzipfile.ZipFile('d.zip', 'w').writestr('a', 'one')",
        new_prepare="import zipfile\nzipfile.ZipFile('d.zip', 'w').writestr('a', 'two')",
    ),
    "path in an archive": edit(
        "import zipfile\ndef run(x):\n    return (zipfile.Path('d.zip') / 'a').read_text()\n",
        prepare="import zipfile\nzipfile.ZipFile('d.zip', 'w').writestr('a', 'one')",
        new_prepare="import zipfile\nzipfile.ZipFile('d.zip', 'w').writestr('a', 'two')",
    ),
    "tar archive": edit(
        "import tarfile\ndef run(x):\n    with tarfile.open('d.tar') as t:\n        return t.extractfile('data.txt').read().decode()\n",
        "one",
        "two",
        _TEXT,
        "data.txt",
        prepare="import tarfile\nt = tarfile.open('d.tar', 'w')\nt.add('data.txt')\nt.close()",
    ),
    "shelf": edit(
        "import dbm.dumb\ndef run(x):\n    with dbm.dumb.open('d', 'r') as d:\n        return d['a'].decode()\n",
        prepare="import dbm.dumb\nwith dbm.dumb.open('d', 'n') as d:\n    d['a'] = 'one'",
        new_prepare="import dbm.dumb\nwith dbm.dumb.open('d', 'n') as d:\n    d['a'] = 'two'",
    ),
    "CSV of a module's reader": edit(
        "import csv\ndef run(x):\n    with open('d/data.csv', newline='') as f:\n        return list(csv.DictReader(f))\n",
        "1,2",
        "1,3",
        _CSV,
        "d/data.csv",
    ),
    "CSV of numpy with names": edit(
        "import numpy as np\ndef run(x):\n    return np.genfromtxt('d/data.csv', delimiter=',', names=True)['b'].tolist()\n",
        "1,2",
        "1,3",
        _CSV,
        "d/data.csv",
    ),
    "JSON lines by polars": edit(
        "import polars as pl\ndef run(x):\n    return pl.read_ndjson('d.ndjson').rows()\n", "1", "2", {"d.ndjson": '{"a": 1}\n'}, "d.ndjson"
    ),
    "CSV by polars under another name": edit(
        "from polars import read_csv as take\ndef run(x):\n    return take('d/data.csv').rows()\n", "1,2", "1,3", _CSV, "d/data.csv"
    ),
    "CSV by polars under another name in the body": edit(
        "def run(x):\n    from polars import read_csv as take\n    return take('d/data.csv').rows()\n", "1,2", "1,3", _CSV, "d/data.csv"
    ),
    "CSV by a reader in a table": edit(
        "import polars as pl\nHOW = {'csv': pl.read_csv}\ndef run(x):\n    return HOW['csv']('d/data.csv').rows()\n",
        "1,2",
        "1,3",
        _CSV,
        "d/data.csv",
    ),
    "CSV by a reader found by name": edit(
        "import polars as pl\ndef run(x):\n    return getattr(pl, 'read_' + 'csv')('d/data.csv').rows()\n", "1,2", "1,3", _CSV, "d/data.csv"
    ),
    "CSV by a reader that is an argument": edit(
        "import polars as pl\ndef go(how):\n    return how('d/data.csv').rows()\ndef run(x):\n    return go(pl.read_csv)\n",
        "1,2",
        "1,3",
        _CSV,
        "d/data.csv",
    ),
    "CSV by a mapped reader": edit(
        "import polars as pl\ndef run(x):\n    return [f.rows() for f in map(pl.read_csv, ['d/data.csv'])]\n",
        "1,2",
        "1,3",
        _CSV,
        "d/data.csv",
    ),
    "CSV of a folder by polars": edit(
        "import polars as pl\ndef run(x):\n    return pl.scan_csv('d/').collect().rows()\n", more=_CSV, added={"d/more.csv": "a,b\n3,4\n"}
    ),
    "Parquet of a folder": edit(
        "import polars as pl\ndef run(x):\n    return sorted(pl.read_parquet('d/').rows())\n",
        prepare=_PARQUET % (1, "a"),
        new_prepare=_PARQUET % (1, "a") + "\n" + _PARQUET % (2, "b"),
    ),
    "Parquet of a partitioned folder": edit(
        "import polars as pl\ndef run(x):\n    return pl.scan_parquet('d/**/*.parquet').collect()['a'].to_list()\n",
        prepare="import os\nos.makedirs('d/k=1', exist_ok=True)\n" + _PARQUET % (1, "k=1/a"),
        new_prepare=_PARQUET % (2, "k=1/a"),
    ),
    "Parquet by a data set of Arrow": edit(
        "import pyarrow.dataset as ds\ndef run(x):\n    return ds.dataset('d').to_table().to_pylist()\n",
        prepare=_PARQUET % (1, "a"),
        new_prepare=_PARQUET % (2, "a"),
    ),
    "schema of a Parquet file": edit(
        "import polars as pl\ndef run(x):\n    return str(pl.read_parquet_schema('d/a.parquet'))\n",
        prepare=_PARQUET % ("1", "a"),
        new_prepare=_PARQUET % ("'1'", "a"),
    ),
    "row of SQLite by pandas": edit(
        "import contextlib, sqlite3\nimport pandas as pd\ndef run(x):\n    with contextlib.closing(sqlite3.connect('own.db')) as c:\n        return int(pd.read_sql('select a from t', c)['a'][0])\n",
        prepare=_SQL % 1,
        new_prepare=_SQL % 2,
    ),
    "row of SQLite by an address": edit(
        "import contextlib, sqlite3\ndef run(x):\n    with contextlib.closing(sqlite3.connect('file:own.db?mode=ro', uri=True)) as c:\n        return c.execute('select a from t').fetchall()\n",
        prepare=_SQL % 1,
        new_prepare=_SQL % 2,
    ),
    "row of SQLite by SQLAlchemy": edit(
        "import sqlalchemy as sa\ndef run(x):\n    e = sa.create_engine('sqlite:///own.db')\n    with e.connect() as c:\n        found = c.execute(sa.text('select a from t')).scalar()\n    e.dispose()\n    return found\n",
        prepare=_SQL % 1,
        new_prepare=_SQL % 2,
    ),
    "resource of the step's own package": edit(
        "import importlib.resources as r, json\ndef run(x):\n    return json.loads(r.files('kit').joinpath('data.json').read_text())\n",
        '"k": 1',
        '"k": 2',
        _KIT,
        "kit/data.json",
    ),
    "resource by a context": edit(
        "import importlib.resources as r\ndef run(x):\n    with r.as_file(r.files('kit') / 'data.json') as p:\n        return p.read_text()\n",
        '"k": 1',
        '"k": 2',
        _KIT,
        "kit/data.json",
    ),
    "names of a package's resources": edit(
        "import importlib.resources as r\ndef run(x):\n    return sorted(p.name for p in r.files('kit').iterdir() if p.name.endswith('.json'))\n",
        more=_KIT,
        added={"kit/more.json": "{}"},
    ),
    "logging configured by a file at import": edit(
        "import json, logging.config\nwith open('log.json') as f:\n    logging.config.dictConfig(json.load(f))\ndel f\ndef run(x):\n    return logging.getLogger('own').getEffectiveLevel()\n",
        "INFO",
        "ERROR",
        {"log.json": '{"version": 1, "loggers": {"own": {"level": "INFO"}}}'},
        "log.json",
    ),
    # --- links and folders ---
    "link of a folder": edit(
        "from pathlib import Path\ndef run(x):\n    return Path('now/a').read_text()\n",
        more={"d1/a": "1", "d2/a": "2"},
        prepare="import os\nif os.path.islink('now'): os.unlink('now')\nos.symlink('d1', 'now')",
        new_prepare="import os\nif os.path.islink('now'): os.unlink('now')\nos.symlink('d2', 'now')",
    ),
    "name of a resolved link": edit(
        "from pathlib import Path\ndef run(x):\n    return Path('now').resolve().name\n",
        more={"d1/a": "1", "d2/a": "2"},
        prepare="import os\nif os.path.islink('now'): os.unlink('now')\nos.symlink('d1', 'now')",
        new_prepare="import os\nif os.path.islink('now'): os.unlink('now')\nos.symlink('d2', 'now')",
    ),
    "newest file by its time": edit(
        "from pathlib import Path\ndef run(x):\n    return max(Path('d').iterdir(), key=lambda p: p.stat().st_mtime).name\n",
        more={"d/a": "1", "d/b": "2"},
        prepare="import os\nos.utime('d/a', (5, 5))\nos.utime('d/b', (6, 6))",
        new_prepare="import os\nos.utime('d/a', (7, 7))\nos.utime('d/b', (6, 6))",
    ),
    "newest file by a mapped function": edit(
        "import os\ndef run(x):\n    return max(['d/a', 'd/b'], key=os.path.getmtime)\n",
        more={"d/a": "1", "d/b": "2"},
        prepare="import os\nos.utime('d/a', (5, 5))\nos.utime('d/b', (6, 6))",
        new_prepare="import os\nos.utime('d/a', (7, 7))\nos.utime('d/b', (6, 6))",
    ),
    "names in the current folder": edit(
        "import os\ndef run(x):\n    return sorted(n for n in os.listdir() if n.endswith('.me'))\n", added={"a.me": ""}
    ),
    "names of a folder by its bytes": edit(
        "import os\ndef run(x):\n    return sorted(os.listdir(b'd'))\n", more={"d/a": ""}, added={"d/b": ""}
    ),
    "walk by pathlib": edit(
        "from pathlib import Path\ndef run(x):\n    return sorted(p.name for p in Path('d').rglob('*'))\n",
        more={"d/e/a": ""},
        added={"d/e/b": ""},
    ),
    # --- variables and the process ---
    "variable by a chain of maps": edit(
        "import collections, os\ndef run(x):\n    return collections.ChainMap({}, os.environ)['RATE']\n",
        variables={"RATE": "1"},
        new_variables={"RATE": "2"},
    ),
    "variable by bytes": edit(
        "import os\ndef run(x):\n    return os.getenvb(b'RATE').decode()\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "variable by a setdefault": edit(
        "import os\ndef run(x):\n    return os.environ.setdefault('RATE', '3')\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "variable by a prefix": edit(
        "import os\ndef run(x):\n    return {k: v for k, v in os.environ.items() if k.startswith('RATE_')}\n",
        variables={"RATE_A": "1"},
        new_variables={"RATE_A": "2"},
    ),
    "variable as a default": edit(
        "import os\ndef run(x, k=os.environ.get('RATE')):\n    return k\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "variable of pydantic's validation": edit(
        "import os, pydantic\nclass S(pydantic.BaseModel):\n    rate: int = pydantic.Field(default_factory=lambda: int(os.environ['RATE']))\ndef run(x):\n    return S().rate\n",
        variables={"RATE": "1"},
        new_variables={"RATE": "2"},
    ),
    "home of the user": edit(
        "import os\ndef run(x):\n    return os.path.expanduser('~')\n", variables={"HOME": "/a"}, new_variables={"HOME": "/b"}
    ),
    "variable mapped": edit(
        "import os\ndef run(x):\n    return list(map(os.environ.get, ['RATE']))\n", variables={"RATE": "1"}, new_variables={"RATE": "2"}
    ),
    "variable in a configuration": edit(
        "import configparser, os\ndef run(x):\n    c = configparser.ConfigParser(os.environ, interpolation=None)\n    return c.get('DEFAULT', 'RATE')\n",
        variables={"RATE": "1"},
        new_variables={"RATE": "2"},
    ),
    # --- modules and registries ---
    "path of modules that the step extends": edit(
        "import sys\nsys.path.insert(0, 'own')\ndef run(x):\n    import deep\n    return deep.K\n",
        "K = 1",
        "K = 2",
        {"own/deep.py": "K = 1\n"},
        "own/deep.py",
    ),
    "module in an earlier folder": edit(
        "import sys\nsys.path[:0] = ['first', 'own']\ndef run(x):\n    import deep2\n    return deep2.K\n",
        more={"own/deep2.py": "K = 1\n", "first/z.py": ""},
        added={"first/deep2.py": "K = 2\n"},
    ),
    "getattr of a module in the body": edit(
        "def run(x):\n    import lazy\n    return lazy.K\n",
        "return 1",
        "return 2",
        {"lazy.py": "def __getattr__(n):\n    return 1\n"},
        "lazy.py",
    ),
    "filter of warnings": edit(
        "import warnings\nwarnings.simplefilter('ignore')\ndef run(x):\n    try:\n        warnings.warn('a')\n    except UserWarning:\n        return 'raised'\n    return 'passed'\n",
        "'ignore'",
        "'error'",
    ),
    "option of polars": edit(
        "import polars as pl\npl.Config.set_tbl_rows(2)\ndef run(x):\n    return str(pl.DataFrame({'a': range(9)}))\n", "rows(2)", "rows(3)"
    ),
    "handler of a logger": edit(
        "import logging\nseen = []\nclass H(logging.Handler):\n    def emit(self, r):\n        seen.append(r.getMessage() + '1')\nlogging.getLogger('q').addHandler(H())\ndef run(x):\n    seen.clear()\n    logging.getLogger('q').error('a')\n    return list(seen)\n",
        "+ '1'",
        "+ '2'",
    ),
    "default factory of json": edit(
        "import json\nclass E(json.JSONEncoder):\n    def default(self, o):\n        return 1\ndef run(x):\n    return json.dumps({'a': {1}}, cls=E)\n",
        "return 1",
        "return 2",
    ),
    "registered reducer": edit(
        "import copyreg, copy\nclass A:\n    pass\ndef red(a):\n    return (int, (1,))\ncopyreg.pickle(A, red)\ndef run(x):\n    return copy.copy(A())\n",
        "(int, (1,))",
        "(int, (2,))",
    ),
    "exit stack's callback": edit(
        "import contextlib\nout = []\ndef done():\n    out.append(1)\ndef run(x):\n    out.clear()\n    with contextlib.ExitStack() as s:\n        s.callback(done)\n    return list(out)\n",
        "append(1)",
        "append(2)",
    ),
}
