"""How long a step's result is kept, and how its retries are paced."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator

import pytest

from plimsoll import clock
from plimsoll.errors import StepFailed
from tests.unit.pipelines.bench import Bench

TTL = """
    import socket
    from plimsoll.pipelines.step import pipeline, step

    @step(cache={cache})
    def fetch(port):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            return connection.recv(10)

    @pipeline
    def flow(port: int):
        return fetch(port)
"""


@pytest.fixture
def counter() -> Iterator[int]:
    """The port of a server that gives the next number to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                for number in itertools.count(1):
                    with server.accept()[0] as connection:
                        connection.sendall(str(number).encode())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_what_need_not_repeat_alike_is_not_kept_for_later_runs_and_says_why(bench: Bench, counter: int, executor: str) -> None:
    bench.write("pipe.py", TTL.format(cache=True))
    first, second = bench.run(port=counter, executor=executor), bench.run(port=counter, executor=executor)
    assert (first.value, second.value) == (b"1", b"2")
    assert "not kept for later runs, because it" in first["fetch"].why
    assert first["fetch"].record.key is not None


def test_a_result_that_is_kept_for_ever_is_found_whatever_the_step_did(bench: Bench, counter: int) -> None:
    bench.write("pipe.py", TTL.format(cache="'forever'"))
    assert [bench.run(port=counter).value for _ in range(2)] == [b"1", b"1"]


def test_a_result_that_is_kept_for_a_time_is_found_as_long_and_then_replaced(
    bench: Bench, counter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("pipe.py", TTL.format(cache="'1h'"))
    assert [bench.run(port=counter).value for _ in range(2)] == [b"1", b"1"]
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + 3_601_000_000)
    result = bench.run(port=counter)
    assert (result.value, result["fetch"].why) == (b"2", "its earlier result is older than 3600 s")
    assert bench.run(port=counter).value == b"2"


def test_a_result_from_the_future_of_a_clock_set_back_a_year_is_not_young(
    bench: Bench, counter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("pipe.py", TTL.format(cache="'7d'"))
    bench.run(port=counter)
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - 366 * 86_400_000_000)
    assert bench.run(port=counter).value == b"2"


def test_the_pause_before_a_retry_doubles_from_the_one_that_was_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step(retries=3, backoff=100)
        def bad():
            raise ValueError("no")

        @pipeline
        def flow():
            return bad()
        """,
    )
    times = iter(itertools.count(0.0, 0.0001))
    passed = [0.0]
    monkeypatch.setattr(clock, "sleep", lambda seconds: passed.__setitem__(0, passed[0] + seconds))
    monkeypatch.setattr(clock, "monotonic", lambda: next(times) + passed[0])
    with pytest.raises(StepFailed, match=r"tried 4 times"):
        bench.run()
    assert 299 < passed[0] < 302, "100 s, and twice the longest pause, which is never less than the first"
