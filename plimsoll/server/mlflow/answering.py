"""How one of MLflow's requests becomes an answer: its fields, the platform as its actor may use it, and errors in MLflow's words."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from plimsoll.errors import PlimsollError
from plimsoll.records.access import Actor
from plimsoll.records.request import Request
from plimsoll.server.answers import full, in_turn, outward
from plimsoll.server.api import LARGEST_REQUEST, actor_of, defect, read_body
from plimsoll.server.mlflow.speech import INVALID, Asked, Spoken, spoken, written
from plimsoll.store.contracts import StreamedBlobs

R = TypeVar("R")
Answering = Callable[[Asked], dict[str, Any]]
Endpoint = Callable[[HttpRequest], Awaitable[Response]]


class Bytes(Protocol):
    """Has bytes."""

    @property
    def blobs(self) -> StreamedBlobs:
        """Where they are."""
        ...


class Platform(Protocol):
    """As much of a workspace as these routes need."""

    @property
    def home(self) -> Path:
        """Folder in which uploads wait."""
        ...

    @property
    def stores(self) -> Bytes:
        """Where bytes are."""
        ...

    def do(self, request: Request[R], actor: Actor) -> R:
        """Return the verb's result, or raise its error."""
        ...


def guarded(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose errors are in MLflow's words.

    Args:
        endpoint: what answers.
    """

    @wraps(endpoint)
    async def answered(request: HttpRequest) -> Response:
        try:
            return await endpoint(request)
        except Spoken as error:
            return refused(error)
        except PlimsollError as error:
            return refused(spoken(outward(error, request.app.state.home)))
        except ClientDisconnect:
            return Response(status_code=400)
        except OSError as error:
            return refused(spoken(full(error) or defect(error)))
        except Exception as error:
            return refused(spoken(defect(error)))

    return answered


def refused(error: Spoken) -> Response:
    """Return an error as MLflow's server answers it.

    Args:
        error: in MLflow's words.
    """
    body = {"error_code": error.code, "message": error.message}
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
    return Response(written(body), error.status, headers, media_type="application/json")


def answers(workspace: Platform, function: Answering, writes: bool) -> Endpoint:
    """Return the endpoint of a function: fields in, JSON out.

    Args:
        workspace: does what is asked.
        function: gives the answer.
        writes: whether it may change something.
    """

    def told(found: Asked) -> bytes:
        # Within the turn: nobody else's answer waits for a long one to be written.
        return written(function(found))

    @guarded
    async def answer(request: HttpRequest) -> Response:
        found = asked(workspace, request, {**await fields(request), **request.path_params})
        return Response(await in_turn(request, writes, told, found), media_type="application/json")

    return answer


def asked(workspace: Platform, request: HttpRequest, fields: Mapping[str, Any]) -> Asked:
    """Return a request as functions take it.

    Args:
        workspace: does what is asked.
        request: tells who asks.
        fields: what was sent.
    """
    actor = actor_of(request)
    return Asked(fields=fields, do=lambda verb: workspace.do(verb, actor), blobs=workspace.stores.blobs)


async def fields(request: HttpRequest) -> dict[str, Any]:
    """Return what a request holds: its query, or its body.

    Args:
        request: the request.

    Raises:
        Spoken: the body is no JSON object.
    """
    if request.method == "GET":
        query = request.query_params
        return {name: query.getlist(name) if len(query.getlist(name)) > 1 else value for name, value in query.items()}
    body = await read_body(request, LARGEST_REQUEST)
    try:
        found = json.loads(body) if body.strip() else {}
        # The first clients sent JSON within a JSON string.
        found = json.loads(found) if isinstance(found, str) else found
    except (ValueError, RecursionError):
        raise Spoken(INVALID, "The request is not valid JSON.") from None
    if not isinstance(found, dict):
        raise Spoken(INVALID, "The request is not a JSON object.")
    return found
