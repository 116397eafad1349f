"""What does not fit is told in the words of whoever knows best."""

from __future__ import annotations

import json

import pytest

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.records.pipelines.trigger import SetTrigger, TriggerRule

RULE = {"on": "call", "pipeline": "pipe.py:flow"}


@pytest.mark.parametrize(
    ("given", "fact", "remedy"),
    [
        ({"on": "cal"}, "Invalid enum value 'cal'", "Use one of: schedule, snapshot, git, alert, call."),
        ({"concurrency": 0}, "A trigger cannot have 0 runs at the same time.", "Use 1 to 100."),
        ({"concurrency": "two"}, "Expected `int`, got `str` - at `$.concurrency`", "Correct the named field."),
    ],
)
def test_a_refusal_has_the_records_own_fact_and_remedy_or_the_choices(given: dict[str, object], fact: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        codec.convert({**RULE, **given}, TriggerRule, "The table")
    assert fact in refused.value.fact
    assert refused.value.remedy == remedy
    assert not refused.value.fact.endswith("..")


def test_a_refusal_of_a_record_inside_another_names_the_place() -> None:
    text = json.dumps({"name": "late", "rule": {**RULE, "concurrency": 0}})
    with pytest.raises(InvalidInput) as refused:
        codec.from_json(text, SetTrigger, "The request")
    assert refused.value.fact == "The request is not valid at `$.rule`: A trigger cannot have 0 runs at the same time."
