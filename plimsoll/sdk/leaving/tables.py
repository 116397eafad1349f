"""The tables of an export: their columns, and Parquet files of a bounded number of rows. Times are UTC microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from plimsoll import codec

_TEXT, _WHOLE, _REAL, _TIME = pl.String(), pl.Int64(), pl.Float64(), pl.Datetime("us", "UTC")

#: Table -> column -> type. A column that ends in ``_json`` holds a JSON document.
TABLES: Mapping[str, Mapping[str, pl.DataType]] = {
    "experiments": {"id": _TEXT, "name": _TEXT, "tags_json": _TEXT, "created": _TIME, "updated": _TIME, "deleted": _TIME},
    "runs": {
        **dict.fromkeys(("id", "experiment_id", "experiment", "name", "state", "author", "error", "environment"), _TEXT),
        **dict.fromkeys(("cause_json", "code_json", "machine_json"), _TEXT),
        **dict.fromkeys(("started", "ended", "deleted"), _TIME),
    },
    "params": {"run_id": _TEXT, "name": _TEXT, "value": _TEXT, "value_json": _TEXT},
    "tags": {"run_id": _TEXT, "name": _TEXT, "value": _TEXT},
    "metrics": {
        "run_id": _TEXT, "name": _TEXT, "count": _WHOLE, "last": _REAL, "min": _REAL, "max": _REAL, "last_step": _WHOLE, "last_time": _TIME,
    },
    "points": {"run_id": _TEXT, "name": _TEXT, "step": _WHOLE, "time": _TIME, "value": _REAL},
    "datasets": {
        **dict.fromkeys(("run_id", "name", "digest", "source_type", "source", "schema", "profile", "tags_json"), _TEXT),
    },
    "inputs": {"run_id": _TEXT, "name": _TEXT, "digest": _TEXT},
    "model_uses": {"run_id": _TEXT, "model_id": _TEXT, "role": _TEXT, "step": _WHOLE},
    "artifacts": {"owner": _TEXT, "name": _TEXT, "kind": _TEXT, "digest": _TEXT, "size": _WHOLE},
    "logged_models": {
        **dict.fromkeys(("id", "experiment_id", "name", "kind", "run_id", "state", "author"), _TEXT),
        **dict.fromkeys(("params_json", "tags_json", "metrics_json"), _TEXT),
        "created": _TIME, "updated": _TIME,
    },
    "models": {"name": _TEXT, "description": _TEXT, "tags_json": _TEXT, "created": _TIME, "updated": _TIME},
    "versions": {
        "model": _TEXT, "number": _WHOLE,
        **dict.fromkeys(("digest", "run_id", "model_id", "author", "description", "stage", "source", "tags_json", "package_json"), _TEXT),
        "created": _TIME, "updated": _TIME,
    },
    "aliases": {"model": _TEXT, "alias": _TEXT, "number": _WHOLE},
    "files": {"tree": _TEXT, "path": _TEXT, "digest": _TEXT, "size": _WHOLE},
}  # fmt: skip

#: Rows of one file, at most.
_ROWS = 500_000


class Table:
    """Rows on their way into Parquet files ``NAME/00000.parquet``, ``NAME/00001.parquet`` …; a table without rows has one file.

    Args:
        folder: of the export.
        name: a key of ``TABLES``.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._columns = folder / name, TABLES[name]
        self._folder.mkdir()
        self._waiting: dict[str, list[Any]] = {column: [] for column in self._columns}
        #: Rows so far.
        self.count = 0
        #: File within the export -> its digest.
        self.files: dict[str, str] = {}

    def add(self, **values: object) -> None:
        """Take a row.

        Args:
            values: of every column.
        """
        for column, waiting in self._waiting.items():
            waiting.append(values[column])
        self._grown(1)

    def extend(self, rows: int, **columns: object) -> None:
        """Take rows.

        Args:
            rows: how many.
            columns: of every column a sequence of that length, or one text for all of the rows.
        """
        for column, waiting in self._waiting.items():
            given: Any = columns[column]
            waiting.extend([given] * rows if isinstance(given, str) else given)
        self._grown(rows)

    def _grown(self, rows: int) -> None:
        self.count += rows
        if len(next(iter(self._waiting.values()))) >= _ROWS:
            self._write()

    def _write(self) -> None:
        path = self._folder / f"{len(self.files):05}.parquet"
        pl.DataFrame(self._waiting, schema=dict(self._columns)).write_parquet(path, compression="zstd")
        self.files[f"{self._folder.name}/{path.name}"] = codec.digest_file(path)[0]
        for waiting in self._waiting.values():
            waiting.clear()

    def close(self) -> None:
        """Write what waits."""
        if not self.files or next(iter(self._waiting.values())):
            self._write()
