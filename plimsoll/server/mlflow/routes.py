"""Which of MLflow's paths is answered by what. What is not spoken is named, with the reason, and answers 501."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from plimsoll.server.mlflow import experiments, logged_models, metrics, registered, runs, versions
from plimsoll.server.mlflow.answering import Answering, Platform, answers, guarded
from plimsoll.server.mlflow.artifacts import named
from plimsoll.server.mlflow.artifacts.routes import artifact_routes, page_routes
from plimsoll.server.mlflow.hooks import webhooks
from plimsoll.server.mlflow.speech import MISSING, UNSPOKEN, Asked, Spoken
from plimsoll.server.mlflow.traces import assessed, older
from plimsoll.server.mlflow.traces import recorded as traces
from plimsoll.server.mlflow.traces.spans import span_routes

#: Everything is there under both.
DOORS = ("/api", "/ajax-api")

_GET, _POST, _EITHER, _PATCH, _DELETE = ("GET",), ("POST",), ("GET", "POST"), ("PATCH",), ("DELETE",)

#: Path after ``/api/2.0/mlflow``, methods and what answers.
SPOKEN: tuple[tuple[str, tuple[str, ...], Answering], ...] = (
    ("/experiments/create", _POST, experiments.create),
    ("/experiments/get", _GET, experiments.get),
    ("/experiments/get-by-name", _GET, experiments.get_by_name),
    ("/experiments/search", _EITHER, experiments.search),
    ("/experiments/search-datasets", _POST, experiments.search_datasets),
    ("/experiments/delete", _POST, experiments.delete),
    ("/experiments/restore", _POST, experiments.restore),
    ("/experiments/update", _POST, experiments.update),
    ("/experiments/set-experiment-tag", _POST, experiments.set_tag),
    ("/experiments/delete-experiment-tag", _POST, experiments.delete_tag),
    ("/runs/create", _POST, runs.create),
    ("/runs/get", _GET, runs.get),
    ("/runs/update", _POST, runs.update),
    ("/runs/delete", _POST, runs.delete),
    ("/runs/restore", _POST, runs.restore),
    ("/runs/search", _POST, runs.search),
    ("/runs/log-metric", _POST, runs.log_metric),
    ("/runs/log-parameter", _POST, runs.log_param),
    ("/runs/log-batch", _POST, runs.log_batch),
    ("/runs/set-tag", _POST, runs.set_tag),
    ("/runs/delete-tag", _POST, runs.delete_tag),
    ("/runs/log-inputs", _POST, runs.log_inputs),
    ("/runs/log-model", _POST, runs.log_model),
    ("/metrics/get-history", _GET, metrics.history),
    ("/metrics/get-history-bulk", _GET, metrics.whole_histories),
    ("/metrics/get-history-bulk-interval", _GET, metrics.bulk),
    ("/artifacts/list", _GET, named.listing),
    ("/runs/outputs", _POST, runs.log_outputs),
    ("/logged-models", _POST, logged_models.create),
    ("/logged-models/search", _POST, logged_models.search),
    ("/logged-models/{model_id}", _GET, logged_models.get),
    ("/logged-models/{model_id}", _PATCH, logged_models.finalize),
    ("/logged-models/{model_id}", _DELETE, logged_models.delete),
    ("/logged-models/{model_id}/params", _POST, logged_models.log_params),
    ("/logged-models/{model_id}/tags", _PATCH, logged_models.set_tags),
    ("/logged-models/{model_id}/tags/{tag_key:path}", _DELETE, logged_models.delete_tag),
    ("/logged-models/{model_id}/artifacts/directories", _GET, named.model_listing),
    ("/traces", _POST, older.start),
    ("/traces", _GET, older.search),
    ("/traces/{trace_id}", _PATCH, older.end),
    ("/traces/{trace_id}/info", _GET, older.info),
    # Clients from 3.0 still send these by the older path.
    ("/traces/link-to-run", _POST, traces.link),
    ("/traces/delete-traces", _POST, traces.delete),
    ("/traces/{trace_id}/tags", _PATCH, traces.set_tag),
    ("/traces/{trace_id}/tags", _DELETE, traces.delete_tag),
    ("/registered-models/create", _POST, registered.create),
    ("/registered-models/get", _GET, registered.get),
    ("/registered-models/search", _EITHER, registered.search),
    ("/registered-models/update", _PATCH, registered.update),
    ("/registered-models/rename", _POST, registered.rename),
    ("/registered-models/delete", _DELETE, registered.delete),
    ("/registered-models/set-tag", _POST, registered.set_tag),
    ("/registered-models/delete-tag", _DELETE, registered.delete_tag),
    ("/registered-models/get-latest-versions", _EITHER, registered.latest),
    ("/registered-models/alias", _GET, registered.get_by_alias),
    ("/registered-models/alias", _POST, registered.set_alias),
    ("/registered-models/alias", _DELETE, registered.delete_alias),
    ("/model-versions/create", _POST, versions.create),
    ("/model-versions/get", _GET, versions.get),
    ("/model-versions/search", _EITHER, versions.search),
    ("/model-versions/update", _PATCH, versions.update),
    ("/model-versions/delete", _DELETE, versions.delete),
    ("/model-versions/transition-stage", _POST, versions.transition),
    ("/model-versions/get-download-uri", _GET, versions.download_uri),
    ("/model-versions/set-tag", _POST, versions.set_tag),
    ("/model-versions/delete-tag", _DELETE, versions.delete_tag),
    ("/webhooks", _POST, webhooks.create),
    ("/webhooks", _GET, webhooks.listing),
    ("/webhooks/{webhook_id}", _GET, webhooks.get),
    ("/webhooks/{webhook_id}", _PATCH, webhooks.update),
    ("/webhooks/{webhook_id}", _DELETE, webhooks.delete),
    ("/webhooks/{webhook_id}/test", _POST, webhooks.test),
)

#: The same for paths after ``/api/3.0/mlflow``.
SPOKEN_3: tuple[tuple[str, tuple[str, ...], Answering], ...] = (
    ("/traces", _POST, traces.start),
    ("/traces/search", _POST, traces.search),
    ("/traces/get", _GET, traces.whole),
    ("/traces/batchGet", _GET, traces.several),
    ("/traces/batchGetInfos", _EITHER, traces.infos),
    ("/traces/{trace_id}", _GET, traces.get),
    ("/traces/delete-traces", _POST, traces.delete),
    ("/traces/{trace_id}/tags", _PATCH, traces.set_tag),
    ("/traces/{trace_id}/tags", _DELETE, traces.delete_tag),
    ("/traces/{trace_id}/assessments", _POST, assessed.log),
    ("/traces/{trace_id}/assessments/{assessment_id}", _GET, assessed.get),
    ("/traces/{trace_id}/assessments/{assessment_id}", _PATCH, assessed.update),
    ("/traces/{trace_id}/assessments/{assessment_id}", _DELETE, assessed.delete),
)

_GATEWAY = "The gateway for language models is not what this server is for."
_QUEUES = "Queues in which people review traces are not kept here. What they say is kept as assessments."

#: What a path begins with -> why it is not spoken.
UNSPOKEN_PARTS: Mapping[str, str] = {
    "traces": "Traces are kept, searched, assessed, tagged and deleted; the rest, such as their statistics, is not spoken.",
    "unified-traces": "Traces are searched at /api/3.0/mlflow/traces/search.",
    "get-online-trace-details": "Traces are searched at /api/3.0/mlflow/traces/search.",
    "graphql": "MLflow's own pages ask in GraphQL. All of it can be asked under /api/2.0/mlflow.",
    "gateway": _GATEWAY,
    "runs/create-promptlab-run": _GATEWAY,
    "scorer": "Traces are not judged by this server. Judge them in a program and log what it says as assessments.",
    "genai": "Traces are not judged by this server. Judge them in a program and log what it says as assessments.",
    "issues": "Issues are kept as assessments of traces, and found by issue.id; lists of their own are not kept.",
    "label-schemas": _QUEUES,
    "review-queues": _QUEUES,
    "prompt-optimization": "Prompts are not kept here, and not optimised.",
    "datasets": "Sets of records for evaluations are not kept here. Log the records as an artifact, or register them as data.",
    "workspaces": "One server keeps one workspace. Begin another server for another one.",
    "jobs": "This server's jobs are not MLflow's. Look at them with: plimsoll jobs list",
    "demo": "There is no demo of MLflow's here. Try: plimsoll demo",
    "ui-telemetry": "This server tells nobody how it is used.",
    "artifacts/presigned": "Bytes are given and taken by this server itself: use mlflow-artifacts.",
}


def routes(workspace: Platform) -> list[Route]:
    """Return the routes of MLflow's protocol.

    Args:
        workspace: does what is asked.
    """
    found = span_routes(workspace) + page_routes(workspace)
    found.append(Route("/graphql", _unspoken, methods=["GET", "POST"]))
    for door in DOORS:
        for version, spoken_paths in (("2.0", SPOKEN), ("3.0", SPOKEN_3)):
            for path, methods, function in spoken_paths:
                # A search comes by POST where it may be long, and a trial waits for others without writing.
                writes = "GET" not in methods and not path.endswith(("/search", "/search-datasets", "/test"))
                found.append(Route(f"{door}/{version}/mlflow{path}", answers(workspace, function, writes), methods=list(methods)))
        found.append(Route(f"{door}/3.0/mlflow/server-info", answers(workspace, _server_info, False), methods=["GET"]))
        found += artifact_routes(workspace, door)
        for version in ("2.0", "3.0"):
            for noun in ("mlflow", "mlflow-artifacts"):
                path = f"{door}/{version}/{noun}/{{path:path}}"
                found.append(Route(path, _unspoken, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]))
    return found


def _server_info(asked: Asked) -> dict[str, Any]:
    return {"store_type": "plimsoll", "workspaces_enabled": False}


@guarded
async def _unspoken(request: HttpRequest) -> Response:
    path = request.path_params.get("path", request.url.path.strip("/"))
    reason = next((why for part, why in UNSPOKEN_PARTS.items() if path.startswith(part)), "")
    if reason:
        raise Spoken(UNSPOKEN, reason)
    raise Spoken(MISSING, f"MLflow's path {request.url.path!r} is not known here.")
