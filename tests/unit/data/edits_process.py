# ruff: noqa: E501
"""Edits of what a process has around its code: settings that imports make in roundabout ways, variables, paths, files and what is installed."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_PREC = "def run(x):\n    return str(decimal.Decimal(1) / 7)\n"


def _sets(how: str, old: str = "prec = 3", new: str = "prec = 4", more: dict[str, str] | None = None, file: str = "steps.py") -> Case:
    """Return a case in which importing ``steps`` sets the precision of decimals."""
    return edit(f"import decimal\n{how}{_PREC}", old, new, more, file)


_SET_BY_CALL = "lambda: setattr(decimal.getcontext(), 'prec', 3)"
_METADATA = "Metadata-Version: 2.1\nName: tinydep\nVersion: %s\n"
_INSTALLED = {
    "site-packages/tinydep.py": "K = 1\n",
    "site-packages/tinydep-1.dist-info/METADATA": _METADATA % "1.0",
    "site-packages/tinydep-1.dist-info/RECORD": "tinydep.py,,\ntinydep-1.dist-info/METADATA,,\n",
}
_PATH = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site-packages'))\n"
_ENTRY = {**_INSTALLED, "site-packages/tinydep-1.dist-info/entry_points.txt": "[own.plugs]\none = plug:K\n", "plug.py": "K = 1\n"}
_ZIP = "import zipfile\nwith zipfile.ZipFile('kit.zip', 'w') as z:\n    z.writestr('kit/__init__.py', 'K = 1')\n    z.writestr('kit/d.txt', '%s')"
_TAR = "import io, tarfile\nwith tarfile.open('a.tar.%s', 'w:%s') as t:\n    i = tarfile.TarInfo('a')\n    i.size = 1\n    t.addfile(i, io.BytesIO(b'%s'))"
_MO = "import struct\nm, s = b'hello', b'%s'\nopen_ = open\nimport os\nos.makedirs('loc/%s/LC_MESSAGES', exist_ok=True)\nwith open_('loc/%s/LC_MESSAGES/app.mo', 'wb') as f:\n    f.write(struct.pack('<7I', 0x950412de, 0, 1, 28, 36, 7, 44) + struct.pack('<2I', len(m), 44) + struct.pack('<2I', len(s), 50) + m + b'\\0' + s + b'\\0')"

PROCESS: dict[str, Case] = {
    # --- settings of the process, made by importing ---
    "setting in the body of a class": _sets("class Setup:\n    decimal.getcontext().prec = 3\n"),
    "setting in the body of a class of another module": _sets(
        "import conf\n",
        more={"conf.py": "import decimal\nclass Setup:\n    context = decimal.getcontext()\n    context.prec = 3\n"},
        file="conf.py",
    ),
    "setting by map": _sets("list(map(lambda n: setattr(decimal.getcontext(), 'prec', n), [3]))\n", "[3]", "[4]"),
    "setting by a comprehension": _sets("[setattr(decimal.getcontext(), 'prec', n) for n in (3,)]\n", "(3,)", "(4,)"),
    "setting by a lambda in a table": _sets(f"SETUP = {{'a': {_SET_BY_CALL}}}\nSETUP['a']()\n", "'prec', 3", "'prec', 4"),
    "setting by a decorated function": _sets(
        "import functools\ndef told(f):\n    @functools.wraps(f)\n    def call(*args):\n        return f(*args)\n    return call\n@told\ndef setup():\n    decimal.getcontext().prec = 3\nsetup()\n"
    ),
    "setting by a called object": _sets(
        "class Setup:\n    def __call__(self):\n        decimal.getcontext().prec = 3\nsetup = Setup()\nsetup()\n"
    ),
    "setting by a method that a method calls": _sets(
        "class Setup:\n    def __init__(self):\n        self.apply()\n    def apply(self):\n        decimal.getcontext().prec = 3\nSetup()\n"
    ),
    "setting by a method of a local": _sets(
        "class Setup:\n    def apply(self):\n        decimal.getcontext().prec = 3\ndef main():\n    made = Setup()\n    made.apply()\nmain()\n"
    ),
    "setting by a property's setter": _sets(
        "class Setup:\n    @property\n    def prec(self):\n        return 0\n    @prec.setter\n    def prec(self, value):\n        decimal.getcontext().prec = value\nsetup = Setup()\nsetup.prec = 3\n",
        "setup.prec = 3",
        "setup.prec = 4",
    ),
    "setting by an item": _sets(
        "class Setup:\n    def __setitem__(self, name, value):\n        setattr(decimal.getcontext(), name, value)\nSETUP = Setup()\nSETUP['prec'] = 3\n",
        "= 3\ndef",
        "= 4\ndef",
    ),
    "setting by a context at import": _sets(
        "class Setup:\n    def __enter__(self):\n        decimal.getcontext().prec = 3\n    def __exit__(self, *error):\n        pass\nwith Setup():\n    pass\n"
    ),
    "setting by a generator": _sets("def setup():\n    decimal.getcontext().prec = 3\n    yield\nnext(setup())\n"),
    "setting by an operator": _sets(
        "class Setup:\n    def __lshift__(self, n):\n        decimal.getcontext().prec = n\nSetup() << 3\n", "<< 3", "<< 4"
    ),
    "setting by a base's init_subclass": _sets(
        "class Base:\n    def __init_subclass__(cls, prec):\n        decimal.getcontext().prec = prec\nclass Setup(Base, prec=3):\n    pass\n",
        "prec=3",
        "prec=4",
    ),
    "setting by a metaclass": _sets(
        "class M(type):\n    def __init__(cls, name, bases, space):\n        super().__init__(name, bases, space)\n        decimal.getcontext().prec = cls.n\nclass Setup(metaclass=M):\n    n = 3\n",
        "n = 3",
        "n = 4",
    ),
    "setting by a descriptor's name": _sets(
        "class D:\n    def __set_name__(self, owner, name):\n        decimal.getcontext().prec = len(name)\nclass Setup:\n    abc = D()\n",
        "abc = D()",
        "abcd = D()",
    ),
    "setting by a decorator": _sets(
        "def precise(n):\n    decimal.getcontext().prec = n\n    return lambda f: f\n@precise(3)\ndef unused():\n    pass\n", "(3)", "(4)"
    ),
    "setting by a default": _sets(
        "def prec(n):\n    decimal.getcontext().prec = n\n    return n\ndef unused(a=prec(3)):\n    pass\n", "prec(3)", "prec(4)"
    ),
    "setting by a function in an alias": _sets("c = decimal.getcontext\nc().prec = 3\n"),
    "setting by an executed text": _sets("exec('decimal.getcontext().prec = 3')\n"),
    "setting by a loop over a table": _sets(
        "for name, value in {'prec': 3}.items():\n    setattr(decimal.getcontext(), name, value)\n", ": 3}", ": 4}"
    ),
    "setting by a context that is set": _sets("decimal.setcontext(decimal.Context(prec=3))\n", "prec=3", "prec=4"),
    "setting by a context that stays": _sets("scope = decimal.localcontext(prec=3)\nscope.__enter__()\n", "prec=3", "prec=4"),
    "traps of decimals": edit(
        "import decimal\ndecimal.getcontext().traps[decimal.DivisionByZero] = True\ndef run(x):\n    try:\n        return str(decimal.Decimal(1) / 0)\n    except decimal.DivisionByZero:\n        return 'raised'\n",
        "= True",
        "= False",
    ),
    "dialect that is registered": edit(
        "import csv\ncsv.register_dialect('own', delimiter=';')\ndef run(x):\n    return list(csv.reader(['a;b|c'], 'own'))\n", "';'", "'|'"
    ),
    "greatest field of CSV": edit(
        "import csv\ncsv.field_size_limit(10)\ndef run(x):\n    try:\n        return list(csv.reader(['a' * 15]))\n    except csv.Error:\n        return 'long'\n",
        "(10)",
        "(20)",
    ),
    "error handler of codecs": edit(
        "import codecs\ncodecs.register_error('own', lambda e: ('?', e.end))\ndef run(x):\n    return 'é'.encode('ascii', 'own')\n",
        "'?'",
        "'!'",
    ),
    "kind of file by its name": edit(
        "import mimetypes\nmimetypes.add_type('a/b', '.own')\ndef run(x):\n    return mimetypes.guess_type('f.own')[0]\n", "a/b", "a/c"
    ),
    "level of logging that an import sets": edit(
        "import logging, conf\ndef run(x):\n    return logging.getLogger('own').level\n",
        "30",
        "40",
        {"conf.py": "import logging\nlogging.getLogger('own').setLevel(30)\n"},
        "conf.py",
    ),
    "level of logging that decides what is written": edit(
        "import io, logging, conf\ndef run(x):\n    out = io.StringIO()\n    log = logging.getLogger('own')\n    log.propagate = False\n    handler = logging.StreamHandler(out)\n    log.addHandler(handler)\n    log.warning('a')\n    return out.getvalue()\n",
        "30",
        "40",
        {"conf.py": "import logging\nlogging.getLogger('own').setLevel(30)\n"},
        "conf.py",
    ),
    "handler of the user's that keeps": edit(
        "import logging\nclass Keep(logging.Handler):\n    def __init__(self):\n        super().__init__()\n        self.kept = []\n    def emit(self, record):\n        self.kept.append(record.getMessage())\nlogging.getLogger('own').setLevel(logging.WARNING)\nlogging.getLogger('own').propagate = False\ndef run(x):\n    keep = Keep()\n    logging.getLogger('own').addHandler(keep)\n    logging.getLogger('own').warning('a')\n    return keep.kept\n",
        "setLevel(logging.WARNING)",
        "setLevel(logging.ERROR)",
    ),
    "levels that are switched off": edit(
        "import logging\nlogging.disable(logging.NOTSET)\ndef run(x):\n    return logging.getLogger('own').isEnabledFor(40)\n",
        "NOTSET",
        "CRITICAL",
    ),
    "builtin that is added": edit("import builtins\nbuiltins.rate = 2\ndef run(x):\n    return rate * x\n", "rate = 2", "rate = 3"),
    "import that is replaced": edit(
        "import sys, types\nsys.modules['colorsys'] = types.SimpleNamespace(K=1)\ndef run(x):\n    import colorsys\n    return colorsys.K\n",
        "K=1",
        "K=2",
    ),
    "library patched through its dict": edit(
        "import json\nvars(json)['dumps'] = lambda v: 'one'\ndef run(x):\n    return json.dumps(x)\n", "'one'", "'two'"
    ),
    "library patched by update": edit(
        "import json\njson.__dict__.update(dumps=lambda v: 'one')\ndef run(x):\n    return json.dumps(x)\n", "'one'", "'two'"
    ),
    "library patched by a mock": edit(
        "import json\nfrom unittest import mock\nmock.patch('json.dumps', lambda v: 'one').start()\ndef run(x):\n    return json.dumps(x)\n",
        "'one'",
        "'two'",
    ),
    "library's method patched by a helper in a loop": edit(
        "import textwrap\ndef swap(owner, **names):\n    for name, value in names.items():\n        setattr(owner, name, value)\nswap(textwrap, shorten=lambda *a: 'one')\ndef run(x):\n    return textwrap.shorten('a b', 1)\n",
        "'one'",
        "'two'",
    ),
    "library's default argument": edit(
        "import textwrap\ntextwrap.TextWrapper.__init__.__defaults__ = (4, *textwrap.TextWrapper.__init__.__defaults__[1:])\ndef run(x):\n    return textwrap.TextWrapper().width\n",
        "(4,",
        "(5,",
    ),
    "library's table": edit(
        "import html.entities\nhtml.entities.name2codepoint['own'] = 65\ndef run(x):\n    return html.entities.name2codepoint['own']\n",
        "65",
        "66",
    ),
    "environment set by an import": edit("import os\nos.environ['OWN'] = 'a'\ndef run(x):\n    return os.environ['OWN']\n", "'a'", "'b'"),
    "default of a variable set by an import": edit(
        "import os, conf\ndef run(x):\n    return os.environ.get('OWN')\n",
        "'a'",
        "'b'",
        {"conf.py": "import os\nos.environ.setdefault('OWN', 'a')\n"},
        "conf.py",
    ),
    "folder that an import goes to": edit(
        "import os\nos.chdir('d')\ndef run(x):\n    with open('f') as f:\n        return f.read()\n", "'d'", "'e'", {"d/f": "1", "e/f": "2"}
    ),
    # --- variables and the interpreter ---
    "path of modules that is read": edit("import sys\nsys.path.append('/one')\ndef run(x):\n    return sys.path[-1]\n", "/one", "/two"),
    "path of modules that is walked": edit(
        "import sys\nsys.path.append('/one')\ndef run(x):\n    return [p for p in sys.path if p in ('/one', '/two')]\n", "/one", "/two"
    ),
    "path of modules under another name": edit(
        "from sys import path as where\nwhere.append('/one')\ndef run(x):\n    return where[-1]\n", "/one", "/two"
    ),
    "path of modules in the body": edit(
        "import sys\nsys.path.append('/one')\ndef run(x):\n    import sys as s\n    return s.path[-1]\n", "/one", "/two"
    ),
    "finders of modules": edit(
        "import sys\nclass F:\n    def find_spec(self, *given):\n        return None\nsys.meta_path.append(F())\ndef run(x):\n    return len(sys.meta_path)\n",
        "append(F())",
        "extend([F(), F()])",
    ),
    "language of translations": edit(
        "import gettext\ndef run(x):\n    return gettext.translation('app', 'loc').gettext('hello')\n",
        prepare=_MO % ("ciao", "it", "it") + "\n" + _MO % ("hej", "sv", "sv"),
        variables={"LANGUAGE": "it"},
        new_variables={"LANGUAGE": "sv"},
    ),
    "translation": edit(
        "import gettext\ndef run(x):\n    return gettext.translation('app', 'loc', ['it']).gettext('hello')\n",
        prepare=_MO % ("ciao", "it", "it"),
        new_prepare=_MO % ("ecco", "it", "it"),
    ),
    "proxies": edit(
        "import urllib.request\ndef run(x):\n    return urllib.request.getproxies().get('http')\n",
        variables={"http_proxy": "http://a:1"},
        new_variables={"http_proxy": "http://b:1"},
    ),
    "variable by its name's parts": edit(
        "import os\ndef run(x):\n    return os.environ.get('_'.join(['OWN', 'RATE']))\n",
        variables={"OWN_RATE": "1"},
        new_variables={"OWN_RATE": "2"},
    ),
    "variable that is popped": edit(
        "import os\ndef run(x):\n    return os.environ.pop('OWN', None)\n", variables={"OWN": "1"}, new_variables={"OWN": "2"}
    ),
    "number of variables": edit(
        "import os\ndef run(x):\n    return len([k for k in os.environ if k.startswith('OWN')])\n", new_variables={"OWN": "2"}
    ),
    "variables as a copy": edit(
        "import os\ndef run(x):\n    return os.environ.copy().get('OWN')\n", variables={"OWN": "1"}, new_variables={"OWN": "2"}
    ),
    "variables merged": edit(
        "import os\ndef run(x):\n    return ({'OWN': '0'} | os.environ)['OWN']\n", variables={"OWN": "1"}, new_variables={"OWN": "2"}
    ),
    "variables matched": edit(
        "import os\ndef run(x):\n    match os.environ:\n        case {'OWN': value}:\n            return value\n",
        variables={"OWN": "1"},
        new_variables={"OWN": "2"},
    ),
    "variables compared": edit(
        "import os\ndef run(x):\n    return os.environ.items() >= {'OWN': '1'}.items()\n",
        variables={"OWN": "1"},
        new_variables={"OWN": "2"},
    ),
    "variable in a header of mail": edit(
        "import os\nclass C:\n    def __getattr__(self, name):\n        return os.environ[name.upper()]\ndef run(x):\n    return C().own\n",
        variables={"OWN": "1"},
        new_variables={"OWN": "2"},
    ),
    "name of the zone": edit(
        "import time\nif True:\n    time.tzset()\ndef run(x):\n    return time.strftime('%Z', time.localtime(0))\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "offset of the zone": edit(
        "import time\nif True:\n    time.tzset()\ndef run(x):\n    return time.timezone\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    "zone under another name": edit(
        "from time import localtime as at, tzset\ntzset()\ndef run(x):\n    return at(0).tm_hour\n",
        variables={"TZ": "UTC"},
        new_variables={"TZ": "Asia/Tokyo"},
    ),
    # --- what is installed ---
    "version that is asked for": edit(
        _PATH + "from importlib.metadata import version\ndef run(x):\n    return version('tinydep')\n",
        "1.0",
        "1.1",
        _INSTALLED,
        "site-packages/tinydep-1.dist-info/METADATA",
    ),
    "version in the body": edit(
        _PATH + "def run(x):\n    import importlib.metadata as m\n    return m.metadata('tinydep')['Version']\n",
        "1.0",
        "1.1",
        _INSTALLED,
        "site-packages/tinydep-1.dist-info/METADATA",
    ),
    "package that appears": edit(
        _PATH
        + "import importlib.metadata as m\ndef run(x):\n    try:\n        return m.version('tinydep')\n    except m.PackageNotFoundError:\n        return 'none'\n",
        more={"site-packages/other.py": ""},
        added=_INSTALLED,
    ),
    "names of all packages": edit(
        _PATH
        + "import importlib.metadata as m\ndef run(x):\n    return sorted(d.version for d in m.distributions() if d.name == 'tinydep')\n",
        "1.0",
        "1.1",
        _INSTALLED,
        "site-packages/tinydep-1.dist-info/METADATA",
    ),
    "entry point's value": edit(
        _PATH + "from importlib.metadata import entry_points\ndef run(x):\n    return [e.value for e in entry_points(group='own.plugs')]\n",
        "plug:K",
        "plug:L",
        _ENTRY,
        "site-packages/tinydep-1.dist-info/entry_points.txt",
    ),
    "entry point's object": edit(
        _PATH
        + "from importlib.metadata import entry_points as points\ndef run(x):\n    return [e.load() for e in points(group='own.plugs')]\n",
        "K = 1",
        "K = 2",
        _ENTRY,
        "plug.py",
    ),
    "entry points in the body": edit(
        _PATH + "def run(x):\n    import importlib.metadata as m\n    return [e.value for e in m.entry_points(group='own.plugs')]\n",
        "plug:K",
        "plug:L",
        _ENTRY,
        "site-packages/tinydep-1.dist-info/entry_points.txt",
    ),
    "entry points of one package": edit(
        _PATH + "import importlib.metadata as m\ndef run(x):\n    return [e.load() for e in m.distribution('tinydep').entry_points]\n",
        "K = 1",
        "K = 2",
        _ENTRY,
        "plug.py",
    ),
    "packages by their modules": edit(
        _PATH + "import importlib.metadata as m\ndef run(x):\n    return m.packages_distributions().get('tinydep')\n",
        "Name: tinydep",
        "Name: tinydeps",
        _INSTALLED,
        "site-packages/tinydep-1.dist-info/METADATA",
    ),
    "file of a package": edit(
        _PATH + "import tinydep\ndef run(x):\n    return tinydep.K\n",
        "K = 1",
        "K = 2",
        {"site-packages/tinydep.py": "K = 1\n"},
        "site-packages/tinydep.py",
    ),
    # --- files ---
    "data in an archive of code": edit(
        "import sys\nsys.path.insert(0, 'kit.zip')\nimport kit, pkgutil\ndef run(x):\n    return pkgutil.get_data('kit', 'd.txt').decode()\n",
        prepare=_ZIP % 1,
        new_prepare=_ZIP % 2,
    ),
    "resource in an archive of code": edit(
        "import sys\nsys.path.insert(0, 'kit.zip')\nimport kit\nfrom importlib import resources\ndef run(x):\n    return (resources.files(kit) / 'd.txt').read_text()\n",
        prepare=_ZIP % 1,
        new_prepare=_ZIP % 2,
    ),
    "member by a path in an archive": edit(
        "import zipfile\ndef run(x):\n    return zipfile.Path('kit.zip', 'kit/d.txt').read_text()\n", prepare=_ZIP % 1, new_prepare=_ZIP % 2
    ),
    "names in an archive": edit(
        "import zipfile\ndef run(x):\n    return [i.CRC for i in zipfile.ZipFile('kit.zip').infolist()]\n",
        prepare=_ZIP % 1,
        new_prepare=_ZIP % 2,
    ),
    "archive opened at import": edit(
        "import zipfile\nZ = zipfile.ZipFile('kit.zip')\ndef run(x):\n    return Z.read('kit/d.txt').decode()\n",
        prepare=_ZIP % 1,
        new_prepare=_ZIP % 2,
    ),
    "archive by bz2": edit(
        "import tarfile\ndef run(x):\n    with tarfile.open('a.tar.bz2') as t:\n        return t.extractfile('a').read()\n",
        prepare=_TAR % ("bz2", "bz2", 1),
        new_prepare=_TAR % ("bz2", "bz2", 2),
    ),
    "file by lzma": edit(
        "import lzma\ndef run(x):\n    with lzma.open('a.xz') as f:\n        return f.read()\n",
        prepare="import lzma\nwith lzma.open('a.xz', 'w') as f:\n    f.write(b'1')",
        new_prepare="import lzma\nwith lzma.open('a.xz', 'w') as f:\n    f.write(b'2')",
    ),
    "member of gzip with the same size": edit(
        "import gzip\ndef run(x):\n    return gzip.open('a.gz', 'rt').read()\n",
        prepare="import gzip\nwith gzip.GzipFile('a.gz', 'wb', mtime=0) as f:\n    f.write(b'1')",
        new_prepare="import gzip\nwith gzip.GzipFile('a.gz', 'wb', mtime=0) as f:\n    f.write(b'2')",
    ),
    "file by a handle of the import": edit(
        "import os\nH = os.open('f', os.O_RDONLY)\ndef run(x):\n    return os.pread(H, 9, 0)\n", "1", "2", {"f": "1"}, "f"
    ),
    "file object by a handle of the import": edit(
        "import os\nH = os.open('f', os.O_RDONLY)\ndef run(x):\n    with open(H, closefd=False) as f:\n        return f.read()\n",
        "1",
        "2",
        {"f": "1"},
        "f",
    ),
    "file opened at import": edit("F = open('f')\ndef run(x):\n    F.seek(0)\n    return F.read()\n", "1", "2", {"f": "1"}, "f"),
    "map of a file at import": edit(
        "import mmap\nwith open('f') as f:\n    M = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\ndel f\ndef run(x):\n    return M[:]\n",
        "1",
        "2",
        {"f": "1"},
        "f",
    ),
    "file moved over another": edit(
        "def run(x):\n    with open('f') as f:\n        return f.read()\n",
        more={"f": "1", "g": "2"},
        new_prepare="import os, shutil\ns = os.stat('f')\nshutil.copy('g', 'h')\nos.utime('h', ns=(s.st_atime_ns, s.st_mtime_ns))\nos.replace('h', 'f')",
        prepare="1",
    ),
    "time of a file moved": edit(
        "import os\ndef run(x):\n    return os.path.getmtime('f')\n",
        more={"f": "1"},
        prepare="import os\nos.utime('f', (5, 5))",
        new_prepare="import os\nos.utime('f', (6, 6))",
    ),
    "kind of each name by scandir": edit(
        "import os\ndef run(x):\n    with os.scandir('d') as found:\n        return sorted((e.name, e.is_file()) for e in found)\n",
        more={"d/a": ""},
        prepare="1",
        new_prepare="import os\nos.remove('d/a')\nos.mkdir('d/a')",
    ),
    "deep file that a pattern finds": edit(
        "import glob\ndef run(x):\n    return sorted(glob.glob('d/**/*.txt', recursive=True))\n",
        more={"d/a/b/c.txt": ""},
        added={"d/a/b/e/f.txt": ""},
    ),
    "pattern with a root": edit(
        "import glob\ndef run(x):\n    return sorted(glob.glob('*.txt', root_dir='d'))\n", more={"d/a.txt": ""}, added={"d/b.txt": ""}
    ),
    "hidden name": edit(
        "from pathlib import Path\ndef run(x):\n    return any(Path('d').glob('.*'))\n", more={"d/a": ""}, added={"d/.b": ""}
    ),
    "two links swapped": edit(
        "def run(x):\n    return open('one').read() + open('two').read()\n",
        more={"a": "1", "b": "2"},
        prepare="import os\nos.symlink('a', 'one')\nos.symlink('b', 'two')",
        new_prepare="import os\nos.remove('one')\nos.remove('two')\nos.symlink('b', 'one')\nos.symlink('a', 'two')",
    ),
    "hard link": edit(
        "import filecmp\ndef run(x):\n    return filecmp.dircmp('d', 'e').diff_files\n", "1", "2", {"d/f": "1", "e/f": "1"}, "e/f"
    ),
    "file by its address": edit(
        "import os, urllib.request\ndef run(x):\n    with urllib.request.urlopen('file://' + os.path.abspath('f')) as f:\n        return f.read()\n",
        "1",
        "2",
        {"f": "1"},
        "f",
    ),
    "owner of a process's folder": edit("import os\ndef run(x):\n    return os.path.isdir('d')\n", added={"d/f": ""}),
    "file by tokenize": edit(
        "import tokenize\ndef run(x):\n    with tokenize.open('f') as f:\n        return f.read()\n", "1", "2", {"f": "1"}, "f"
    ),
    "file by codecs and an error": edit(
        "import io\ndef run(x):\n    return io.open('f', encoding='ascii', errors='replace').read()\n", "1", "é", {"f": "1"}, "f"
    ),
    "file by a subclass of a reader": edit(
        "import io\nclass R(io.FileIO):\n    pass\ndef run(x):\n    with R('f') as f:\n        return f.read()\n", "1", "2", {"f": "1"}, "f"
    ),
    "file by its handle and an opener": edit(
        "import os\ndef opener(path, flags):\n    return os.open('real', flags)\ndef run(x):\n    with open('f', opener=opener) as f:\n        return f.read()\n",
        "1",
        "2",
        {"f": "0", "real": "1"},
        "real",
    ),
    "time zone's file": edit(
        "import zoneinfo, datetime\ndef run(x):\n    with open('own.tz', 'rb') as f:\n        return str(datetime.datetime(2020, 7, 1, tzinfo=zoneinfo.ZoneInfo.from_file(f)).utcoffset())\n",
        prepare="import importlib.resources as r, zoneinfo, shutil, os\nshutil.copy(next(os.path.join(p, 'Asia/Tokyo') for p in zoneinfo.TZPATH if os.path.exists(os.path.join(p, 'Asia/Tokyo'))), 'own.tz')",
        new_prepare="import zoneinfo, shutil, os\nshutil.copy(next(os.path.join(p, 'Europe/Rome') for p in zoneinfo.TZPATH if os.path.exists(os.path.join(p, 'Europe/Rome'))), 'own.tz')",
    ),
    "configuration by logging's file": edit(
        "import json, logging.config\ndef run(x):\n    with open('l.json') as f:\n        logging.config.dictConfig(json.load(f))\n    return logging.getLogger('own').level\n",
        "30",
        "40",
        {"l.json": '{"version": 1, "loggers": {"own": {"level": 30}}}'},
        "l.json",
    ),
    "included configuration": edit(
        "import configparser\ndef run(x):\n    c = configparser.ConfigParser()\n    c.read(['a.ini', 'b.ini'])\n    return c['s']['k']\n",
        more={"a.ini": "[s]\nk=1\n"},
        added={"b.ini": "[s]\nk=2\n"},
    ),
    "configuration with defaults of the environment": edit(
        "import configparser, os\ndef run(x):\n    c = configparser.ConfigParser(os.environ)\n    c.read_string('[s]\\nk=%(OWN)s\\n')\n    return c['s']['k']\n",
        variables={"OWN": "1"},
        new_variables={"OWN": "2"},
    ),
    "file whose name a file holds": edit(
        "def run(x):\n    return open(open('a').read().strip()).read()\n", "1", "2", {"a": "b\n", "b": "1"}, "b"
    ),
    "plug-ins of a folder by their names": edit(
        "import importlib, os\ndef run(x):\n    return [importlib.import_module('plugs.' + n[:-3]).K for n in sorted(os.listdir('plugs')) if n.endswith('.py') and n != '__init__.py']\n",
        more={"plugs/__init__.py": "", "plugs/a.py": "K = 1\n"},
        added={"plugs/b.py": "K = 2\n"},
    ),
    "plug-in of a folder": edit(
        "import importlib, os\ndef run(x):\n    return [importlib.import_module('plugs.' + n[:-3]).K for n in sorted(os.listdir('plugs')) if n.endswith('.py') and n != '__init__.py']\n",
        "K = 1",
        "K = 2",
        {"plugs/__init__.py": "", "plugs/a.py": "K = 1\n"},
        "plugs/a.py",
    ),
    "template of text": edit(
        "import string\nfrom pathlib import Path\ndef run(x):\n    return string.Template(Path('t.txt').read_text()).substitute(x=x)\n",
        "$x",
        "-$x",
        {"t.txt": "$x"},
        "t.txt",
    ),
    "database copied into memory": edit(
        "import sqlite3\ndef run(x):\n    source, target = sqlite3.connect('d.db'), sqlite3.connect(':memory:')\n    source.backup(target)\n    return target.execute('select a from t').fetchall()\n",
        prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.executescript('create table if not exists t(a); delete from t; insert into t values(1)'); c.close()",
        new_prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.executescript('delete from t; insert into t values(2)'); c.close()",
    ),
    "database opened at import": edit(
        "import sqlite3\nC = sqlite3.connect('d.db')\ndef run(x):\n    return C.execute('select a from t').fetchall()\n",
        prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.executescript('create table if not exists t(a); delete from t; insert into t values(1)'); c.close()",
        new_prepare="import sqlite3\nc = sqlite3.connect('d.db'); c.executescript('delete from t; insert into t values(2)'); c.close()",
    ),
    "function of a database": edit(
        "import sqlite3\ndef twice(v):\n    return v * 2\ndef run(x):\n    c = sqlite3.connect(':memory:')\n    c.create_function('twice', 1, twice)\n    return c.execute('select twice(2)').fetchone()\n",
        "v * 2",
        "v * 3",
    ),
    "map of values shared by memory": edit(
        "import ctypes\nA = (ctypes.c_int * 2)(1, 2)\ndef run(x):\n    return list(A)\n", "(1, 2)", "(1, 3)"
    ),
    "structure of ctypes": edit(
        "import ctypes\nclass S(ctypes.Structure):\n    _fields_ = [('a', ctypes.c_int), ('b', ctypes.c_int)]\ndef run(x):\n    return ctypes.sizeof(S)\n",
        "('b', ctypes.c_int)",
        "('b', ctypes.c_longlong)",
    ),
}

#: What another interpreter gives: its flags and variables change and no file does.
INTERPRETER: dict[str, Case] = {
    "assertions that are left out": edit(
        "def run(x):\n    try:\n        assert x > 5\n    except AssertionError:\n        return 'checked'\n    return x\n"
    ),
    "warnings that are errors": edit(
        "import warnings\ndef run(x):\n    try:\n        warnings.warn('a')\n    except UserWarning:\n        return 'raised'\n    return x\n"
    ),
    "encoding of text files": edit("def run(x):\n    with open('f', errors='replace') as f:\n        return f.read()\n", more={"f": "é"}),
    "longest number of the interpreter": edit(
        "def run(x):\n    try:\n        return len(str(10 ** 5000))\n    except ValueError:\n        return 'too long'\n"
    ),
    "text that is compared with bytes": edit(
        "def run(x):\n    try:\n        return b'a' == 'a'\n    except BytesWarning:\n        return 'raised'\n"
    ),
    "setting by sitecustomize": edit("import decimal\ndef run(x):\n    return str(decimal.Decimal(1) / 7)\n"),
    "patch by sitecustomize": edit("import textwrap\ndef run(x):\n    return textwrap.shorten('a b', 9)\n"),
}
