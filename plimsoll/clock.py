"""Time, identifiers and randomness: the only file that may ask the machine for them.

Times are UTC microseconds since 1970 as ``int``. Ids are UUIDv7 (RFC 9562) in 32 hex digits: they sort by the
quarter of a microsecond of their making and fit MLflow's run ids.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def now() -> int:
    """Return the wall clock in UTC microseconds."""
    return time.time_ns() // 1_000


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


def cpu() -> float:
    """Return CPU seconds used by this process."""
    return time.process_time()


def sleep(seconds: float) -> None:
    """Wait.

    Args:
        seconds: how long, in seconds.
    """
    time.sleep(seconds)


def new_id() -> str:
    """Return a new UUIDv7 as 32 lower-case hex digits."""
    millis, rest = divmod(time.time_ns(), 1_000_000)
    # The twelve bits behind the version are the time within the millisecond: "the newest" is asked by id, and a quick machine makes
    # several things in one.
    within = (rest << 12) // 1_000_000
    chance = int.from_bytes(os.urandom(8), "big") >> 2
    return f"{(millis << 80) | (0x7 << 76) | (within << 64) | (0x2 << 62) | chance:032x}"


def new_secret() -> str:
    """Return a new 256-bit token, URL-safe."""
    return secrets.token_urlsafe(32)


def generator(seed: int) -> random.Random:
    """Return a random generator of its own state.

    Args:
        seed: the same seed gives the same numbers.
    """
    return random.Random(seed)


def seconds_of(text: str) -> float:
    """Return the seconds of a time such as ``30d``, ``12h``, ``90s`` or ``1.5 h``.

    Args:
        text: a number and one of s, m, h, d, w.

    Raises:
        ValueError: the text is something else.
    """
    found = _TIME.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no time")
    return float(found[1]) * _SECONDS[found[2]]


def iso(micros: int) -> str:
    """Return a time as ``2013-05-01T06:00:00Z`` (UTC, whole seconds).

    Args:
        micros: UTC microseconds.
    """
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact_iso(micros: int) -> str:
    """Return a time as ``2013-05-01T06:00:00.000123Z`` (UTC, with every microsecond).

    Args:
        micros: UTC microseconds.
    """
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso(text: str) -> int:
    """Return UTC microseconds of an ISO 8601 date or date-time; one without an offset is taken as UTC.

    Args:
        text: such as ``2013-05-01`` or ``2013-05-01T06:00:00+00:00``.

    Raises:
        ValueError: the text is not ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


class Alarm:
    """Something that is to be done in a thread of its own when its time has come; see :class:`Alarms`.

    Args:
        call: what is to be done.
        name: the thread's name.
        due: when, in monotonic seconds.
    """

    def __init__(self, call: Callable[[], None], name: str, due: float) -> None:
        self.due = due
        self._call, self._name = call, name
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        """Begin it."""
        self._thread = threading.Thread(target=self._call, name=self._name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it is done; one that has not begun is not waited for."""
        if self._thread is not None:
            self._thread.join()


class Alarms:
    """Begins threads when their time has come, unless they are taken back before.

    What is needed only when something takes long costs next to nothing when it does not: one thread waits for all alarms, and
    those that are taken back in time do not wake it. Threads may share it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: set[Alarm] = set()
        #: Monotonic seconds at which the thread looks at them again.
        self._looks = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    def set(self, seconds: float, call: Callable[[], None], name: str) -> Alarm:
        """Return an alarm.

        Args:
            seconds: from now; one without any time left rings before this returns.
            call: what is to be done.
            name: the thread's name.
        """
        alarm = Alarm(call, name, monotonic() + seconds)
        if seconds <= 0:
            alarm.ring()
            return alarm
        with self._changed:
            self._waiting.add(alarm)
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="plimsoll-alarms", daemon=True)
                self._thread.start()
            elif alarm.due < self._looks:
                self._changed.notify_all()
        return alarm

    def take_back(self, alarm: Alarm) -> bool:
        """Return whether an alarm was still waiting, and will not ring any more.

        Args:
            alarm: what :meth:`set` gave.
        """
        with self._changed:
            waited = alarm in self._waiting
            self._waiting.discard(alarm)
        return waited

    def close(self) -> None:
        """Let those that wait never ring."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _wait(self) -> None:
        with self._changed:
            while not self._closed:
                for alarm in [alarm for alarm in self._waiting if alarm.due <= monotonic()]:
                    self._waiting.remove(alarm)
                    alarm.ring()
                self._looks = min((alarm.due for alarm in self._waiting), default=float("inf"))
                self._changed.wait(None if self._looks == float("inf") else max(0.0, self._looks - monotonic()))
