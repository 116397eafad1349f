"""The verb table over HTTP: ``POST /api/v1/<Verb>``, and bytes at ``/blobs/<digest>``. It translates and decides nothing."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from plimsoll import access, clock, codec, verbs
from plimsoll.errors import Corrupt, Internal, NotFound, PlimsollError, Refused, TooLarge
from plimsoll.records.access import Actor, Job
from plimsoll.records.request import check_digest, result_type
from plimsoll.server.answers import MSGPACK, answer, full, in_turn, outward, refusal
from plimsoll.server.streams.sent import Sender
from plimsoll.server.streams.taken import take
from plimsoll.workspace import Workspace

#: Bytes of a verb's request at most; larger things are blobs.
LARGEST_REQUEST = 64 * 2**20

Endpoint = Callable[[HttpRequest], Any]


def guarded(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that answers errors as themselves, and a defect with an id to find in the log instead of a trace.

    Args:
        endpoint: what answers.
    """

    @wraps(endpoint)
    async def answered(request: HttpRequest) -> Response:
        accept, home = request.headers.get("accept", ""), request.app.state.home
        try:
            response: Response = await endpoint(request)
            return response
        except PlimsollError as error:
            return refusal(outward(error, home), accept)
        except ClientDisconnect:
            # Nobody reads this answer; it is no defect either.
            return Response(status_code=400)
        except OSError as error:
            return refusal(full(error) or defect(error), accept)
        except Exception as error:
            return refusal(defect(error), accept)

    return answered


def defect(error: Exception) -> Internal:
    """Return what a caller is told of a defect; the log has the rest.

    Args:
        error: what was raised.
    """
    id = clock.new_id()
    print(f"defect {id}: {''.join(traceback.format_exception(error))}", flush=True)
    return Internal("The server failed.", f"Look for {id} in its log and report it.", id=id)


async def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return a request's body.

    Args:
        request: the request.
        limit: bytes at most.

    Raises:
        TooLarge: it has more.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"The request is over {limit} bytes.", "Send large things to /blobs and name their digest.")
        parts.append(part)
    return b"".join(parts)


def actor_of(request: HttpRequest) -> Actor:
    """Return who asks, as the gate found it.

    Args:
        request: a request that came through the gate.
    """
    actor: Actor = request.state.actor
    return actor


def routes(workspace: Workspace) -> list[Route]:
    """Return the routes of the verbs and of the blobs.

    Args:
        workspace: does what is asked.
    """
    verbs.load_all()
    known = {verb.name: codec.Fields(verb.request) for verb in verbs.VERBS}

    @guarded
    async def do(request: HttpRequest) -> Response:
        verb = verbs.find(request.path_params["verb"])
        body = await read_body(request, LARGEST_REQUEST)
        what = f"The request {verb.name}"
        packed = request.headers.get("content-type", "").startswith(MSGPACK)
        known[verb.name].check(body, packed, what)
        asked = codec.from_msgpack(body, verb.request, what) if packed else codec.from_json(body or b"{}", verb.request, what)
        accept = request.headers.get("accept", "")
        if verb.kind == "job":
            key = request.headers.get("idempotency-key")
            return answer(await in_turn(request, True, workspace.submit, asked, actor_of(request), 0, key), accept, 202)
        return answer(await in_turn(request, verb.kind == "write", workspace.do, asked, actor_of(request)), accept)

    return [Route("/api/v1/{verb}", do, methods=["POST"]), *_blob_routes(workspace)]


