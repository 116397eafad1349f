from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from plimsoll import clock
from plimsoll.errors import Conflict, InvalidInput
from plimsoll.server import supervisor
from plimsoll.server.supervisor import Address, Child, Lock, listen


def until(condition: Callable[[], object]) -> None:
    deadline = clock.monotonic() + 60
    while not condition():
        assert clock.monotonic() < deadline
        clock.sleep(0.01)


def kept(child: Child, times: int) -> Callable[[], bool]:
    """Keep the child and say whether it was started so often."""

    def look() -> bool:
        child.keep()
        return child.log.exists() and child.log.read_text().count("started") >= times

    return look


def test_an_address_is_a_url_also_for_ipv6() -> None:
    assert Address(host="127.0.0.1", port=1).url == "http://127.0.0.1:1"
    assert httpx.URL(Address(host="::1", port=5151).url).port == 5151


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_other_machines_cannot_reach_it(host: str) -> None:
    with pytest.raises(InvalidInput, match="can be reached from other machines"):
        listen(Address(host=host, port=0), "--port")


def test_a_taken_port_names_the_flag_that_changes_it() -> None:
    with listen(Address(host="127.0.0.1", port=0), "--port") as first, pytest.raises(Conflict, match=r"is taken.*--serving-port"):
        listen(Address(host="127.0.0.1", port=first.getsockname()[1]), "--serving-port")


def test_a_home_is_up_once_and_the_second_hears_who_has_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    lock.tell("process 7 at http://127.0.0.1:1")
    with pytest.raises(Conflict, match="already up: process 7 at"):
        Lock(tmp_path)
    lock._file.close()
    Lock(tmp_path)._file.close()


def test_a_child_that_ends_is_started_again_with_growing_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF", (0.02, 0.1))
    child = Child([sys.executable, "-c", "print('started', flush=True)"], tmp_path / "log")
    until(kept(child, 5))
    assert child._pause == 0.1
    child.end(5)


def test_a_child_that_lived_long_is_started_again_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF", (0.02, 30.0))
    monkeypatch.setattr(supervisor, "_STEADY", 0.05)
    child = Child([sys.executable, "-c", "import time; print('started', flush=True); time.sleep(0.06)"], tmp_path / "log")
    child._pause = 30.0
    until(kept(child, 3))
    assert child._pause < 1
    child.end(5)


def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('started', flush=True); time.sleep(60)"
    child = Child([sys.executable, "-c", code], tmp_path / "log")
    until(kept(child, 1))
    child.end(0.1)
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


def test_ending_a_child_that_never_began_does_nothing(tmp_path: Path) -> None:
    Child(["/nonexistent"], tmp_path / "log").end(1)
    assert os.listdir(tmp_path) == []


def test_a_child_that_was_ended_is_not_started_again_by_whoever_still_watches(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", "print('started', flush=True)"], tmp_path / "log")
    child.end(1)
    child.keep()
    assert child.process is None
