"""Results and errors as HTTP answers, in the format that the caller reads."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from plimsoll import codec
from plimsoll.errors import PlimsollError, to_wire

#: msgpack keeps NaN and infinities; our own client uses it. JSON is for everybody else.
MSGPACK = "application/msgpack"


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
