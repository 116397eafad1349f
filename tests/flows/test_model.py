"""The way of a model, from its training to all of the traffic and back when it must, and on it the way of a prediction: from the socket to
where its answer came from, through the death of the server, to its label. Each test goes on where the one before ended.
"""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.errors import Conflict, Denied, InvalidInput, NotFound, Refused
from plimsoll.records.access import ListEvents, VerifyEvents
from plimsoll.records.deployment import (
    ApproveRelease,
    CreateRelease,
    Deployment,
    ExplainPrediction,
    Explanation,
    GetDeployment,
    GetRelease,
    KillDeployment,
    ListApprovals,
    MoveRollout,
    Release,
    ReviveDeployment,
    RollBack,
    StartRollout,
)
from plimsoll.records.model import GetVersion
from plimsoll.records.monitor import AppendLabels, ListWindows, WatchWindow
from tests.flows.real_platform import APPROVER, AUTHOR, Platform, answers, printed, unreachable, until, weather

pytestmark = pytest.mark.slow


def deployment(platform: Platform) -> Deployment:
    """Return what is deployed."""
    return platform.author.do(GetDeployment(model="trains"))


def live(platform: Platform) -> int:
    """Return the number of the version that answers."""
    stable = deployment(platform).stable
    assert stable is not None
    return platform.author.do(GetRelease(id=stable)).number


def drive(platform: Platform, release: Release, rain: float = 0.0, outage: bool = False) -> tuple[set[tuple[str, float]], set[str]]:
    """Ask until a rollout has ended; every answer must be good. Return the steps that were seen and the tracks that answered.

    Args:
        platform: where.
        release: the candidate.
        rain: added to each second request's rain once the candidate answers by itself.
        outage: kill the server once the candidate answers by itself, and start it again after some requests.
    """
    chance = weather(3)
    seen: set[tuple[str, float]] = set()
    tracks: set[str] = set()
    asked = 0

    def once() -> bool:
        nonlocal asked, outage
        state = platform.state(release)
        now = deployment(platform)
        # Between the two answers the release may have gone on.
        if now.candidate == release.id and platform.state(release) == state:
            seen.add((state, (0.0, 0.5, 1.0)[now.step]))
        down = outage and "canary" in tracks
        if down:
            platform.kill()
        for _ in range(10):
            asked += 1
            wet = rain if now.step > 0 and asked % 2 else 0.0
            response = platform.ask((chance.gauss(0, 1) + wet, chance.gauss(0, 1)), unit=f"train {asked}")
            assert response.status_code == 200, response.text
            tracks.add(response.headers["plimsoll-track"])
        if down:
            platform.start()
            outage = False
        return state not in ("proposed", "approved", "rolling")

    until(once, f"the rollout of {release.number} has ended")
    platform.served()
    return seen, tracks


def explained(platform: Platform, request_id: str) -> Explanation:
    """Return where an answer came from, once its log has arrived."""

    def look() -> Explanation | None:
        try:
            return platform.author.do(ExplainPrediction(request_id=request_id))
        except NotFound:
            return None

    found: Explanation = until(look, f"the prediction {request_id} is logged")
    return found


def test_a_first_version_goes_live_once_somebody_else_than_its_author_says_yes(platform: Platform) -> None:
    version = platform.train("rain_alone")
    assert (version.number, version.author) == (1, AUTHOR)
    with pytest.raises(Refused, match="was never examined"):
        platform.author.do(CreateRelease(ref="trains/1"))
    report = platform.check(version)
    assert {verdict.check: verdict.outcome for verdict in report.verdicts if verdict.outcome == "fail"} == {}
    release = platform.propose(version)
    assert (release.state, release.author) == ("proposed", AUTHOR)

    with pytest.raises(Refused, match="is the author"):
        platform.author.do(ApproveRelease(id=release.id, digest=release.digest))
    by_hand = platform.command("approve", release.id)
    assert by_hand.returncode == 3
    assert "is the author" in by_hand.stderr
    with pytest.raises(Refused, match="proposed"):
        platform.author.do(StartRollout(release_id=release.id))
    with pytest.raises(Refused, match="digest"):
        platform.approver.do(ApproveRelease(id=release.id, digest="0" * 64))
    with pytest.raises(Denied):
        platform.approver.do(CreateRelease(ref="trains/1"))
    assert platform.state(release) == "proposed"
    assert platform.plane_pid() is None

    approved = platform.approver.do(ApproveRelease(id=release.id, digest=release.digest, note="Looked at it."))
    assert approved.state == "approved"
    until(lambda: platform.state(release) == "live", "the worker has put it live")
    platform.served()
    assert live(platform) == 1
    assert platform.author.do(GetVersion(ref="trains@production")).number == 1
    approvals = platform.author.do(ListApprovals(release_id=release.id))
    assert [(given.actor, given.digest) for given in approvals] == [(APPROVER, release.digest)]
    assert len(answers(platform.ask((1.0, 1.0), (0.0, 0.0)))) == 2


