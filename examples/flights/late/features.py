"""What the model sees of a flight: one row of numbers, from that row alone."""

from __future__ import annotations

import math

import polars as pl

#: The columns of a request: everything here is known two hours before the scheduled departure.
INPUTS = (
    "carrier",
    "origin",
    "dest",
    "distance",
    "minute_of_day",
    "weekday",
    "planned_minutes",
    "temp",
    "temp_unit",
    "humid",
    "wind_speed",
    "precip",
    "visib",
    "delay_origin",
    "delay_carrier",
    "delay_dest",
    "landed_late_origin",
    "landed_late_carrier",
)

# The codes below are places in these lists. They are part of the model: append, never reorder.
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
DEST_NAMES = """
ABQ ACK ALB ANC ATL AUS AVL BDL BGR BHM BNA BOS BQN BTV BUF BUR BWI BZN CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA DEN DFW
DSM DTW EGE EYW FLL GRR GSO GSP HDN HNL HOU IAD IAH ILM IND JAC JAX LAS LAX LEX LGA LGB MCI MCO MDW MEM MHT MIA MKE MSN MSP
MSY MTJ MVY MYR OAK OKC OMA ORD ORF PBI PDX PHL PHX PIT PSE PSP PVD PWM RDU RIC ROC RSW SAN SAT SAV SBN SDF SEA SFO SJC SJU
SLC SMF SNA SRQ STL STT SYR TPA TUL TVC TYS XNA
"""
DESTS = tuple(DEST_NAMES.split())

#: The estimator's columns that hold codes: the first ones of what ``prepare`` returns.
CATEGORIES = ("carrier", "origin", "dest")


def prepare(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what the estimator takes: Float64 columns, one row for each row; what is missing or not in a list is null.

    The month is not among them: a model of four months would have to guess what the fifth means.

    Args:
        rows: ``INPUTS``, and whatever further columns of numbers the model was given, which are taken as they are.
    """
    fahrenheit = pl.when(pl.col("temp_unit") == "C").then(pl.col("temp") * 9 / 5 + 32).otherwise("temp")
    return matrix(rows, fahrenheit)


def prepare_without_unit(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the same as ``prepare``, but take every temperature for Fahrenheit.

    A mistake on purpose. All of the training data is in Fahrenheit, so nothing that is computed from it can tell the two apart.

    Args:
        rows: as for ``prepare``.
    """
    return matrix(rows, pl.col("temp"))


def matrix(rows: pl.DataFrame, fahrenheit: pl.Expr) -> pl.DataFrame:
    """Return codes, then numbers, then the columns that are no part of ``INPUTS``.

    Args:
        rows: as for ``prepare``.
        fahrenheit: the temperature.
    """
    angle = pl.col("minute_of_day") * (2 * math.pi / (24 * 60))
    numbers = INPUTS[INPUTS.index("humid") :]
    further = [name for name in rows.columns if name not in INPUTS]
    return rows.select(
        code("carrier", CARRIERS),
        code("origin", ORIGINS),
        code("dest", DESTS),
        pl.col("distance", "minute_of_day", "weekday", "planned_minutes").cast(pl.Float64),
        angle.sin().alias("time_sin"),
        angle.cos().alias("time_cos"),
        fahrenheit.cast(pl.Float64).alias("temp"),
        pl.col(*numbers, *further).cast(pl.Float64),
    )


def code(column: str, values: tuple[str, ...]) -> pl.Expr:
    """Return the place of each value in a list, as Float64.

    Args:
        column: name of a text column.
        values: the list, at most 254 long.
    """
    return pl.col(column).replace_strict(values, range(len(values)), default=None, return_dtype=pl.Float64)
