"""Run as a process: for each JSON text of stdin, evaluate the expression in it and print the digest of its value."""

from __future__ import annotations

import datetime
import decimal
import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from plimsoll.fingerprint import digest_value

NAMES: dict[str, Any] = {"np": np, "pd": pd, "pl": pl, "pa": pa, "dt": datetime, "D": decimal.Decimal}
NAMES |= {"inf": float("inf"), "nan": float("nan")}


def value_of(text: str) -> Any:
    """Return the value of an expression."""
    return eval(text, dict(NAMES))


def main() -> None:
    for line in sys.stdin:
        print(digest_value(value_of(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
