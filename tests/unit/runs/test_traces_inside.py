"""Traces are found by what one of their spans is: its name, type, status, attributes or any text in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InvalidInput
from plimsoll.records.tracking.traces.assessment import Assessment, LogAssessment, Said
from plimsoll.records.tracking.traces.span import ListSpans, RecordSpans, Span
from plimsoll.records.tracking.traces.trace import DeleteTraces, RequestTrace, SearchTraces
from plimsoll.store.tables.tracking import span_values
from tests.unit.yard import Yard, open_yard


def attributes(**values: Any) -> list[dict[str, Any]]:
    """Return attributes as exporters send them, with dots for double underscores."""
    return [{"key": name.replace("__", "."), "value": value} for name, value in values.items()]


def text(value: str) -> dict[str, str]:
    return {"string_value": value}


def record(yard: Yard, number: int, *contents: dict[str, Any]) -> None:
    """Keep a trace whose spans hold these."""
    id = f"tr-{number}"
    trace = RequestTrace(id=id, experiment_id="0", state="ok", started=number, duration=1)
    spans = [
        Span(trace_id=id, id=f"{index:016x}", name=content.get("name", ""), started=1, content=content)
        for index, content in enumerate(contents, 1)
    ]
    yard.workspace.do(RecordSpans(traces=(trace,), spans=tuple(spans)), yard.dana)


def found(yard: Yard, where: str) -> list[str]:
    page = yard.workspace.do(SearchTraces(experiments=("0",), where=where, order=("timestamp ASC",)), yard.dana)
    return [trace.id for trace in page.traces]


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A workspace on each database, with three traces."""
    opened = open_yard(tmp_path / "home", database_url)
    asks = attributes(mlflow__spanType=text('"LLM"'), model=text('"gpt-4"'), tokens={"int_value": "12"}, said=text("50% \\o/"))
    record(opened, 1, {"name": "chain"}, {"name": "ask", "attributes": asks, "status": {"code": "STATUS_CODE_OK"}})
    fails = attributes(mlflow__spanType=text('"TOOL"'), model=text("gpt-4"), flag={"bool_value": True}, my__long_key=text("x"))
    raised = {"name": "exception", "attributes": attributes(exception__message=text("rate limit exceeded"))}
    status = {"code": "STATUS_CODE_ERROR", "message": "RateLimit: late"}
    record(opened, 2, {"name": "ask", "attributes": fails, "status": status, "events": [raised]})
    record(opened, 3, {"name": "chain", "attributes": attributes(mlflow__spanInputs=text('{"q": "what is a keel?"}'), nul=text("a\0b"))})
    yield opened
    opened.workspace.close()


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("span.name = 'ask'", [1, 2]),
        ("span.name != 'ask'", [1, 3]),
        ("span.name LIKE 'cha%'", [1, 3]),
        ("span.type = 'LLM'", [1]),
        ("span.type IN ('LLM', 'TOOL')", [1, 2]),
        ("span.type = 'UNKNOWN'", [1, 3]),
        ("span.status = 'ERROR'", [2]),
        ("span.status = 'UNSET'", [1, 3]),
        ("span.attributes.model = 'gpt-4'", [1, 2]),
        ("span.attributes.model LIKE 'gpt%'", [1, 2]),
        ("span.attributes.model ILIKE '%GPT%'", [1, 2]),
        ("span.attributes.model != 'gpt-5'", [1, 2]),
        ("span.attributes.tokens = '12'", [1]),
        ("span.attributes.flag = 'true'", [2]),
        ("span.attributes.said LIKE '50%'", [1]),
        ("span.attributes.said = '50% \\o/'", [1]),
        ("span.attributes.my.long_key = 'x'", [2]),
        ("span.attributes.`my.long_key` = 'x'", [2]),
        ("span.attributes.none = 'x'", []),
        ("span.name RLIKE '^cha.n$'", [1, 3]),
        ("span.attributes.model RLIKE 'gpt-[0-9]'", [1, 2]),
        ("span.attributes.model RLIKE '^pt'", []),
        ("span.content LIKE '%keel%'", [3]),
        ("trace.text LIKE '%keel%'", [3]),
        ("text ILIKE '%KEEL%' and", [3]),
        ("attributes.text LIKE 'ask'", [1, 2]),
        ("span.content LIKE '%long_key%'", [2]),
        ("trace.text ILIKE '%SPANINPUTS%'", [3]),
        ("span.content LIKE 'attributes%'", []),
        ("trace.text LIKE '%RateLimit: late%'", [2]),
        ("span.content LIKE '%rate limit%'", [2]),
        ("span.content ILIKE '%exception.message%'", [2]),
        ("trace.text LIKE '%told%'", []),
        # One span has to be both.
        ("span.name = 'chain' and span.type = 'LLM'", []),
        ("span.name = 'ask' and span.type = 'LLM' and span.status = 'OK'", [1]),
        ("(span.name = 'chain') and (span.type = 'LLM')", []),
        ("span.name = 'chain' and not span.type = 'LLM'", [3]),
        ("span.type = 'TOOL' or span.attributes.tokens = '12'", [1, 2]),
        ("span.name = 'chain' and status = 'OK' and request_id = 'tr-3'", [3]),
    ],
)
def test_a_trace_is_found_by_what_one_of_its_spans_is(yard: Yard, where: str, ids: list[int]) -> None:
    assert found(yard, where) == [f"tr-{id}" for id in ids]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("span.depth = 'x'", "Invalid span attribute 'depth'. Supported attributes: name, status, type, attributes.<attribute_name>."),
        ("span.attributes.model > 1", "comparator '>' not one of"),
        ("span.attributes.model = 1", "Expected a quoted string value for span"),
        ("span.content = 'x'", "comparator '=' not one of"),
        ("span.name IS NULL", "comparator 'IS NULL' not one of"),
        ("span.content RLIKE 'x'", "comparator 'RLIKE' not one of"),
        ("span.name RLIKE '('", "'(' is no regular expression"),
        ("span.name RLIKE '(a)\\1'", "is no regular expression"),
        ("issue.id > 1", "Of an issue only the id can be compared"),
    ],
)
def test_what_means_nothing_of_a_span_is_refused(yard: Yard, where: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        found(yard, where)
    assert says in str(refused.value)


def test_no_pattern_holds_the_process(yard: Yard) -> None:
    # Python's own engine would take more than the age of the world.
    record(yard, 4, {"name": "a" * 5_000})
    assert found(yard, "span.name RLIKE '^(a+)+$'") == ["tr-4"]
    assert found(yard, "span.name RLIKE '^(a+)+b$'") == []


def test_a_pattern_that_a_database_does_not_know_is_refused_without_the_statement(yard: Yard) -> None:
    where = r"span.name RLIKE '^\p{L}+$'"
    if yard.workspace.stores.database.dialect == "sqlite":
        assert found(yard, where) == ["tr-1", "tr-2", "tr-3"]
        return
    with pytest.raises(InvalidInput, match="knows no such regular expression") as refused:
        found(yard, where)
    assert "SELECT" not in str(refused.value).upper()


def test_a_span_that_comes_again_is_found_by_what_it_is_now_and_goes_with_its_trace(yard: Yard) -> None:
    record(yard, 2, {"name": "ask", "attributes": attributes(model=text("other"))})
    assert found(yard, "span.attributes.model = 'gpt-4'") == ["tr-1"]
    assert found(yard, "span.attributes.model = 'other' and span.status = 'UNSET'") == ["tr-2"]
    yard.workspace.do(DeleteTraces(experiment_id="0", ids=("tr-1", "tr-2", "tr-3")), yard.dana)
    with yard.workspace.stores.database.read() as tx:
        assert tx.execute(span_values.select()).all() == []


def test_a_span_that_holds_a_nul_or_an_endless_name_is_kept_whole_and_found_by_the_rest(yard: Yard) -> None:
    odd = {"name": "odd", "attributes": attributes(**{"k" * 3000: text("v"), "a\0b": text("v"), "fine": text("x\0y")})}
    record(yard, 4, odd)
    assert found(yard, "span.attributes.fine LIKE 'x_y'") == ["tr-4"]
    (kept,) = yard.workspace.do(ListSpans(trace_id="tr-4"), yard.dana)
    assert kept.content == odd


def test_a_trace_is_found_by_its_issue(yard: Yard) -> None:
    asked = Assessment(trace_id="tr-2", id="", name="iss-1", kind="issue", said=Said(value="late answers"))
    yard.workspace.do(LogAssessment(assessment=asked), yard.dana)
    assert (found(yard, "issue.id = 'iss-1'"), found(yard, "issue.id = 'iss-2'")) == (["tr-2"], [])