def test_a_second_version_earns_its_traffic_step_by_step(platform: Platform) -> None:
    first = answers(platform.ask((1.0, 1.0)))
    release = platform.release("rain_and_wind")
    # Also across a server that is killed on the way: rollout and counts are in the database, the plane goes on alone.
    seen, tracks = drive(platform, release, outage=True)
    assert seen == {("rolling", 0.0), ("rolling", 0.5)}
    assert tracks == {"stable", "canary"}
    assert platform.state(release) == "live"
    now = deployment(platform)
    assert (now.stable, now.candidate) == (release.id, None)
    assert live(platform) == 2
    assert platform.author.do(GetRelease(id=now.previous or "")).state == "retired"
    response = platform.ask((1.0, 1.0))
    assert answers(response) != first
    assert response.headers["plimsoll-version"] == "2"
    moved = [event for event in platform.author.do(ListEvents()) if event.verb in ("MoveRollout", "StartRollout")]
    assert [event.actor for event in moved[:3]] == ["worker"] * 3


# What it answers.


def test_an_answer_is_logged_and_tells_which_version_run_data_and_person_it_came_from(platform: Platform) -> None:
    wet, dry = answers(platform.ask((3.0, 2.0), (-3.0, -2.0), id="first-1", unit="IC 1", at="2013-05-01T10:00:00Z"))
    assert wet > 0.9
    assert dry < 0.1
    found = explained(platform, "first-1")
    assert [(row["row"], row["output"], row["in.rain"], row["in.wind"]) for row in found.rows] == [(0, wet, 3.0, 2.0), (1, dry, -3.0, -2.0)]
    assert {(row["track"], row["status"], row["unit"]) for row in found.rows} == {("stable", 200, "IC 1")}
    assert {row["at"] for row in found.rows} == {clock.from_iso("2013-05-01T10:00:00Z")}

    why = platform.command("predictions", "why", "first-1")
    assert why.returncode == 0, why.stderr
    whole = printed(platform.command("predictions", "why", "first-1", "--json"))
    lineage, release = whole["lineage"], whole["release"]
    assert (lineage["version"]["model"], lineage["version"]["number"], lineage["version"]["author"]) == ("trains", 2, AUTHOR)
    assert lineage["run"]["params"]["function"] == "rain_and_wind"
    assert set(lineage["data"]) == {"training", "holdout"}
    assert lineage["report"]["verdicts"]
    assert release["state"] == "live"
    assert [given["actor"] for given in whole["approvals"]] == [APPROVER]
    for said in ("trains/2", lineage["version"]["digest"], lineage["run"]["id"], lineage["data"]["training"]["digest"], f"{APPROVER} at"):
        assert said in why.stdout
    missing = platform.command("predictions", "why", "nobody-asked")
    assert missing.returncode == 4


def test_invocations_and_the_open_protocol_give_the_same_answers_with_a_request_id(platform: Platform) -> None:
    rows = [(0.3, 0.4), (1.5, -0.2), (-1.0, 2.0)]
    numbers = answers(platform.ask(*rows))
    records = [{"rain": rain, "wind": wind} for rain, wind in rows]
    bodies: list[Any] = [
        {"dataframe_records": records},
        {"dataframe_split": {"columns": ["wind", "rain"], "data": [[wind, rain] for rain, wind in rows]}},
        {"inputs": {"rain": [rain for rain, _ in rows], "wind": [wind for _, wind in rows]}},
    ]
    for path in ("/invocations", "/models/trains/invocations"):
        for index, body in enumerate(bodies):
            response = platform.plane.post(path, json=body, headers={"x-request-id": f"same{path.replace('/', '-')}-{index}"})
            assert response.json() == {"predictions": numbers}
            assert response.headers["x-request-id"] == f"same{path.replace('/', '-')}-{index}"
            assert response.headers["plimsoll-version"] == "2"
    text = "rain,wind\n" + "".join(f"{rain},{wind}\n" for rain, wind in rows)
    response = platform.plane.post("/invocations", content=text, headers={"content-type": "text/csv"})
    assert response.json() == {"predictions": numbers}
    assert len(explained(platform, response.headers["x-request-id"]).rows) == 3


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
    platform: Platform, inputs: dict[str, tuple[list[int], str, list[Any]]], said: str
) -> None:
    tensors = [{"name": name, "shape": shape, "datatype": kind, "data": data} for name, (shape, kind, data) in inputs.items()]
    before = platform.metric("plimsoll_requests_total", status="400")
    response = platform.plane.post("/v2/models/trains/infer", json={"inputs": tensors})
    assert response.status_code == 400
    assert said in response.json()["error"]
    assert platform.metric("plimsoll_requests_total", status="400") == before + 1


