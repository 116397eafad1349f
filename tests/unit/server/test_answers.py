"""Turns at the database: whoever waits too long, or comes when too many wait, is told so."""

from __future__ import annotations

import threading

import anyio
import pytest

from plimsoll.errors import DeadlineExceeded, Unavailable
from plimsoll.server.answers import Turns


def test_what_the_database_gives_or_raises_is_handed_on() -> None:
    async def ask() -> None:
        turns = Turns()
        assert await turns.take(False, divmod, 7, 2) == (3, 1)
        for error in (DeadlineExceeded("Late."), TimeoutError(), KeyError("x")):
            with pytest.raises(type(error)) as raised:
                await turns.take(True, _raise, error)
            assert raised.value is error

    anyio.run(ask)


def _raise(error: Exception) -> None:
    raise error


def test_whoever_comes_when_too_many_wait_is_told_at_once_and_readers_do_not_wait_for_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.server.answers._WAITING", 3)
    let_go, told = threading.Event(), []

    async def write(turns: Turns) -> None:
        try:
            await turns.take(True, let_go.wait, 120)
        except Unavailable as error:
            told.append(error)

    async def ask() -> None:
        turns = Turns()
        async with anyio.create_task_group() as group:
            for _ in range(8 + 3):
                group.start_soon(write, turns)
            with anyio.fail_after(60):
                while turns._writers.statistics().tasks_waiting < 3:
                    await anyio.sleep(0.005)
            await write(turns)
            await write(turns)
            assert await turns.take(False, sum, (1, 2)) == 3
            let_go.set()

    anyio.run(ask)
    assert [(error.status, error.details) for error in told] == [(503, {"retry_after": 1})] * 2
    assert "3 requests wait for the database" in told[0].fact


def test_whoever_waits_too_long_is_told_while_what_was_asked_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.server.answers.LIMIT", 0.05)
    begun, let_go, done = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        let_go.wait(120)
        done.set()

    async def ask() -> None:
        turns = Turns()
        # What no thread has come to within that time is not begun any more.
        while not begun.is_set():
            with pytest.raises(Unavailable, match="may have been done all the same"):
                await turns.take(True, hold)
        assert not done.is_set()
        let_go.set()
        assert await anyio.to_thread.run_sync(done.wait, 60)

    anyio.run(ask)
