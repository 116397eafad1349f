"""The way of a prediction: from the socket to where its answer came from, through the death of the server, to its label."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.errors import NotFound
from plimsoll.records.deployment import ExplainPrediction, Explanation
from plimsoll.records.monitor import AppendLabels, ListWindows, WatchWindow
from tests.flows.real_platform import APPROVER, AUTHOR, Platform, answers, printed, unreachable, until, weather

pytestmark = pytest.mark.slow


def explained(platform: Platform, request_id: str) -> Explanation:
    """Return where an answer came from, once its log has arrived."""

    def look() -> Explanation | None:
        try:
            return platform.author.do(ExplainPrediction(request_id=request_id))
        except NotFound:
            return None

    found: Explanation = until(look, f"the prediction {request_id} is logged")
    return found


@pytest.fixture(scope="module")
def live(platform: Platform) -> Platform:
    """The platform with a first version in production, reached over the whole way that a version has to go."""
    release = platform.release("rain_and_wind")
    until(lambda: platform.state(release) == "live", "the worker has rolled the first release out")
    platform.served()
    return platform


def test_an_answer_is_logged_and_tells_which_version_run_data_and_person_it_came_from(live: Platform) -> None:
    wet, dry = answers(live.ask((3.0, 2.0), (-3.0, -2.0), id="first-1", unit="IC 1", at="2013-05-01T10:00:00Z"))
    assert wet > 0.9
    assert dry < 0.1
    found = explained(live, "first-1")
    assert [(row["row"], row["output"], row["in.rain"], row["in.wind"]) for row in found.rows] == [(0, wet, 3.0, 2.0), (1, dry, -3.0, -2.0)]
    assert {(row["track"], row["status"], row["unit"]) for row in found.rows} == {("stable", 200, "IC 1")}
    assert {row["at"] for row in found.rows} == {clock.from_iso("2013-05-01T10:00:00Z")}

    why = live.command("predictions", "why", "first-1")
    assert why.returncode == 0, why.stderr
    whole = printed(live.command("predictions", "why", "first-1", "--json"))
    lineage, release = whole["lineage"], whole["release"]
    assert (lineage["version"]["model"], lineage["version"]["number"], lineage["version"]["author"]) == ("trains", 1, AUTHOR)
    assert lineage["run"]["params"]["function"] == "rain_and_wind"
    assert set(lineage["data"]) == {"training", "holdout"}
    assert lineage["report"]["verdicts"]
    assert release["state"] == "live"
    assert [given["actor"] for given in whole["approvals"]] == [APPROVER]
    for said in ("trains/1", lineage["version"]["digest"], lineage["run"]["id"], lineage["data"]["training"]["digest"], f"{APPROVER} at"):
        assert said in why.stdout
    missing = live.command("predictions", "why", "nobody-asked")
    assert missing.returncode == 4


def test_invocations_and_the_open_protocol_give_the_same_answers_with_a_request_id(live: Platform) -> None:
    rows = [(0.3, 0.4), (1.5, -0.2), (-1.0, 2.0)]
    numbers = answers(live.ask(*rows))
    records = [{"rain": rain, "wind": wind} for rain, wind in rows]
    bodies: list[Any] = [
        {"dataframe_records": records},
        {"dataframe_split": {"columns": ["wind", "rain"], "data": [[wind, rain] for rain, wind in rows]}},
        {"inputs": {"rain": [rain for rain, _ in rows], "wind": [wind for _, wind in rows]}},
    ]
    for path in ("/invocations", "/models/trains/invocations"):
        for index, body in enumerate(bodies):
            response = live.plane.post(path, json=body, headers={"x-request-id": f"same{path.replace('/', '-')}-{index}"})
            assert response.json() == {"predictions": numbers}
            assert response.headers["x-request-id"] == f"same{path.replace('/', '-')}-{index}"
            assert response.headers["plimsoll-version"] == "1"
    text = "rain,wind\n" + "".join(f"{rain},{wind}\n" for rain, wind in rows)
    response = live.plane.post("/invocations", content=text, headers={"content-type": "text/csv"})
    assert response.json() == {"predictions": numbers}
    assert len(explained(live, response.headers["x-request-id"]).rows) == 3


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"rain": ([1], "FP64", [1.0])}, "'wind' is missing"),
        ({"rain": ([1], "FP64", [1.0]), "wind": ([1], "FP64", [1.0]), "snow": ([1], "FP64", [1.0])}, "'snow' is not known"),
        ({"rain": ([1], "FP64", ["much"]), "wind": ([1], "FP64", [1.0])}, "'rain' holds 'much' in row 0"),
        ({"rain": ([1], "BYTES", ["1"]), "wind": ([1], "FP64", [1.0])}, "'rain' is BYTES"),
        ({"rain": ([2], "FP64", [1.0]), "wind": ([1], "FP64", [1.0])}, "'rain' has 1 values and the shape [2]"),
        ({"rain": ([1, 2], "FP64", [1.0, 2.0]), "wind": ([1], "FP64", [1.0])}, "'rain' has the shape [1, 2]"),
        ({"rain": ([2], "FP64", [1.0, 2.0]), "wind": ([1], "FP64", [1.0])}, "'wind' has 1 rows"),
        ({"rain": ([0], "FP64", []), "wind": ([0], "FP64", [])}, "0 rows"),
    ],
)
def test_a_wrong_request_is_refused_with_the_column_that_is_wrong(
    live: Platform, inputs: dict[str, tuple[list[int], str, list[Any]]], said: str
) -> None:
    tensors = [{"name": name, "shape": shape, "datatype": kind, "data": data} for name, (shape, kind, data) in inputs.items()]
    before = live.metric("plimsoll_requests_total", status="400")
    response = live.plane.post("/v2/models/trains/infer", json={"inputs": tensors})
    assert response.status_code == 400
    assert said in response.json()["error"]
    assert live.metric("plimsoll_requests_total", status="400") == before + 1


def test_the_plane_answers_while_the_server_is_dead_and_its_log_arrives_later_exactly_once(live: Platform) -> None:
    chance = weather(1)
    asked = {f"dark-{index}": (chance.gauss(0, 1), chance.gauss(0, 1)) for index in range(60)}
    answered: dict[str, list[float]] = {}
    for index, (id, row) in enumerate(asked.items()):
        if index == 20:
            live.kill()
        answered[id] = answers(live.ask(row, id=id, at=f"2013-06-01T10:00:{index % 60:02d}Z"))
    assert unreachable(live)
    pid = live.plane_pid()
    assert pid is not None
    live.start()
    assert explained(live, "dark-59").rows
    for id, values in answered.items():
        assert [row["output"] for row in explained(live, id).rows] == values, id
    report = live.author.do(WatchWindow(model="trains", start=clock.from_iso("2013-06-01"), end=clock.from_iso("2013-06-02")))
    assert report.rows == 60
    # The same plane all the time: the next server took it over.
    assert live.plane_pid() == pid


def test_a_plane_that_is_killed_is_started_again_and_loses_no_answer_it_gave(live: Platform) -> None:

    pid = live.plane_pid()
    assert pid is not None
    given = {f"last-{index}": answers(live.ask((0.1 * index, 0.0), id=f"last-{index}", at="2013-07-01T10:00:00Z")) for index in range(20)}
    os.kill(pid, signal.SIGKILL)
    until(lambda: live.plane_pid() not in (None, pid), "another plane answers")
    until(lambda: live.plane.get("/v2/health/ready").status_code == 200, "the other plane is ready")
    assert answers(live.ask((0.0, 0.0))) == given["last-0"]
    for id, values in given.items():
        assert [row["output"] for row in explained(live, id).rows] == values
    report = live.author.do(WatchWindow(model="trains", start=clock.from_iso("2013-07-01"), end=clock.from_iso("2013-07-02")))
    assert report.rows == 20


def test_labels_that_come_later_become_a_report_of_the_window(live: Platform) -> None:
    chance = weather(2)
    rows = [(chance.gauss(0, 1), chance.gauss(0, 1)) for _ in range(200)]
    start, end = clock.from_iso("2013-08-01"), clock.from_iso("2013-08-02")
    given: list[float] = []
    for index in range(0, 200, 10):
        given += answers(live.ask(*rows[index : index + 10], id=f"label-{index // 10}", at=f"2013-08-01T{index // 10:02d}:30:00Z"))
    explained(live, "label-19")
    truth = [int(rain + wind + chance.gauss(0, 1) > 1.2) for rain, wind in rows]
    labels = AppendLabels(
        model="trains",
        writer="stationmaster",
        sequence=1,
        request_id=tuple(f"label-{index // 10}" for index in range(200)),
        row=tuple(index % 10 for index in range(200)),
        at=(end,) * 200,
        value=tuple(truth),
    )
    early = live.author.do(WatchWindow(model="trains", start=start, end=end))
    assert (early.rows, early.labels) == (200, 0)
    assert live.author.do(labels).added == 200
    assert live.author.do(labels).added == 0
    report = live.author.do(WatchWindow(model="trains", start=start, end=end))
    assert (report.rows, report.labels) == (200, 200)
    brier = sum((answer - label) ** 2 for answer, label in zip(given, truth, strict=True)) / 200
    assert math.isclose(report.metrics["brier"], brier, rel_tol=1e-9)
    assert math.isclose(report.metrics["positive_share"], sum(truth) / 200)
    assert math.isclose(report.metrics["mean_prediction"], sum(given) / 200)
    assert report.metrics["auc"] > 0.75
    unknown = live.author.do(WatchWindow(model="trains", start=start, end=end, as_of=end - 1))
    assert (unknown.rows, unknown.labels) == (200, 0)
    newest = live.author.do(ListWindows(model="trains"))
    assert [(found.start, found.labels) for found in newest if found.start == start] == [(start, 0)]


def test_the_metrics_count_what_was_answered(live: Platform) -> None:
    before = live.metric("plimsoll_requests_total", model="trains", version="1", track="stable", status="200")
    for _ in range(7):
        answers(live.ask((0.0, 0.0)))
    assert live.metric("plimsoll_requests_total", model="trains", version="1", track="stable", status="200") == before + 7
    assert live.metric("plimsoll_request_seconds_count", model="trains", track="stable") >= before + 7
    assert live.metric("plimsoll_log_dropped_rows_total") == 0
    assert live.metric("plimsoll_replica_up") >= 1