def _blob_routes(workspace: Workspace) -> list[Route]:
    sender = Sender(workspace.stores.blobs)

    @guarded
    async def read_blob(request: HttpRequest) -> Response:
        access.require(actor_of(request), "read", "read blobs")
        digest = request.path_params["digest"]
        check_digest("Blob", digest)
        if request.method == "HEAD":
            size = await run_in_threadpool(workspace.stores.blobs.size, digest)
            # Whoever hears that the bytes are there does not send them: they must not go before they are named.
            await run_in_threadpool(workspace.stores.blobs.has, digest)
            return Response(headers={"content-length": str(size)})
        return await sender.answer(request, digest)

    @guarded
    async def write_blob(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write blobs")
        digest = request.path_params["digest"]
        check_digest("Blob", digest)
        stored, size = await take(workspace.stores.blobs, request.stream(), digest)
        return answer({"digest": stored, "size": size}, request.headers.get("accept", ""))

    @guarded
    async def drop_damaged_blob(request: HttpRequest) -> Response:
        # Whoever finds bytes damaged can compute them again, but they would not be stored beside what is there.
        access.require(actor_of(request), "write", "drop damaged blobs")
        digest = request.path_params["digest"]
        check_digest("Blob", digest)
        await run_in_threadpool(_drop_damaged, workspace, digest)
        return Response(status_code=204)

    return [
        Route("/blobs/{digest}", read_blob, methods=["GET", "HEAD"]),
        Route("/blobs/{digest}", write_blob, methods=["PUT"]),
        Route("/blobs/{digest}", drop_damaged_blob, methods=["DELETE"]),
    ]


def _drop_damaged(workspace: Workspace, digest: str) -> None:
    blobs = workspace.stores.blobs
    with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
        try:
            blobs.get_file(digest, Path(folder) / digest)
        except NotFound:
            return
        except Corrupt:
            blobs.delete(digest)
            return
    raise Refused(f"The bytes of {digest[:12]} are sound.", "Only damaged ones are dropped through the server; it collects the others.")


def openapi(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of every verb, made from the table, and of the other paths that are ours.

    Args:
        version: this package's version.
    """
    results = [Job if verb.kind == "job" else result_type(verb.request) for verb in verbs.VERBS]
    requests = [verb.request for verb in verbs.VERBS]
    schemas, components = msgspec.json.schema_components([*requests, *results], ref_template=f"{_COMPONENTS}{{name}}")
    _close(schemas[: len(requests)], components)
    paths: dict[str, Any] = {}
    for index, verb in enumerate(verbs.VERBS):
        status = "202" if verb.kind == "job" else "200"
        done = {"description": "Done.", "content": {"application/json": {"schema": schemas[len(requests) + index]}}}
        paths[f"/api/v1/{verb.name}"] = {
            "post": {
                "operationId": verb.name,
                "summary": (verb.request.__doc__ or "").strip().partition("\n")[0],
                "description": f"Needs the role `{verb.role}`.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": schemas[index]}}},
                "responses": {status: done, "default": _REFUSED},
            }
            | ({"parameters": [_KEY]} if verb.kind == "job" else {})
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Plimsoll", "version": version},
        "paths": paths | _other_paths(),
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


_COMPONENTS = "#/components/schemas/"

_REFUSED = {"description": "Refused: {error: {code, fact, remedy, details}}."}

_KEY = {
    "name": "idempotency-key",
    "in": "header",
    "description": "A waiting or working job of the same verb with the same key is returned instead.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}

_DIGEST = {"name": "digest", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}


def _close(schemas: Iterable[Any], components: dict[str, Any]) -> None:
    """Say of the records that requests hold that they have no other fields."""
    waiting, seen = list(schemas), set()
    while waiting:
        match waiting.pop():
            case {"$ref": str(reference)}:
                name = reference.removeprefix(_COMPONENTS)
                if name not in seen:
                    seen.add(name)
                    if "properties" in components[name]:
                        components[name]["additionalProperties"] = False
                    waiting.append(components[name])
            case dict(found):
                waiting += found.values()
            case list(found):
                waiting += found


def _other_paths() -> dict[str, Any]:
    """Return what is described that is no verb."""

    def told(summary: str, description: str, status: str = "200", **more: Any) -> dict[str, Any]:
        done = {"description": "Done.", **({"content": {more.pop("media"): {}}} if "media" in more else {})}
        return {"summary": summary, "description": description, "responses": {status: done, "default": _REFUSED}, **more}

    reads, writes = "Needs the role `read`.", "Needs the role `write`."
    raw = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    return {
        "/health": {"get": told("Say that the server answers; it asks no database.", "Needs no token.", security=[], media="text/plain")},
        "/version": {"get": told("Say which Plimsoll this is.", "Needs no token.", security=[], media="text/plain")},
        "/metrics": {"get": told("Return numbers for Prometheus.", reads, media="text/plain")},
        "/openapi.json": {"get": told("Return this description.", reads, media="application/json")},
        "/blobs/{digest}": {
            "parameters": [_DIGEST],
            "get": told("Return bytes by their BLAKE3 digest.", reads, media="application/octet-stream"),
            "head": told("Return the length of bytes.", reads),
            "put": told("Store bytes under their digest.", writes, requestBody=raw, media="application/json"),
            "delete": told("Drop bytes that are damaged, and only those.", writes, "204"),
        },
    }
