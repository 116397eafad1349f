"""The paths of ``mlflow-artifacts``: files are listed, sent, taken whole or in parts, and deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from plimsoll import access
from plimsoll.server.answers import in_turn
from plimsoll.server.api import actor_of
from plimsoll.server.mlflow.answering import Endpoint, Platform, answers, asked, fields, guarded
from plimsoll.server.mlflow.artifacts import named
from plimsoll.server.mlflow.artifacts.described import described
from plimsoll.server.mlflow.artifacts.parts import Uploads
from plimsoll.server.mlflow.speech import INVALID, Asked, Spoken, written
from plimsoll.server.mlflow.traces.filed import SPANS_FILE
from plimsoll.server.streams.sent import Sender
from plimsoll.server.streams.taken import take

_JSON = "application/json"


def artifact_routes(workspace: Platform, door: str) -> list[Route]:
    """Return the routes of files.

    Args:
        workspace: does what is asked.
        door: what paths begin with.
    """
    root = f"{door}/2.0/mlflow-artifacts"
    sender, uploads = Sender(workspace.stores.blobs), Uploads(workspace.home / "uploads", workspace.stores.blobs)
    found = [
        Route(f"{root}/artifacts", answers(workspace, named.proxied, False), methods=["GET"]),
        Route(f"{root}/artifacts/{{path:path}}", _download(workspace, sender, named.at_path), methods=["GET"]),
        Route(f"{root}/artifacts/{{path:path}}", _upload(workspace), methods=["PUT"]),
        Route(f"{root}/artifacts/{{path:path}}", _delete(workspace), methods=["DELETE"]),
        Route(f"{root}/presigned/{{path:path}}", _located(workspace, sender), methods=["GET"]),
        Route(f"{root}/mpu/parts/{{upload}}/{{number:int}}", _take_part(uploads), methods=["PUT"]),
    ]
    for version in ("2.0", "3.0"):
        path = f"{door}/{version}/mlflow/logged-models/{{model_id}}/artifacts/files"
        found.append(Route(path, _download(workspace, sender, named.of_model), methods=["GET"]))
        found.append(Route(f"{door}/{version}/mlflow/get-trace-artifact", _of_trace(workspace, sender), methods=["GET"]))
        found.append(Route(f"{door}/{version}/mlflow/upload-artifact", _post(workspace), methods=["POST"]))
    for act, endpoint in (("create", _begin), ("complete", _finish), ("abort", _abort)):
        found.append(Route(f"{root}/mpu/{act}/{{path:path}}", endpoint(workspace, uploads), methods=["POST"]))
    return found


def page_routes(workspace: Platform) -> list[Route]:
    """Return the routes by which MLflow's pages, and links to them, fetch the files of runs and of versions.

    Args:
        workspace: does what is asked.
    """
    sender = Sender(workspace.stores.blobs)
    # An address that ends with a slash makes two of them.
    found = (("/get-artifact", named.of_run), *((f"{slash}/model-versions/get-artifact", named.of_version) for slash in ("", "/")))
    return [Route(path, _download(workspace, sender, find), methods=["GET"]) for path, find in found]


def _download(workspace: Platform, sender: Sender, find: Callable[[Asked], named.File]) -> Endpoint:
    @guarded
    async def download(request: HttpRequest) -> Response:
        access.require(actor_of(request), "read", "read artifacts")
        here = asked(workspace, request, {**await fields(request), **request.path_params})
        path, digest = await in_turn(request, False, find, here)
        return await sender.answer(request, digest, described(path.rpartition("/")[2]))

    return download


def _of_trace(workspace: Platform, sender: Sender) -> Endpoint:
    @guarded
    async def of_trace(request: HttpRequest) -> Response:
        access.require(actor_of(request), "read", "read artifacts")
        found = await in_turn(request, False, named.of_trace, asked(workspace, request, await fields(request)))
        if isinstance(found, bytes):
            return Response(found, headers=described(SPANS_FILE))
        return await sender.answer(request, found.digest, described(found.path.rpartition("/")[2]))

    return of_trace


def _located(workspace: Platform, sender: Sender) -> Endpoint:
    """Clients that fetch a file in several parts at once ask first where it is: here, with what they sent to be let in."""

    @guarded
    async def located(request: HttpRequest) -> Response:
        access.require(actor_of(request), "read", "read artifacts")
        _, digest = await in_turn(request, False, named.at_path, asked(workspace, request, request.path_params))
        url = request.url.replace(path=request.url.path.replace("/presigned/", "/artifacts/", 1), query="")
        told = {"url": str(url), "headers": _credentials(request), "file_size": await sender.check(digest)}
        return Response(written(told), media_type=_JSON)

    return located


def _upload(workspace: Platform) -> Endpoint:
    @guarded
    async def upload(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write artifacts")
        here = asked(workspace, request, {})
        owner, name = await in_turn(request, False, named.writable, here, request.path_params["path"])
        digest, size = await take(workspace.stores.blobs, request.stream())
        await in_turn(request, True, named.keep, here, owner, name, digest, size)
        return Response(b"{}", media_type=_JSON)

    return upload


def _post(workspace: Platform) -> Endpoint:
    """MLflow's pages send a small file to a run by its name alone."""

    @guarded
    async def post(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write artifacts")
        here = asked(workspace, request, request.query_params)
        run, name = await in_turn(request, False, named.posted, here)
        digest, size = await take(workspace.stores.blobs, request.stream())
        if not size:
            raise Spoken(INVALID, "Request must specify data.")
        await in_turn(request, True, named.keep, here, run, name, digest, size)
        return Response(b"{}", media_type=_JSON)

    return post


def _delete(workspace: Platform) -> Endpoint:
    @guarded
    async def delete(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "delete artifacts")
        # Clients that delete everything of a run name its folder with a slash behind.
        path = request.path_params["path"].removesuffix("/")
        await in_turn(request, True, named.delete, asked(workspace, request, {}), path)
        return Response(b"{}", media_type=_JSON)

    return delete


def _credentials(request: HttpRequest) -> dict[str, str]:
    """Return what lets the same caller in again."""
    return {"authorization": request.headers["authorization"]}


def _whole_path(request: HttpRequest, sent: Asked) -> str:
    """Return where a file in parts goes: the folder in the path, and the last name of the client's own file."""
    name = sent.text("path").replace("\\", "/").rpartition("/")[2]
    return f"{request.path_params['path'].rstrip('/')}/{name}"


def _begin(workspace: Platform, uploads: Uploads) -> Endpoint:
    @guarded
    async def begin(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write artifacts")
        here = asked(workspace, request, await fields(request))
        path, count = _whole_path(request, here), here.whole("num_parts", 0)
        await in_turn(request, False, named.writable, here, path)
        upload = await run_in_threadpool(uploads.begin, path, actor_of(request).name, count)
        head, _, _ = request.url.path.partition("/mpu/create/")
        url = request.url.replace(path=f"{head}/mpu/parts/{upload}", query="")
        parts = [{"url": f"{url}/{number}", "part_number": number, "headers": _credentials(request)} for number in range(1, count + 1)]
        return Response(written({"upload_id": upload, "credentials": parts}), media_type=_JSON)

    return begin


def _take_part(uploads: Uploads) -> Endpoint:
    @guarded
    async def take_part(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write artifacts")
        upload, number = request.path_params["upload"], request.path_params["number"]
        digest = await uploads.take(upload, actor_of(request).name, number, request.stream())
        return Response(headers={"etag": f'"{digest}"'})

    return take_part


def _finish(workspace: Platform, uploads: Uploads) -> Endpoint:
    @guarded
    async def finish(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write artifacts")
        here = asked(workspace, request, await fields(request))
        path, upload = _whole_path(request, here), here.text("upload_id")
        owner, name = await in_turn(request, False, named.writable, here, path)
        tags = _tags(here.items("parts"))
        digest, size = await run_in_threadpool(uploads.join, upload, actor_of(request).name, path, tags)
        await in_turn(request, True, named.keep, here, owner, name, digest, size)
        await run_in_threadpool(uploads.drop, upload, actor_of(request).name)
        return Response(b"{}", media_type=_JSON)

    return finish


def _tags(parts: list[Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in parts:
        number, tag = (part.get("part_number"), part.get("etag")) if isinstance(part, dict) else (None, None)
        if not isinstance(number, int) or not isinstance(tag, str):
            raise Spoken(INVALID, "Each of `parts` needs a `part_number` and an `etag`.")
        found[number] = tag.strip('"')
    return found


def _abort(workspace: Platform, uploads: Uploads) -> Endpoint:
    @guarded
    async def abort(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "write artifacts")
        here = asked(workspace, request, await fields(request))
        await run_in_threadpool(uploads.drop, here.text("upload_id"), actor_of(request).name)
        return Response(b"{}", media_type=_JSON)

    return abort
