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
