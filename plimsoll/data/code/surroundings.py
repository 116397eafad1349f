"""Settings of the process that libraries read where no name leads: its time zone, locale, encoding of text files and arguments."""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Collection
from datetime import UTC, datetime

from plimsoll.fingerprint import digest_value

_ZONED = {"localtime", "mktime", "fromtimestamp", "astimezone", "timestamp", "tzlocal", "ctime", "tzset", "tzname", "get_localzone"}
_ZONED |= {"formatTime", "formatdate", "localdate"}
_LOCALISED = {
    "setlocale",
    "getlocale",
    "localeconv",
    "format_string",
    "strxfrm",
    "strcoll",
    "strftime",
    "strptime",
    "day_name",
    "month_name",
}
_CATEGORY_NAMES = ("LC_ALL", "LC_CTYPE", "LC_COLLATE", "LC_TIME", "LC_NUMERIC", "LC_MONETARY", "LC_MESSAGES", "LANG")
#: What reads variables where no event tells -> which.
_FROM_VARIABLES = {
    "tzset": ("TZ",), "gettempdir": ("TMPDIR", "TEMP", "TMP"), "gettempdirb": ("TMPDIR", "TEMP", "TMP"),
    "setlocale": _CATEGORY_NAMES, "getdefaultlocale": _CATEGORY_NAMES,
}  # fmt: skip
_CALLED_WITH = {"argv", "orig_argv", "parse_args", "parse_known_args", "parse_intermixed_args"}
_ENCODED = {"open", "read_text", "write_text", "fdopen", "TextIOWrapper", "getpreferredencoding", "getencoding"}
_CATEGORIES = (locale.LC_TIME, locale.LC_NUMERIC, locale.LC_COLLATE, locale.LC_MONETARY)
#: A moment in each quarter from 1970 to 2037, UTC seconds: two zones that agree on all of them are one.
_MOMENTS = range(0, 2_140_000_000, 7_889_400)


def surroundings(used: Collection[str]) -> dict[str, str]:
    """Return what counts of the process's settings, by name.

    Args:
        used: every global and attribute name in the code at hand.
    """
    used, found = frozenset(used), {}
    if used & _ZONED:
        local = [datetime.fromtimestamp(moment, UTC).astimezone() for moment in _MOMENTS]
        names = sorted({str(moment.tzname()) for moment in local[-8:]})
        found["time zone"] = f"{'/'.join(names)} {digest_value([(moment.utcoffset(), moment.tzname()) for moment in local])[:8]}"
    if used & _LOCALISED:
        found["locale"] = "/".join(locale.setlocale(category) for category in _CATEGORIES)
    if used & _ENCODED and (encoding := locale.getpreferredencoding(False).lower().replace("_", "-")) not in ("utf-8", "utf8"):
        found["encoding"] = encoding
    if used & _FROM_VARIABLES.keys():
        names = sorted({name for way, names in _FROM_VARIABLES.items() if way in used for name in names})
        found["variables"] = " ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ) or "none"
    if used & _CALLED_WITH:
        # What the program is called differs between a notebook and the command line.
        found["arguments"] = digest_value(sys.argv[1:])[:16]
    return found
