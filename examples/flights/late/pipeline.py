"""Train a model that tells, two hours before departure, which flights will arrive more than 15 minutes late."""

from __future__ import annotations

import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import brier_score_loss, roc_auc_score

from late.as_of import with_asked, with_operations, with_weather
from late.baseline import rule
from late.data import clean, load_flights, load_weather, with_label
from late.features import CATEGORIES, INPUTS, prepare, prepare_without_unit
from plimsoll import Model, pipeline, step

FEATURES = {"prepare": prepare, "prepare_without_unit": prepare_without_unit}


@step(snapshot="flights")
def flights(first: str, last: str) -> pl.DataFrame:
    """Return the flights scheduled in ``[first, last)``.

    Args:
        first: first day in New York, as ``YYYY-MM-DD``.
        last: the day after the last one.
    """
    return clean(load_flights(first, last))


@step(snapshot="weather")
def weather() -> pl.DataFrame:
    """Return the hourly weather at the three airports."""
    return load_weather()


@step
def known(flights: pl.DataFrame, weather: pl.DataFrame, last: str, extra: tuple[str, ...]) -> pl.DataFrame:
    """Return one row a flight: what was known two hours before its departure, and whether it was late.

    Args:
        flights: rows as of ``load_flights``.
        weather: rows as of ``load_weather``.
        last: outcomes that became known on this day or later are not used.
        extra: further columns of ``flights`` to keep as inputs.
    """
    rows = with_operations(with_weather(with_asked(flights), weather), flights)
    return with_label(rows, last).select("flight_id", "asked", *INPUTS, *extra, "late")


@step
def split(rows: pl.DataFrame, last: str, holdout_days: int) -> pl.DataFrame:
    """Return the rows with ``part``: ``holdout`` for the last days, ``training`` for all before.

    Args:
        rows: with ``asked`` (UTC).
        last: the day after the last one.
        holdout_days: length of the holdout.
    """
    begin = pl.lit(last).str.to_datetime("%Y-%m-%d", time_zone="UTC") - pl.duration(days=holdout_days)
    return rows.with_columns(part=pl.when(pl.col("asked") < begin).then(pl.lit("training")).otherwise(pl.lit("holdout")))


@step
def train(
    rows: pl.DataFrame, features: str, extra: tuple[str, ...], depth: int | None, leaves: int, learning_rate: float, seed: int
) -> Model:
    """Return gradient-boosted trees, fitted to the training part.

    Args:
        rows: with ``part``.
        features: a name in ``FEATURES``.
        extra: inputs beyond ``INPUTS``.
        depth: of each tree, or None without a limit.
        leaves: of each tree, at most.
        learning_rate: share of each tree's correction that is taken.
        seed: of the estimator.
    """
    training, holdout = (rows.filter(part=part).drop("part") for part in ("training", "holdout"))
    inputs = training.select(*INPUTS, *extra)
    function = FEATURES[features]
    estimator = HistGradientBoostingClassifier(
        max_iter=150,
        max_depth=depth,
        max_leaf_nodes=leaves,
        learning_rate=learning_rate,
        min_samples_leaf=200,
        categorical_features=list(range(len(CATEGORIES))),
        early_stopping=False,
        random_state=seed,
    )
    estimator.fit(function(inputs).to_numpy(), training["late"].to_numpy())
    return Model(estimator, name="flights", features=function, example=inputs.head(5), training=training, holdout=holdout)


@step
def evaluate(model: Model, rows: pl.DataFrame) -> dict[str, float]:
    """Return how the model does on the holdout, beside the manual rule.

    Args:
        model: what ``train`` returned.
        rows: with ``part``.
    """
    holdout = rows.filter(part="holdout")
    late, answers, acts = holdout["late"].to_numpy(), model.predict(holdout), rule(holdout).to_numpy()
    return {
        "rows": float(holdout.height),
        "late_share": float(late.mean()),
        "auc": float(roc_auc_score(late, answers)),
        "brier": float(brier_score_loss(late, answers)),
        "rule_auc": float(roc_auc_score(late, acts)),
    }


@pipeline
def late_arrivals(
    first: str = "2013-01-01",
    last: str = "2013-05-01",
    holdout_days: int = 50,
    depth: int | None = None,
    leaves: int = 15,
    learning_rate: float = 0.1,
    seed: int = 0,
    extra: tuple[str, ...] = (),
    features: str = "prepare",
) -> dict[str, object]:
    """Train on the flights of ``[first, last)`` and judge the model on the last days of them.

    Args:
        first: first day in New York, as ``YYYY-MM-DD``.
        last: the day after the last one; nothing that became known later is used.
        holdout_days: so many last days are kept from training. Flights of one day resemble each other, so what counts as
            evidence is days: three weeks could neither show a candidate's worth nor, later, a decay.
        depth: of each tree, or None without a limit.
        leaves: of each tree, at most.
        learning_rate: share of each tree's correction that is taken.
        seed: of the estimator.
        extra: columns of the flights to use as further inputs. ``("dep_delay",)`` makes a wonderful model that cannot be used.
        features: ``prepare``, or ``prepare_without_unit`` for one with a mistake in it.
    """
    rows = split(known(flights(first, last), weather(), last, extra), last, holdout_days)
    model = train(rows, features, extra, depth, leaves, learning_rate, seed)
    return {"model": model, "metrics": evaluate(model, rows)}