def test_the_plane_answers_while_the_server_is_dead_and_its_log_arrives_later_exactly_once(platform: Platform) -> None:
    chance = weather(1)
    asked = {f"dark-{index}": (chance.gauss(0, 1), chance.gauss(0, 1)) for index in range(60)}
    answered: dict[str, list[float]] = {}
    for index, (id, row) in enumerate(asked.items()):
        if index == 20:
            platform.kill()
        answered[id] = answers(platform.ask(row, id=id, at=f"2013-06-01T10:00:{index % 60:02d}Z"))
    assert unreachable(platform)
    pid = platform.plane_pid()
    assert pid is not None
    platform.start()
    assert explained(platform, "dark-59").rows
    for id, values in answered.items():
        assert [row["output"] for row in explained(platform, id).rows] == values, id
    report = platform.author.do(WatchWindow(model="trains", start=clock.from_iso("2013-06-01"), end=clock.from_iso("2013-06-02")))
    assert report.rows == 60
    # The same plane all the time: the next server took it over.
    assert platform.plane_pid() == pid


def test_a_plane_that_is_killed_is_started_again_and_loses_no_answer_it_gave(platform: Platform) -> None:
    pid = platform.plane_pid()
    assert pid is not None
    asked = {f"last-{index}": (0.1 * index, 0.0) for index in range(20)}
    given = {id: answers(platform.ask(row, id=id, at="2013-07-01T10:00:00Z")) for id, row in asked.items()}
    os.kill(pid, signal.SIGKILL)
    until(lambda: platform.plane_pid() not in (None, pid), "another plane answers")
    until(lambda: platform.plane.get("/v2/health/ready").status_code == 200, "the other plane is ready")
    assert answers(platform.ask((0.0, 0.0))) == given["last-0"]
    for id, values in given.items():
        assert [row["output"] for row in explained(platform, id).rows] == values
    report = platform.author.do(WatchWindow(model="trains", start=clock.from_iso("2013-07-01"), end=clock.from_iso("2013-07-02")))
    assert report.rows == 20


def test_labels_that_come_later_become_a_report_of_the_window(platform: Platform) -> None:
    chance = weather(2)
    rows = [(chance.gauss(0, 1), chance.gauss(0, 1)) for _ in range(200)]
    start, end = clock.from_iso("2013-08-01"), clock.from_iso("2013-08-02")
    given: list[float] = []
    for index in range(0, 200, 10):
        given += answers(platform.ask(*rows[index : index + 10], id=f"label-{index // 10}", at=f"2013-08-01T{index // 10:02d}:30:00Z"))
    explained(platform, "label-19")
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
    early = platform.author.do(WatchWindow(model="trains", start=start, end=end))
    assert (early.rows, early.labels) == (200, 0)
    assert platform.author.do(labels).added == 200
    assert platform.author.do(labels).added == 0
    report = platform.author.do(WatchWindow(model="trains", start=start, end=end))
    assert (report.rows, report.labels) == (200, 200)
    brier = sum((answer - label) ** 2 for answer, label in zip(given, truth, strict=True)) / 200
    assert math.isclose(report.metrics["brier"], brier, rel_tol=1e-9)
    assert math.isclose(report.metrics["positive_share"], sum(truth) / 200)
    assert math.isclose(report.metrics["mean_prediction"], sum(given) / 200)
    assert report.metrics["auc"] > 0.75
    unknown = platform.author.do(WatchWindow(model="trains", start=start, end=end, as_of=end - 1))
    assert (unknown.rows, unknown.labels) == (200, 0)
    newest = platform.author.do(ListWindows(model="trains"))
    assert [(found.start, found.labels) for found in newest if found.start == start] == [(start, 0)]


