"""What a dispatcher does today, without a model."""

from __future__ import annotations

import polars as pl


def rule(rows: pl.DataFrame) -> pl.Series:
    """Return 1 for each flight that a dispatcher would prepare for a late arrival, else 0; ``(n,)`` Int64.

    From three in the afternoon on, when the airport's departures of the last two hours left more than 10 minutes late on
    average; and at any time in heavy rain or in fog.

    Args:
        rows: with ``minute_of_day``, ``delay_origin`` (minutes), ``precip`` (inches in the hour) and ``visib`` (miles).
    """
    running_late = (pl.col("minute_of_day") >= 15 * 60) & (pl.col("delay_origin") > 10)
    bad_weather = (pl.col("precip") > 0.05) | (pl.col("visib") < 2)
    # A missing number alarms nobody.
    act = running_late.fill_null(False) | bad_weather.fill_null(False)
    return rows.select(act.cast(pl.Int64).alias("act")).to_series()
