# ruff: noqa: E501
"""Files that an installed package reads in native code, by a method, a keyword or a list, where no event tells of them."""

from __future__ import annotations

from tests.unit.data.case import Case, edit

_SOURCE = r"""
#include <Python.h>
#include <stdio.h>
static PyObject *content(const char *path) { FILE *f = fopen(path, "r"); int c = f ? fgetc(f) : 0; if (f) fclose(f); return PyLong_FromLong(c); }
static PyObject *text_of(PyObject *given) { if (PyList_Check(given)) given = PyList_GetItem(given, 0); return PyOS_FSPath(given); }
static PyObject *load(PyObject *self, PyObject *args, PyObject *kw) {
    static char *names[] = {"mode", "path", NULL}; int mode; PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "iO", names, &mode, &given)) return NULL;
    PyObject *path = text_of(given); if (!path) return NULL;
    PyObject *found = content(PyUnicode_AsUTF8(path)); Py_DECREF(path); return found; }
static PyMethodDef methods[] = {{"load", (PyCFunction)load, METH_VARARGS | METH_KEYWORDS, 0}, {0}};
static PyTypeObject Index = {PyVarObject_HEAD_INIT(NULL, 0) .tp_name = "nativelib.Index", .tp_basicsize = sizeof(PyObject), .tp_flags = Py_TPFLAGS_DEFAULT, .tp_methods = methods, .tp_new = PyType_GenericNew};
static PyMethodDef functions[] = {{"load", (PyCFunction)load, METH_VARARGS | METH_KEYWORDS, 0}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "nativelib", 0, -1, functions};
PyMODINIT_FUNC PyInit_nativelib(void) { if (PyType_Ready(&Index) < 0) return NULL; PyObject *m = PyModule_Create(&module); Py_INCREF(&Index); PyModule_AddObject(m, "Index", (PyObject *)&Index); return m; }
"""
_BUILD = "import subprocess, sysconfig, os\nif not os.path.exists('site-packages/nativelib.so'):\n    subprocess.run(['cc', '-shared', '-fPIC', '-O0', '-I' + sysconfig.get_paths()['include'], 'site-packages/nativelib.c', '-o', 'site-packages/nativelib.so'], check=True)\n"
_HEAD = "import os, sys\nfrom pathlib import Path\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site-packages'))\nimport nativelib\nHERE = Path(__file__).parent\n"
_MORE = {
    "site-packages/nativelib.c": _SOURCE,
    "d.bin": "1",
    "e.bin": "1",
    "site-packages/nativelib-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: nativelib\nVersion: 1\n",
    "site-packages/nativelib-1.dist-info/RECORD": "nativelib.so,,\n",
}


def _edit(body: str, file: str) -> Case:
    return edit(_HEAD + body, "1", "2", _MORE, file, prepare=_BUILD)


NATIVE: dict[str, Case] = {
    "native method": _edit("def run(x):\n    return nativelib.Index().load(1, 'd.bin')\n", "d.bin"),
    "native method kw": _edit("def run(x):\n    return nativelib.Index().load(mode=1, path='d.bin')\n", "d.bin"),
    "native method str of path": _edit("def run(x):\n    p = str(HERE / 'd.bin')\n    return nativelib.Index().load(1, p)\n", "d.bin"),
    "native method path": _edit("def run(x):\n    return nativelib.Index().load(1, HERE / 'd.bin')\n", "d.bin"),
    "native method argument": _edit("def run(x):\n    return go('d.bin')\ndef go(p):\n    return nativelib.Index().load(1, p)\n", "d.bin"),
    "native method global": _edit("P = HERE / 'd.bin'\ndef run(x):\n    return nativelib.Index().load(1, P)\n", "d.bin"),
    "native method list": _edit("def run(x):\n    return nativelib.Index().load(1, ['d.bin'])\n", "d.bin"),
    "native method in a loop, second": _edit(
        "def run(x):\n    return [nativelib.Index().load(1, p) for p in ('e.bin', 'd.bin')]\n", "d.bin"
    ),
    "native function kw": _edit("def run(x):\n    return nativelib.load(mode=1, path='d.bin')\n", "d.bin"),
    "native function second": _edit("def run(x):\n    return nativelib.load(1, 'd.bin')\n", "d.bin"),
    "native function joined": _edit("def run(x):\n    p = os.path.join(HERE, 'd.bin')\n    return nativelib.load(1, p)\n", "d.bin"),
    "native method joined inline": _edit("def run(x):\n    return nativelib.Index().load(1, os.path.join(HERE, 'd.bin'))\n", "d.bin"),
    "native method f-string inline": _edit("def run(x):\n    return nativelib.Index().load(1, f'{HERE}/d.bin')\n", "d.bin"),
}
NATIVE_HARMLESS: dict[str, Case] = {
    "native other file": _edit("def run(x):\n    return nativelib.Index().load(1, 'd.bin')\n", "e.bin"),
}