def test_the_metrics_count_what_was_answered(platform: Platform) -> None:
    before = platform.metric("plimsoll_requests_total", model="trains", version="2", track="stable", status="200")
    for _ in range(7):
        answers(platform.ask((0.0, 0.0)))
    assert platform.metric("plimsoll_requests_total", model="trains", version="2", track="stable", status="200") == before + 7
    assert platform.metric("plimsoll_request_seconds_count", model="trains", track="stable") >= before + 7
    assert platform.metric("plimsoll_log_dropped_rows_total") == 0
    assert platform.metric("plimsoll_replica_up") >= 1


# Back when it must.


def test_a_third_version_that_fails_on_live_input_is_taken_back_and_no_caller_notices(platform: Platform) -> None:
    release = platform.release("picky")
    seen, tracks = drive(platform, release, rain=30.0)
    assert ("rolling", 0.5) in seen
    # What the canary fails on is answered by stable; it may be taken back before it has answered anything itself.
    assert "stable" in tracks <= {"stable", "canary"}
    ended = platform.author.do(GetRelease(id=release.id))
    assert ended.state == "rolled_back"
    assert "candidate failed" in ended.reason
    assert "stable version failed 0 times" in ended.reason
    assert (live(platform), deployment(platform).candidate) == (2, None)
    assert platform.metric("plimsoll_requests_total", status="500") == 0
    assert platform.metric("plimsoll_requests_total", status="503") == 0
    assert platform.ask((30.0, 0.0)).headers["plimsoll-version"] == "2"


def test_the_kill_switch_answers_in_the_same_schema_and_says_that_it_does(platform: Platform) -> None:
    def shape(body: dict[str, Any]) -> tuple[object, ...]:
        (tensor,) = body["outputs"]
        return sorted(body), sorted(tensor), tensor["name"], tensor["shape"], tensor["datatype"]

    before = platform.ask((1.0, 1.0), (0.0, 0.0))
    with pytest.raises(Conflict, match="no rollout"):
        platform.author.do(MoveRollout(model="trains", to="advance", reason="by hand"))
    platform.author.do(KillDeployment(model="trains", mode="fallback", reason="Nonsense answers."))
    platform.served()
    killed = platform.ask((1.0, 1.0), (0.0, 0.0))
    assert answers(killed) == [0.1, 0.1]
    assert shape(killed.json()) == shape(before.json())
    assert killed.json()["parameters"] == {"track": "fallback", "fallback": True, "kill": "fallback"}
    assert killed.headers["plimsoll-fallback"] == "true"

    platform.author.do(ReviveDeployment(model="trains", reason="Understood."))
    platform.served()
    assert answers(platform.ask((1.0, 1.0), (0.0, 0.0))) == answers(before)

    platform.author.do(KillDeployment(model="trains", mode="stable", reason="Version 2 is wrong."))
    platform.served()
    earlier = platform.ask((1.0, 1.0), (0.0, 0.0))
    assert earlier.headers["plimsoll-version"] == "1"
    assert earlier.json()["parameters"]["kill"] == "stable"
    assert answers(earlier) != answers(before)
    platform.author.do(ReviveDeployment(model="trains", reason="Version 2 is right."))
    platform.served()
    assert platform.ask((1.0, 1.0)).headers["plimsoll-version"] == "2"


def test_a_roll_back_returns_to_the_version_that_is_still_loaded(platform: Platform) -> None:
    losses = platform.metric("plimsoll_replica_losses_total")
    platform.approver.do(RollBack(model="trains", reason="People complain."))
    platform.served()
    response = platform.ask((1.0, 1.0))
    assert response.headers["plimsoll-version"] == "1"
    assert live(platform) == 1
    assert platform.author.do(GetVersion(ref="trains@production")).number == 1
    assert platform.metric("plimsoll_replica_losses_total") == losses
    with pytest.raises(Conflict, match="no earlier release"):
        platform.approver.do(RollBack(model="trains", reason="Again."))


def test_the_way_is_in_the_audit_log_and_the_log_is_whole(platform: Platform) -> None:
    with pytest.raises(InvalidInput):
        platform.author.do(GetRelease(id="x"))
    events = platform.author.do(ListEvents(limit=1000))
    done = {event.verb for event in events}
    assert {"CreateVersion", "RecordReport", "CreateRelease", "ApproveRelease", "StartRollout", "MoveRollout"} <= done
    assert {"KillDeployment", "ReviveDeployment", "RollBack"} <= done
    assert {event.actor for event in events if event.verb == "ApproveRelease"} == {APPROVER}
    chain = platform.author.do(VerifyEvents())
    assert chain.broken_at is None
    assert chain.events >= len(events)
