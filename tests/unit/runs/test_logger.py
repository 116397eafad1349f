from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.records.run import PointColumns
from plimsoll.runs.logger import RunLogger


@pytest.fixture
def sent() -> list[Any]:
    return []


@pytest.fixture
def logger(sent: list[Any]) -> RunLogger:
    return RunLogger("r", sent.append, lambda value: None)


def test_each_metric_counts_on_from_its_last_step(logger: RunLogger, sent: list[PointColumns]) -> None:
    logger.log(loss=1.0)
    logger.log({"loss": 2.0}, acc=0.5)
    logger.log(loss=3.0, step=10)
    logger.log(loss=4.0, acc=0.75)
    assert [(part.names, part.steps, part.values) for part in sent] == [
        (("loss",), (0,), (1.0,)),
        (("loss", "acc"), (1, 0), (2.0, 0.5)),
        (("loss",), (10,), (3.0,)),
        (("loss", "acc"), (11, 1), (4.0, 0.75)),
    ]


def test_steps_and_values_of_other_kinds_become_plain_numbers(logger: RunLogger, sent: list[PointColumns]) -> None:
    logger.log({"loss": np.float32(0.5), "right": True, "count": np.int64(3)}, step=np.int64(7))  # type: ignore[arg-type]
    assert {type(value) for value in (*sent[0].steps, *sent[0].values)} == {int, float}
    assert codec.from_msgpack(codec.to_msgpack(sent[0]), PointColumns) == sent[0]


@pytest.mark.parametrize("step", [0.5, "3", 2**63, np.float64(1.0)])
def test_a_step_that_is_no_integer_of_64_bits_is_refused_at_once(logger: RunLogger, sent: list[PointColumns], step: Any) -> None:
    with pytest.raises(InvalidInput, match=r"The step .* (is no integer|does not fit)"):
        logger.log(loss=1.0, step=step)
    logger.log(loss=2.0)
    assert [part.steps for part in sent] == [(0,)]


class Boom:
    """Has neither a number nor a text."""

    def __float__(self) -> float:
        raise RuntimeError("boom")


@pytest.mark.parametrize("value", ["high", None, [1, 2], 1j, 10**400, {"train": 1}, np.zeros(2), Boom()])
def test_a_value_that_is_no_number_is_refused_by_its_metrics_name_and_nothing_of_the_call_is_logged(
    logger: RunLogger, sent: list[PointColumns], value: Any
) -> None:
    with pytest.raises(InvalidInput, match=r"metric 'bad', a \w+, is no number"):
        logger.log(good=1.0, bad=value)
    logger.log(good=2.0)
    assert [(part.names, part.steps) for part in sent] == [(("good",), (0,))]


@pytest.mark.parametrize("name", [1, None, "", "a\nb", "🔥", "a\ud800", ("a",)])
def test_a_name_that_is_none_is_refused_wherever_it_is_given(logger: RunLogger, sent: list[Any], name: Any) -> None:
    calls = [lambda: logger.log({name: 1.0}), lambda: logger.set_params({name: 1}), lambda: logger.set_tags({name: "x"})]
    artifacts = [lambda: logger.log_text(name, "x"), lambda: logger.log_image(name, np.eye(3)), lambda: logger.log_text(name, "x", step=1)]
    for call in [*calls, *(artifacts if name != "🔥" else [])]:
        with pytest.raises(InvalidInput, match="name"):
            call()
    assert sent == []


def test_metrics_may_begin_as_mlflows_do(logger: RunLogger, sent: list[PointColumns]) -> None:
    logger.log({"-loss": 1.0, ".hidden": 2.0})
    assert [part.names for part in sent] == [("-loss", ".hidden")]


@pytest.mark.parametrize("given", ["loss", 0.5, ["loss"], [("loss", 1)]])
def test_what_is_not_given_by_name_is_refused(logger: RunLogger, sent: list[Any], given: Any) -> None:
    for call in (logger.log, logger.set_params, logger.set_tags):
        with pytest.raises(InvalidInput, match="given by name"):
            call(given)
    assert sent == []


def test_texts_that_utf8_does_not_hold_are_kept_readable(logger: RunLogger, sent: list[Any]) -> None:
    odd = b"caf\xe9.csv".decode("utf-8", "surrogateescape")
    logger.set_params(path=odd, nested={odd: [odd]}, whole="café")
    logger.set_tags(path=odd)
    logger.set_notes(odd)
    assert sent[0].params == {"path": "caf\\udce9.csv", "nested": {"caf\\udce9.csv": ["caf\\udce9.csv"]}, "whole": "café"}
    assert sent[1].tags == {"path": "caf\\udce9.csv"}
    assert all(codec.from_msgpack(codec.to_msgpack(each), type(each)) == each for each in sent)


@pytest.mark.parametrize("step", ["1", 1.5, -1])
def test_a_step_of_an_artifact_that_is_no_whole_number_is_refused(logger: RunLogger, step: Any) -> None:
    with pytest.raises(InvalidInput, match="The step"):
        logger.log_text("a.txt", "x", step=step)


@pytest.mark.parametrize("text", [None, 5, b"x"])
def test_what_is_no_text_is_refused(logger: RunLogger, sent: list[Any], text: Any) -> None:
    with pytest.raises(InvalidInput, match="is no text"):
        logger.log_text("a.txt", text)
    with pytest.raises(InvalidInput, match="are no text"):
        logger.set_notes(text)
    assert sent == []


def test_a_parameter_that_holds_itself_is_refused(logger: RunLogger, sent: list[Any]) -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(InvalidInput, match="holds itself"):
        logger.set_params(loop=loop)
    assert sent == []
