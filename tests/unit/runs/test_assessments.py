from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.tracking.experiment import CreateExperiment
from plimsoll.records.tracking.traces.assessment import (
    Assessment,
    AssessmentError,
    AssessmentKind,
    DeleteAssessment,
    GetAssessment,
    LogAssessment,
    Said,
    UpdateAssessment,
)
from plimsoll.records.tracking.traces.trace import DeleteTraces, GetTrace, RecordTrace, RequestTrace, SearchTraces
from plimsoll.runs.traces import assessed
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database, with three traces."""
    opened = open_yard(tmp_path / "home", database_url)
    for number in range(3):
        opened.workspace.do(RecordTrace(trace=trace(number)), opened.dana)
    yield opened
    opened.workspace.close()


def trace(number: int, *thought: Assessment) -> RequestTrace:
    return RequestTrace(id=f"tr-{number}", experiment_id="0", state="ok", started=number, duration=1, assessments=thought)


def about(number: int, value: Any, name: str = "good", kind: AssessmentKind = "feedback", **more: Any) -> Assessment:
    return Assessment(trace_id=f"tr-{number}", name=name, kind=kind, said=Said(value=value), **more)


def log(yard: Yard, number: int, value: Any, name: str = "good", kind: AssessmentKind = "feedback", **more: Any) -> Assessment:
    return yard.workspace.do(LogAssessment(assessment=about(number, value, name, kind, **more)), yard.dana)


def of(yard: Yard, number: int) -> tuple[Assessment, ...]:
    return yard.workspace.do(GetTrace(id=f"tr-{number}"), yard.dana).assessments


def found(yard: Yard, where: str) -> list[str]:
    return sorted(each.id for each in yard.workspace.do(SearchTraces(experiments=("0",), where=where), yard.dana).traces)


@pytest.mark.parametrize("value", [None, True, False, 0, -1.5, 2**40, "", "text", "é\U0001f600", [1, [None]], {"a": {"b": []}}])
def test_an_assessment_comes_back_as_it_was_with_its_trace(yard: Yard, value: Any) -> None:
    error = AssessmentError(code="LIMIT", message="late", stack="a\nb")
    whole = replace(
        about(1, value, source="judge", source_id="gpt", rationale="r", span_id="ab", metadata={"k": "v"}, created=5, updated=6),
        said=Said(value=value, error=error),
    )
    kept = yard.workspace.do(LogAssessment(assessment=whole), yard.dana)
    assert kept == replace(whole, id=kept.id)
    assert yard.workspace.do(GetAssessment(trace_id="tr-1", id=kept.id), yard.dana) == kept
    assert of(yard, 1) == (kept,)
    assert of(yard, 2) == ()


def test_the_same_sent_twice_is_one_and_another_value_is_another(yard: Yard) -> None:
    for value in (1, 1, 2):
        log(yard, 1, value, created=5)
    assert [each.said.value for each in sorted(of(yard, 1), key=lambda each: str(each.said.value))] == [1, 2]


def test_assessments_come_with_a_trace_and_stay_when_it_is_sent_again(yard: Yard) -> None:
    first = yard.workspace.do(RecordTrace(trace=trace(7, about(0, "yes", created=1))), yard.dana).assessments
    assert [(each.trace_id, each.said.value) for each in first] == [("tr-7", "yes")]
    log(yard, 7, "no", created=2)
    again = yard.workspace.do(RecordTrace(trace=trace(7, about(0, "yes", created=1))), yard.dana).assessments
    assert [each.said.value for each in again] == ["yes", "no"]


def test_what_is_overridden_does_not_count_until_nothing_overrides_it(yard: Yard) -> None:
    first = log(yard, 1, "bad")
    second, third = (log(yard, 1, value, overrides=first.id) for value in ("better", "best"))
    assert {each.said.value: each.valid for each in of(yard, 1)} == {"bad": False, "better": True, "best": True}
    for again in (replace(first, id=""), first):
        yard.workspace.do(LogAssessment(assessment=again), yard.dana)
        assert not yard.workspace.do(GetAssessment(trace_id="tr-1", id=first.id), yard.dana).valid
    assert found(yard, "feedback.good = 'bad'") == []
    for gone, valid in ((second, False), (third, True)):
        assert yard.workspace.do(DeleteAssessment(trace_id="tr-1", id=gone.id), yard.dana).said == gone.said
        assert yard.workspace.do(GetAssessment(trace_id="tr-1", id=first.id), yard.dana).valid is valid
    with pytest.raises(NotFound):
        yard.workspace.do(DeleteAssessment(trace_id="tr-1", id=third.id), yard.dana)
    with pytest.raises(NotFound, match="no assessment 'none'"):
        log(yard, 1, 1, overrides="none")


def test_an_update_changes_what_it_names_and_nothing_else(yard: Yard) -> None:
    known = log(yard, 1, 1, rationale="r", metadata={"a": "1"}, created=5)
    asked = UpdateAssessment(trace_id="tr-1", id=known.id, kind="feedback", said=Said(value="new"), metadata={"b": "2"})
    changed = yard.workspace.do(asked, yard.dana)
    assert changed == replace(known, said=Said(value="new"), metadata={"a": "1", "b": "2"}, updated=changed.updated)
    assert changed.updated > known.updated
    assert of(yard, 1) == (changed,)
    assert found(yard, "feedback.good = 'new'") == ["tr-1"]
    renamed = yard.workspace.do(UpdateAssessment(trace_id="tr-1", id=known.id, name="other", rationale=""), yard.dana)
    assert (renamed.name, renamed.rationale, renamed.said) == ("other", "", changed.said)
    with pytest.raises(InvalidInput, match="that is feedback"):
        yard.workspace.do(UpdateAssessment(trace_id="tr-1", id=known.id, kind="expectation", said=Said(value=1)), yard.dana)
    with pytest.raises(NotFound):
        yard.workspace.do(UpdateAssessment(trace_id="tr-2", id=known.id, name="x"), yard.dana)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("feedback.good = 'yes'", ["tr-0"]),
        ("feedback.good != 'yes'", ["tr-1", "tr-2"]),
        ("feedback.good LIKE 'y%'", ["tr-0"]),
        ("feedback.good > 0.5", ["tr-1"]),
        ("feedback.good = 0.75", ["tr-1"]),
        ("feedback.good != 0.75", ["tr-0", "tr-2"]),
        ("feedback.good = '0.75'", ["tr-1"]),
        ("feedback.good = 'true'", ["tr-2"]),
        ("feedback.good >= 0", ["tr-1"]),
        ("feedback.good IS NOT NULL and feedback.none IS NULL", ["tr-0", "tr-1", "tr-2"]),
        ("expectation.good IS NULL", ["tr-1", "tr-2"]),
        ("expectation.good = 'yes'", ["tr-0"]),
        ("expectation.`a b` = 'x' or feedback.good = 'true'", ["tr-1", "tr-2"]),
    ],
)
def test_traces_are_found_by_what_is_thought_of_them(yard: Yard, where: str, expected: list[str]) -> None:
    for number, value in enumerate(("yes", 0.75, True)):
        log(yard, number, value)
    log(yard, 0, "yes", kind="expectation")
    log(yard, 1, "x", name="a b", kind="expectation")
    assert found(yard, where) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("feedback.good = 'yes'", ["tr-0", "tr-1"]),
        ("feedback.good IS NOT NULL", ["tr-0", "tr-1"]),
        ("feedback.good IS NULL", ["tr-2", "tr-3"]),
        ("feedback.good = 'no'", []),
        ("not feedback.good = 'yes'", ["tr-2", "tr-3"]),
        # Of the same assessment, and what only its trace says is said of that alone.
        ("feedback.score > 3 and feedback.good = 'yes'", ["tr-1"]),
        ("feedback.score > 3", ["tr-1"]),
        ("expectation.good IS NOT NULL", []),
        ("expectation.length = 7 and trace.trace_id = 'tr-0'", ["tr-0"]),
    ],
)
def test_what_is_said_of_a_whole_session_is_found_at_each_of_its_traces(yard: Yard, where: str, expected: list[str]) -> None:
    of_session = {"mlflow.trace.session": "whatever"}
    for number, session in ((0, "A"), (1, "A"), (2, "B"), (3, "")):
        metadata = {"mlflow.trace.session": session} if session else {}
        yard.workspace.do(RecordTrace(trace=replace(trace(number), metadata=metadata)), yard.dana)
    log(yard, 0, "yes", metadata=of_session)
    log(yard, 1, 4, name="score")
    log(yard, 1, 7, name="length", kind="expectation", metadata=of_session)
    # The trace belongs to no session, whatever is said of it.
    log(yard, 3, "lost", name="other", metadata=of_session)
    assert found(yard, where) == expected
    assert found(yard, "feedback.other = 'lost'") == ["tr-3"]


def test_a_session_is_that_of_the_experiments_that_are_searched_and_of_what_counts(yard: Yard) -> None:
    session = {"mlflow.trace.session": "A"}
    other = yard.workspace.do(CreateExperiment(name="other"), yard.dana).id
    for number, experiment in ((0, "0"), (1, "0"), (2, other)):
        told = replace(trace(number + 5), experiment_id=experiment, metadata=session)
        yard.workspace.do(RecordTrace(trace=told), yard.dana)
    first = log(yard, 7, "yes", metadata=session)
    assert found(yard, "feedback.good = 'yes'") == []
    asked = SearchTraces(experiments=("0", other), where="feedback.good = 'yes'")
    assert {each.id for each in yard.workspace.do(asked, yard.dana).traces} == {"tr-5", "tr-6", "tr-7"}
    log(yard, 7, "no", overrides=first.id)
    assert yard.workspace.do(asked, yard.dana).traces == ()
    # What is noted later counts as well.
    late = log(yard, 5, "late")
    assert found(yard, "feedback.good = 'late'") == ["tr-5"]
    yard.workspace.do(UpdateAssessment(trace_id="tr-5", id=late.id, metadata=session), yard.dana)
    assert found(yard, "feedback.good = 'late'") == ["tr-5", "tr-6"]


def test_an_assessment_goes_with_its_trace_and_needs_one(yard: Yard) -> None:
    known = log(yard, 1, 1)
    yard.workspace.do(DeleteTraces(experiment_id="0", ids=("tr-1",)), yard.dana)
    for request in (
        GetAssessment(trace_id="tr-1", id=known.id),
        LogAssessment(assessment=known),
        DeleteAssessment(trace_id="tr-1", id="x"),
    ):
        with pytest.raises(NotFound, match="no trace 'tr-1'"):
            yard.workspace.do(request, yard.dana)
    yard.workspace.do(RecordTrace(trace=trace(1)), yard.dana)
    assert of(yard, 1) == ()


def test_a_trace_has_no_more_than_so_many(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assessed, "_MOST", 2)
    for value in (1, 2, 2):
        log(yard, 1, value, created=5)
    with pytest.raises(Conflict, match="more than 2"):
        log(yard, 1, 3)
    assert len(of(yard, 1)) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "x" * 251), ("name", "\ud800"), ("rationale", "x" * 65_537), ("rationale", "\ud800"),
        ("id", "a/b"), ("overrides", "../x"), ("span_id", "a b"), ("source_id", "x" * 251), ("metadata", {"a": "x" * 10_000}),
    ],
)  # fmt: skip
def test_a_field_that_is_too_long_or_garbled_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput):
        replace(about(1, 1), **{field: value})


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], "\ud800", "x" * 65_536, {1: 2}])
def test_a_value_that_json_does_not_carry_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        Said(value=value)
