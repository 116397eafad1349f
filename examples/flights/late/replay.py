"""The year's flights as live traffic: requests in the order of their time, each with what will become known later."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from late.as_of import with_asked, with_operations, with_weather
from late.data import LATE_MINUTES, clean
from late.features import INPUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFeed:
    """A change that is injected, not found in the data: some airports' weather feed turns from Fahrenheit to Celsius."""

    #: The airports.
    origins: tuple[str, ...]
    #: First observation in Celsius (UTC).
    start: datetime
    #: First observation in Fahrenheit again (UTC), or None when it stays.
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: the flights of one airport that are due within the same half hour, two hours from now."""

    #: When it is sent (UTC): the moment at which all its rows are known.
    at: datetime
    #: ``flight_id``, ``asked`` and ``INPUTS``, (n, columns).
    rows: pl.DataFrame
    #: 1 when the row's flight will be late, 0 when not, None when it will never arrive, for each row.
    late: tuple[int | None, ...]
    #: When that becomes known (UTC), the landing, for each row; None when it never does.
    landed: tuple[datetime | None, ...]


def replay(
    flights: pl.DataFrame,
    weather: pl.DataFrame,
    start: datetime,
    end: datetime,
    seed: int = 0,
    share: float = 1.0,
    every: str = "30m",
    feed: MetricFeed | None = None,
) -> Iterator[Asked]:
    """Yield the requests of ``[start, end)`` in the order of their time; the same arguments yield the same requests.

    Cancelled and diverted flights are asked for like any other, since nobody knows yet; their label never comes.

    Args:
        flights: rows as of ``load_flights``, from at least a day before ``start``, for what was known then.
        weather: rows as of ``load_weather``.
        start: first moment of asking (UTC).
        end: first moment after it (UTC).
        seed: chooses the requests when there is a share.
        share: share of the requests that are made, 0 to 1.
        every: length of the interval that one request covers, as polars writes it.
        feed: a change of the weather feed to inject, or None.
    """
    history = clean(flights)
    observed = weather if feed is None else in_celsius(weather, feed)
    asked = with_asked(history).filter(pl.col("asked") >= start, pl.col("asked") < end)
    rows = with_operations(with_weather(asked, observed), history).with_columns(
        late=(pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int64), interval=pl.col("asked").dt.truncate(every)
    )
    requests = rows.partition_by("interval", "origin", maintain_order=True)
    requests.sort(key=lambda group: (group["asked"][-1], group["origin"][0]))
    chance = random.Random(seed)
    for group in requests:
        # Drawn for every request, so that one more or less does not change the others.
        if chance.random() < share:
            yield Asked(
                at=group["asked"][-1],
                rows=group.select("flight_id", "asked", *INPUTS),
                late=tuple(group["late"]),
                landed=tuple(group["landed"]),
            )


def in_celsius(weather: pl.DataFrame, feed: MetricFeed) -> pl.DataFrame:
    """Return the weather with the temperatures that a change of feed turns to Celsius, and their unit.

    Args:
        weather: rows as of ``load_weather``.
        feed: which ones.
    """
    changed = pl.col("origin").is_in(feed.origins) & (pl.col("observed") >= feed.start)
    if feed.end is not None:
        changed = changed & (pl.col("observed") < feed.end)
    celsius = ((pl.col("temp") - 32) * 5 / 9).round(1)
    return weather.with_columns(
        temp=pl.when(changed).then(celsius).otherwise("temp"),
        temp_unit=pl.when(changed).then(pl.lit("C")).otherwise("temp_unit"),
    )
