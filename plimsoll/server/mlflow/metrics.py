"""Histories of metrics, in MLflow's words."""

from __future__ import annotations

from typing import Any

from plimsoll.errors import NotFound
from plimsoll.records.run import GetSeries, Series
from plimsoll.server.mlflow.runs import known
from plimsoll.server.mlflow.speech import HELP, INVALID, Asked, Spoken, shown_number

_MOST_RUNS = 100
_MOST_POINTS = 2500

#: Points of histories that are not thinned, all runs together.
_MOST_AT_ONCE = 25_000


def _series(asked: Asked, wanted: GetSeries) -> Series:
    try:
        return asked.do(wanted)
    except NotFound:
        return Series(name=wanted.name, steps=(), times=(), values=(), count=0, sampled=False)


def _point(series: Series, index: int) -> dict[str, Any]:
    value = shown_number(series.values[index])
    return {"key": series.name, "value": value, "timestamp": series.times[index] // 1000, "step": series.steps[index]}


def history(asked: Asked) -> dict[str, Any]:
    """Return a metric's history in order of (step, arrival), whole or a page of it."""
    run_id, key = asked.run_id(), asked.text("metric_key")
    limit = asked.whole("max_results", 0)
    if "max_results" in asked.fields and limit <= 0:
        raise Spoken(INVALID, f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer.")
    token = asked.text("page_token", required=False)
    if token and not token.isdecimal():
        raise Spoken(INVALID, "Invalid page token, could not base64-decode. Take the token of the page before.")
    begin = asked.whole("page_token", 0)
    series = _series(asked, GetSeries(run_id=run_id, name=key, first=begin, limit=limit or None))
    if not series.count:
        # Asked last: a run has no history more seldom than it takes to read all that is known of one.
        known(asked, run_id)
    end = begin + len(series.steps)
    more = {"next_page_token": str(end)} if end < series.count and series.steps else {}
    return {"metrics": [_point(series, index) for index in range(len(series.steps))], **more}


def whole_histories(asked: Asked) -> dict[str, Any]:
    """Return histories of one metric in many runs, run by run, point by point until there are enough."""
    ids = asked.words("run_id")
    if not ids:
        raise Spoken(INVALID, "GetMetricHistoryBulk request must specify at least one run_id.")
    if len(ids) > _MOST_RUNS:
        raise Spoken(INVALID, f"GetMetricHistoryBulk request cannot specify more than {_MOST_RUNS} run_ids. Received {len(ids)} run_ids.")
    key = asked.text("metric_key", required=False)
    if not key:
        raise Spoken(INVALID, "GetMetricHistoryBulk request must specify a metric_key.")
    left = min(asked.whole("max_results", _MOST_AT_ONCE), _MOST_AT_ONCE)
    found: list[dict[str, Any]] = []
    for id in sorted(ids):
        if left <= 0:
            break
        series = _series(asked, GetSeries(run_id=id, name=key, limit=left))
        found += [{**_point(series, at), "run_id": id} for at in range(len(series.steps))]
        left -= len(series.steps)
    return {"metrics": found}


def bulk(asked: Asked) -> dict[str, Any]:
    """Return histories of one metric in many runs; of many points about ``max_results``, every extreme among them."""
    ids = asked.fields.get("run_ids")
    ids = [ids] if isinstance(ids, str) else ids
    if not ids:
        raise Spoken(INVALID, f"Missing value for required parameter 'run_ids'.{HELP}")
    if len(ids) > _MOST_RUNS:
        raise Spoken(
            INVALID, f"GetMetricHistoryBulkInterval request must specify at most {_MOST_RUNS} run_ids. Received {len(ids)} run_ids.{HELP}"
        )
    key, limit = asked.text("metric_key"), asked.whole("max_results", _MOST_POINTS)
    if not 1 <= limit <= _MOST_POINTS:
        raise Spoken(INVALID, f"max_results must be between 1 and {_MOST_POINTS}.{HELP}")
    first, last = asked.fields.get("start_step"), asked.fields.get("end_step")
    if (first is None) != (last is None):
        raise Spoken(INVALID, "If either start step or end step are specified, both must be specified.")
    low, high = asked.whole("start_step", -(2**63)), asked.whole("end_step", 2**63 - 1)
    if low > high:
        raise Spoken(INVALID, f"end_step must be greater than start_step. Found start_step={low} and end_step={high}.")
    found: list[dict[str, Any]] = []
    for id in ids:
        series = _sampled(asked, str(id), key, limit, None if first is None else (low, high))
        found += [{**_point(series, at), "run_id": id} for at in range(len(series.steps))]
    return {"metrics": found}


def _sampled(asked: Asked, run_id: str, key: str, limit: int, steps: tuple[int, int] | None) -> Series:
    """Return every point where these are no more than the limit, else about as many, the extremes among them."""
    series = _series(asked, GetSeries(run_id=run_id, name=key, steps=steps, limit=limit))
    if series.count <= limit:
        return series
    # A column of a chart keeps one point to four, the fewer the calmer the line: first, smallest, largest, last.
    for points in (1, 2, 4):
        series = _series(asked, GetSeries(run_id=run_id, name=key, steps=steps, width=max(1, limit // points)))
        if len(series.steps) <= limit:
            break
    return series
