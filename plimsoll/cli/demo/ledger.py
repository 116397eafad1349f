"""What the demo's three ways would have cost on the same flights: never retrained, the loop, the manual rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plimsoll import clock
from plimsoll.monitoring.sketches import area_under_curve

#: Order of the columns in the final table.
WAYS = ("the manual rule", "never retrained", "the loop")


class Ledger:
    """Every answered flight with its truth, in one Parquet file a day, so that a demo that was ended goes on.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def last_day(self) -> int | None:
        """Return the start of the last day that is whole, UTC microseconds, or None."""
        days = [int(path.stem) for path in self.folder.glob("*.parquet")]
        return max(days, default=None)

    def keep(self, day: int, rows: pl.DataFrame) -> None:
        """Keep a day; it appears whole or not at all.

        Args:
            day: its start, UTC microseconds.
            rows: (n, columns) with ``flight_id``, ``late`` (null when it never arrived), ``loop``, ``version`` and the inputs.
        """
        unfinished = self.folder / f"{day}.{clock.new_id()}"
        rows.write_parquet(unfinished)
        unfinished.replace(self.folder / f"{day}.parquet")

    def all(self) -> pl.DataFrame:
        """Return every kept row whose truth is known, (n, columns), in order of time."""
        paths = sorted(self.folder.glob("*.parquet"), key=lambda path: int(path.stem))
        return pl.concat([pl.read_parquet(path) for path in paths]).filter(pl.col("late").is_not_null())


def money(acts: Any, late: Any, costs: Any) -> float:
    """Return what acting so cost, in money per row.

    Args:
        acts: (n,) True where one acted.
        late: (n,) 0 or 1, same order.
        costs: the purpose's costs.
    """
    acted, truth = np.asarray(acts, dtype=bool), np.asarray(late, dtype=bool)
    return float(np.mean(acted & ~truth) * costs.false_alarm + np.mean(~acted & truth) * costs.missed)


def compare(rows: pl.DataFrame, costs: Any) -> list[dict[str, Any]]:
    """Return one dict a month and one for all: flights, late share, AUC and money per flight of each way.

    Args:
        rows: (n, columns) with ``month``, ``late``, and a column of answers for each of :data:`WAYS`.
        costs: the purpose's costs.
    """
    found = []
    parts = [*rows.partition_by("month", maintain_order=True), rows]
    for index, part in enumerate(parts):
        late = part["late"].to_numpy()
        line: dict[str, Any] = {"month": "all" if index == len(parts) - 1 else part["month"][0], "flights": part.height}
        line["late"] = float(late.mean())
        for way in WAYS:
            answers = part[way].to_numpy()
            threshold = 0.5 if way == WAYS[0] else costs.threshold
            line[way] = {"auc": area_under_curve(late, answers), "money": money(answers >= threshold, late, costs)}
        found.append(line)
    return found
