"""Puts names that are there into the requests that Schemathesis makes up, which would else end at what is not found.

Schemathesis loads it (``SCHEMATHESIS_HOOKS``); ``PLIMSOLL_KNOWN`` holds the names as JSON: field -> values.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import schemathesis

KNOWN = json.loads(os.environ["PLIMSOLL_KNOWN"])


def _with_known(value: Any, field: str, at: str) -> Any:
    """Replace three of four texts in fields that name something; which, is decided by the place and the text alone."""
    if isinstance(value, dict):
        return {name: _with_known(inner, name, f"{at}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_known(inner, field, f"{at}.{index}") for index, inner in enumerate(value)]
    dice = zlib.crc32(f"{at} {value!r}".encode(errors="replace"))
    if not isinstance(value, str) or field not in KNOWN or dice % 4 == 0:
        return value
    return KNOWN[field][dice // 4 % len(KNOWN[field])]


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Change a body."""
    return _with_known(body, "", context.operation.label)
