"""What is told of a file that is sent, as MLflow tells it: a name to keep it by and, from the name's ending, a type."""

from __future__ import annotations

import re
from mimetypes import MimeTypes
from unicodedata import normalize
from urllib.parse import quote

#: Endings of what people read, and whole names that have none.
_TEXTS = frozenset(
    (
        *("txt", "log", "err", "md", "rst", "csv", "tsv", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon", "toml"),
        *("yaml", "yml", "xml", "json", "js", "py", "py3", "ipynb", "MLmodel", "mlproject"),
    )
)

#: Python's own table. The lists of the machine would let one file have several types.
_TYPES = MimeTypes().types_map

#: What needs no quotes in a header.
_TOKEN = re.compile(r"[A-Za-z0-9!$&'*+.^_`|~-]+")


def described(name: str) -> dict[str, str]:
    """Return the headers of a file. Browsers save it and do not guess a type, so that nothing that was logged runs in a page.

    Args:
        name: the last part of its path.
    """
    return {"x-content-type-options": "nosniff", "content-disposition": _attached(name), "content-type": _type(name)}


def _type(name: str) -> str:
    _, dot, ending = name.rpartition(".")
    if ending in _TEXTS:
        return "text/plain"
    known = (types.get(dot + ending.lower()) for types in reversed(_TYPES))
    return next((found for found in known if found), "application/octet-stream")


def _attached(name: str) -> str:
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode() or "download"
    said = plain if _TOKEN.fullmatch(plain) else '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"'
    return f"attachment; filename={said}" + ("" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}")
