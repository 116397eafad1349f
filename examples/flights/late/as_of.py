"""What was known two hours before a departure, and nothing that became known later."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

#: A prediction is made so long before the scheduled departure.
AHEAD = timedelta(hours=2)

#: An observation older than this says nothing; its values become null.
OLDEST_WEATHER = timedelta(hours=3)

#: Name -> (the moment it becomes known, what is averaged, the flights it is averaged over, hours back).
RECENT = {
    "delay_origin": ("departed", "dep_delay", ("origin",), 2),
    "delay_carrier": ("departed", "dep_delay", ("origin", "carrier"), 3),
    "delay_dest": ("departed", "dep_delay", ("dest",), 4),
    "landed_late_origin": ("landed", "arr_delay", ("origin",), 3),
    "landed_late_carrier": ("landed", "arr_delay", ("carrier",), 3),
}


def with_asked(flights: pl.DataFrame) -> pl.DataFrame:
    """Return the flights with ``asked`` (UTC), the moment of their prediction, ordered by it.

    Args:
        flights: rows as of ``load_flights``.
    """
    return flights.with_columns(asked=pl.col("scheduled") - AHEAD).sort("asked", "flight_id")


def with_weather(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Return the flights with the last observation at their origin that was made at or before ``asked``.

    Args:
        flights: rows with ``origin`` and ``asked``, ordered by ``asked``.
        weather: rows as of ``load_weather``.
    """
    joined = flights.join_asof(
        weather.sort("observed"),
        left_on="asked",
        right_on="observed",
        by="origin",
        strategy="backward",
        tolerance=OLDEST_WEATHER,
        check_sortedness=False,
    )
    return joined.drop("observed", strict=False)


def with_operations(flights: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Return the flights with the columns of ``RECENT``: how the airports were running at that moment.

    Args:
        flights: rows with ``origin``, ``dest``, ``carrier`` and ``asked``, ordered by ``asked``.
        history: flights as of ``load_flights``, of which only departures and landings up to ``asked`` are used.
    """
    for name, (moment, value, by, hours) in RECENT.items():
        flights = with_recent(flights, history, name, moment, value, by, timedelta(hours=hours))
    return flights


def with_recent(
    flights: pl.DataFrame, history: pl.DataFrame, name: str, moment: str, value: str, by: tuple[str, ...], back: timedelta
) -> pl.DataFrame:
    """Return the flights with the mean of ``value`` over events in ``(asked - back, asked]``; null where there was none.

    Args:
        flights: rows with ``by`` and ``asked``, ordered by ``asked``.
        history: flights with their ``moment`` (null when it never came).
        name: the new column.
        moment: column with the time at which ``value`` became known.
        value: what is averaged, in minutes.
        by: only events that agree in these columns count.
        back: length of the window.
    """
    # Running totals: their difference between two moments is the total of what happened in between.
    totals = (
        history.drop_nulls([moment, value])
        .group_by([*by, moment])
        .agg(pl.len().cast(pl.Int64).alias("count"), pl.col(value).sum().alias("total"))
        .sort(moment)
        .with_columns(pl.col("count", "total").cum_sum().over(*by))
    )
    keys = flights.select(*by, pl.col("asked"), (pl.col("asked") - back).alias("since"))
    upto = keys.join_asof(totals, left_on="asked", right_on=moment, by=list(by), check_sortedness=False)
    before = keys.join_asof(totals, left_on="since", right_on=moment, by=list(by), check_sortedness=False)
    count = upto["count"].fill_null(0) - before["count"].fill_null(0)
    total = upto["total"].fill_null(0) - before["total"].fill_null(0)
    mean = pl.select(pl.when(count > 0).then(total / count)).to_series()
    return flights.with_columns(mean.alias(name))
