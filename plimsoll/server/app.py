"""Assembly of the control server: what answers at which path, visible in one function."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from plimsoll import access
from plimsoll.records.access import ListJobs
from plimsoll.records.deployment import ListDeployments
from plimsoll.server.answers import Turns, in_turn
from plimsoll.server.api import actor_of, guarded, openapi, routes
from plimsoll.server.auth import Gate
from plimsoll.server.mlflow.routes import routes as mlflow_routes
from plimsoll.server.mlflow.speech import SPOKEN_RELEASE
from plimsoll.workspace import WORKER, Workspace


class _State(Collector):
    """Numbers of the control plane, read when they are asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def collect(self) -> list[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("plimsoll_jobs", "Jobs by state, of the newest 1,000.", labels=["state"])
        found = [job.state for job in self.workspace.do(ListJobs(limit=1000), WORKER)]
        for state in ("waiting", "working", "done", "failed"):
            jobs.add_metric([state], found.count(state))
        rollouts = GaugeMetricFamily("plimsoll_rollouts", "Rollouts under way.")
        deployments = self.workspace.do(ListDeployments(), WORKER)
        rollouts.add_metric([], sum(deployment.candidate is not None for deployment in deployments))
        killed = GaugeMetricFamily("plimsoll_killed", "Deployments whose kill switch is on.")
        killed.add_metric([], sum(deployment.kill is not None for deployment in deployments))
        return [jobs, rollouts, killed]


def build(workspace: Workspace, hosts: frozenset[str]) -> Starlette:
    """Return the control server's application.

    Args:
        workspace: the opened home.
        hosts: exact ``Host`` values that are served, with their port.
    """
    release = version("plimsoll")
    registry = CollectorRegistry()
    registry.register(_State(workspace))

    async def health(request: HttpRequest) -> Response:
        return PlainTextResponse("OK")

    async def tell_version(request: HttpRequest) -> Response:
        # MLflow's clients ask to know what they can send: from 3.4 on their spans one by one, which searches look into.
        mlflow = request.headers.get("user-agent", "").startswith("mlflow-python-client/")
        return PlainTextResponse(SPOKEN_RELEASE if mlflow else release)

    @guarded
    async def describe(request: HttpRequest) -> Response:
        access.require(actor_of(request), "read", "read the description")
        return JSONResponse(await run_in_threadpool(openapi, release))

    @guarded
    async def metrics(request: HttpRequest) -> Response:
        access.require(actor_of(request), "read", "read the metrics")
        return Response(await in_turn(request, False, generate_latest, registry), media_type="text/plain; version=0.0.4")

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/version", tell_version),
            Route("/openapi.json", describe),
            Route("/metrics", metrics),
            *routes(workspace),
            *mlflow_routes(workspace),
        ],
        middleware=[Middleware(Gate, workspace=workspace, hosts=hosts, turns=Turns())],
    )
    app.state.home = str(workspace.home)
    return app
