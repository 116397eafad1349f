"""Settings of the process that libraries read where no name leads: its time zone, locale, encoding of text files and arguments."""

from __future__ import annotations

import decimal
import locale
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

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
_WARNS = {"warn", "warn_explicit", "catch_warnings", "filters", "simplefilter", "warnoptions"}
#: What these are in a fresh process; the settings of scikit-learn that can act on a result.
_DECIMAL = (28, decimal.ROUND_HALF_EVEN, -999999, 999999, 1, 0)
_TRAPPING = decimal.Context(traps=[decimal.DivisionByZero, decimal.InvalidOperation, decimal.Overflow])
_SKLEARN = {"assume_finite": False, "transform_output": "default", "array_api_dispatch": False, "enable_metadata_routing": False}
_TORCH = "torch.float32 cpu True highest False"
#: What numbers and tables look like as text, and what makes such text.
_PRINTED = {
    "edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8, "suppress": False, "linewidth": 75, "nanstr": "nan",
    "infstr": "inf", "sign": "-", "formatter": None, "legacy": False,
}  # fmt: skip
_SHOWN = {"repr", "str", "format", "ascii", "to_string", "to_html", "to_latex", "array2string", "array_repr", "array_str", "info"}
#: The options of pandas that act on more than text.
_PANDAS = ("mode", "future", "compute", "io")
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
    if used & _WARNS and sys.warnoptions:
        found["warnings"] = " ".join(sys.warnoptions)
    if used & _SHOWN:
        printed = sys.modules["numpy"].get_printoptions() if hasattr(sys.modules.get("numpy"), "get_printoptions") else {}
        found |= _differing("numpy's text", printed, _PRINTED)
        found |= _of_pandas("pandas' text", ("display",))
    return found | settings()


def settings() -> dict[str, str]:
    """Return the settings of libraries that act on results and are not what they are in a fresh process, by name.

    Whoever made them, and however roundabout: they are asked for, not read off the code.
    """
    # Nearly always they are what they were, and that is to be seen quickly: each key of each run asks.
    found, now = dict[str, str](), decimal.getcontext()
    numbers = now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp
    if numbers != _DECIMAL or now.traps != _TRAPPING.traps:
        traps = sorted(each.__name__ for each, is_set in now.traps.items() if is_set)
        found["decimal"] = " ".join(map(str, (*numbers, *traps)))
    if (read := sys.get_int_max_str_digits()) != sys.int_info.default_max_str_digits or sys.flags.bytes_warning:
        # By a variable or an option of the interpreter: longer numbers, and comparisons of text with bytes, are errors.
        found["interpreter"] = f"{read} digits, bytes warning {sys.flags.bytes_warning}"
    if hasattr(sys.modules.get("numpy"), "geterr"):
        raised = [f"{kind}={act}" for kind, act in sys.modules["numpy"].geterr().items() if act in ("raise", "call")]
        found |= {"numpy errors": " ".join(sorted(raised))} if raised else {}
    if hasattr(sys.modules.get("sklearn"), "get_config"):
        found |= _differing("sklearn", sys.modules["sklearn"].get_config(), _SKLEARN)
    found |= _of_pandas("pandas options", _PANDAS)
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "get_default_device"):
        asked = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(), torch.get_float32_matmul_precision()
        made = " ".join(map(str, (*asked, torch.are_deterministic_algorithms_enabled())))
        found |= {"torch defaults": made} if made != _TORCH else {}
    return found


def _of_pandas(name: str, groups: Collection[str]) -> dict[str, str]:
    """Return the options of pandas in some groups that are not what they are in a fresh process."""
    # Without a public way to ask for all of them that takes less than a millisecond.
    config: Any = sys.modules.get("pandas._config.config")
    held, known = getattr(config, "_global_config", {}), getattr(config, "_registered_options", {})
    now = dict(pair for group in groups for pair in _flat(held.get(group, {}), f"{group}."))
    return _differing(name, now, {option: getattr(known.get(option), "defval", value) for option, value in now.items()})


def _flat(options: dict[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _differing(name: str, now: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, str]:
    chosen = [
        f"{option}={value}" for option, value in now.items() if option in fresh and value is not fresh[option] and value != fresh[option]
    ]
    return {name: " ".join(sorted(chosen))} if chosen else {}
