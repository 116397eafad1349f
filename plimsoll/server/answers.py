"""Results and errors as HTTP answers, in the format that the caller reads and within a time."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, move_on_after, to_thread
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from plimsoll import codec
from plimsoll.errors import PlimsollError, StorageFull, Unavailable, to_wire

R = TypeVar("R")

#: msgpack keeps NaN and infinities; our own client uses it. JSON is for everybody else.
MSGPACK = "application/msgpack"

#: Seconds after which whoever asks is told that the database has not answered. A request is at most twice in the database, and our
#: clients wait for a minute.
LIMIT = 25.0

#: Requests that wait for a thread at most; whoever comes then is told so at once.
_WAITING = 1000


class Turns:
    """The threads in which requests wait for the database.

    Writers have their own, since they go one at a time: however many of them wait, readers have a turn. The event loop waits for
    nobody, so what needs no database is answered at once.
    """

    def __init__(self) -> None:
        self._readers, self._writers = CapacityLimiter(32), CapacityLimiter(8)

    async def take(self, writes: bool, function: Callable[..., R], *args: Any) -> R:
        """Return what a function gives in a thread.

        Args:
            writes: whether it may change something.
            function: asks the database.
            args: its arguments.

        Raises:
            Unavailable: the database has not answered in time, or too many wait for it. What has begun is not undone.
        """
        limiter = self._writers if writes else self._readers
        if limiter.statistics().tasks_waiting >= _WAITING:
            raise Unavailable(f"{_WAITING:,} requests wait for the database.", "Try again a little later.", retry_after=1)
        with move_on_after(LIMIT):
            return await to_thread.run_sync(partial(function, *args), limiter=limiter, abandon_on_cancel=True)
        raise Unavailable(
            f"The database has not answered for {LIMIT:.0f} seconds.",
            "Look what holds it, then try again; what was asked may have been done all the same.",
            retry_after=1,
        )


async def in_turn(request: HttpRequest, writes: bool, function: Callable[..., R], *args: Any) -> R:
    """Return what a function gives that asks the database, in a thread and within a time.

    Args:
        request: one that came through the gate.
        writes: whether the function may change something.
        function: asks the database.
        args: its arguments.

    Raises:
        Unavailable: the database has not answered in time, or too many wait for it.
    """
    turns: Turns = request.state.turns
    return await turns.take(writes, function, *args)


def answer(value: Any, accept: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a result as a response.

    Args:
        value: a record.
        accept: the request's ``Accept`` header.
        status: HTTP status.
        headers: more headers.
    """
    if MSGPACK in accept:
        return Response(codec.to_msgpack(value), status, headers, media_type=MSGPACK)
    return Response(codec.to_json(value), status, headers, media_type="application/json")


def outward(error: PlimsollError, home: str) -> PlimsollError:
    """Return an error as somebody elsewhere may read it: without where things lie on this machine.

    Args:
        error: what was refused.
        home: the home's folder.
    """

    def told(text: str) -> str:
        return text.replace(home, "the server's home")

    details = {name: told(value) if isinstance(value, str) else value for name, value in error.details.items()}
    return type(error)(told(error.fact), told(error.remedy), **details)


def full(error: OSError) -> StorageFull | None:
    """Return what an error of the disk means when it says that there is no room.

    Args:
        error: what the system raised.
    """
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return StorageFull("The server's disk is full.", "Free some space there, then send it again.")


def refusal(error: PlimsollError, accept: str) -> Response:
    """Return an error as a response; the client raises it again as its own class.

    Args:
        error: what was refused.
        accept: the request's ``Accept`` header.
    """
    headers = {}
    if error.status in (429, 503):
        headers["retry-after"] = str(error.details.get("retry_after", 1))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return answer({"error": to_wire(error)}, accept, error.status, headers)
