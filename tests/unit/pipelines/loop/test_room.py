"""Steps wait for processors, memory and graphics processors, and what can never begin is refused before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.loop.room import Room, elsewhere, one_at_a_time, this_machine
from plimsoll.pipelines.step import Step, step, step_of
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench


def asking(**options: Any) -> Step:
    @step(**options)
    def work() -> None:
        """Nothing."""

    made = step_of(work)
    assert made is not None
    return made


def test_steps_wait_until_enough_processors_are_free() -> None:
    room = Room(2, 1e9, ())
    first, second = room.take(asking()), room.take(asking(cpu=0.5))
    assert first is not None
    assert second is not None
    assert room.take(asking()) is None
    assert room.take(asking(cpu=0.5)) is not None
    room.give(first)
    assert room.take(asking(cpu=1)) is not None


def test_steps_wait_until_enough_memory_is_free() -> None:
    room = Room(8, 1_000, ())
    held = room.take(asking(memory=600))
    assert held is not None
    assert room.take(asking(memory=600)) is None
    assert room.take(asking()) is not None
    room.give(held)
    assert room.take(asking(memory=1_000)) is not None


def test_graphics_processors_are_given_whole_or_in_parts_and_the_fullest_is_shared() -> None:
    room = Room(8, 1, ("0", "1", "2"))
    parts = [room.take(asking(gpu=0.5)) for _ in range(2)]
    assert [part and part.gpus for part in parts] == [{"0": 0.5}, {"0": 0.5}]
    pair = room.take(asking(gpu=2))
    assert pair is not None
    assert pair.gpus == {"1": 1.0, "2": 1.0}
    assert room.take(asking(gpu=0.1)) is None
    room.give(pair)
    assert room.take(asking(gpu=1)) is not None


@pytest.mark.parametrize(
    ("options", "match"),
    [({"cpu": 3}, "3 processors; there are 2"), ({"memory": "2GB"}, "2.0 GB of memory; there are 1.0"), ({"gpu": 2}, "there are 1")],
)
def test_a_step_that_asks_for_more_than_there_is_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        Room(2, 1e9, ("0",)).check([asking(), asking(**options)])
    elsewhere().check([asking(**options)])
    one_at_a_time().check([asking(**{**options, "cpu": 1})])


@pytest.mark.parametrize("options", [{"cpu": 0}, {"gpu": -1}, {"gpu": 1.5}, {"cpu": True}, {"backoff": -1}, {"cpu": float("inf")}])
def test_amounts_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        asking(**options)


def test_the_machine_tells_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-ab")
    taken = this_machine(at_once=4).take(asking(gpu=2, cpu=4, memory=1))
    assert taken is not None
    assert taken.gpus == {"3": 1.0, "GPU-ab": 1.0}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(InvalidInput, match="there are 0"):
        this_machine().check([asking(gpu=1)])
    with pytest.raises(InvalidInput, match="processors"):
        this_machine().check([asking(cpu=len(os.sched_getaffinity(0)) + 1)])


PIPE = """
    import os
    from plimsoll.pipelines.step import pipeline, step

    @step(gpu=1, cache=False)
    def seen(number):
        return os.environ["CUDA_VISIBLE_DEVICES"]

    @step(cpu=2, cache=False)
    def threads():
        return os.environ["OMP_NUM_THREADS"]

    @step(memory="900000GB")
    def huge():
        return 1

    @pipeline
    def flow():
        return [seen(1), seen(2)]

    @pipeline
    def wide():
        return threads()

    @pipeline
    def much():
        return [huge(), seen(1)]
"""


def test_a_step_sees_only_its_own_graphics_processor(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    bench.write("pipe.py", PIPE)
    assert bench.run(executor="processes").value == ["5", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert set(bench.run(executor="processes").value) <= {"5", "7"}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_step_gets_as_many_threads_as_processors_it_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    bench.write("pipe.py", PIPE)
    assert bench.run("pipe.py:wide", executor="processes").value == "2"


def test_a_pipeline_that_asks_for_too_much_leaves_no_run(bench: Bench) -> None:
    bench.write("pipe.py", PIPE)
    with pytest.raises(InvalidInput, match=r"huge asks for 900000\.0 GB of memory"):
        bench.run("pipe.py:much", executor="processes")
    assert bench.do(SearchRuns()).runs == ()


def test_a_limit_of_the_control_group_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    monkeypatch.setattr("plimsoll.pipelines.loop.room._CGROUP", tmp_path / "memory.max")
    with pytest.raises(InvalidInput, match="memory"):
        this_machine().check([asking(memory=6000)])
    (tmp_path / "memory.max").write_text("max\n")
    this_machine().check([asking(memory=6000)])
