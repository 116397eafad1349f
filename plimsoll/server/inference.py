"""The plane's HTTP side: Open Inference Protocol v2, MLflow's ``/invocations``, health and metrics. It translates and decides nothing.

Raw ASGI, because a framework would cost more than the prediction. Binary tensors and gRPC are not read here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from plimsoll import clock, codec
from plimsoll.errors import (
    DeadlineExceeded,
    Denied,
    Internal,
    InvalidInput,
    NotFound,
    PlimsollError,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from plimsoll.records.monitor import LATENCY_EDGES
from plimsoll.server import payloads
from plimsoll.server.payloads import Body
from plimsoll.serving.plane import Plane
from plimsoll.serving.predict import Answer, Call
from plimsoll.serving.prediction_log import Journal
from plimsoll.serving.traffic import Route

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Names under which a loopback server may be called.
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,200})?")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer."""

    #: HTTP status.
    status: int
    #: Content.
    body: bytes
    #: Further headers.
    headers: dict[str, str]
    #: ``Content-Type``.
    media: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A prediction request as its path and headers tell it."""

    #: True for the Open Inference Protocol, False for ``/invocations``.
    open: bool
    #: Registered name; empty text takes the only model.
    model: str
    #: Version that the caller insists on, or None.
    version: int | None
    #: Lower-case name -> value.
    headers: dict[str, str]
    #: Seconds on the monotonic clock.
    arrived: float


class PlaneMetrics(Collector):
    """Counts requests as they are answered and reads the rest from the plane when asked.

    Args:
        registry: where the numbers are registered.
        plane: what is looked at.
        journal: the prediction log, or None when nothing is logged.
    """

    def __init__(self, registry: CollectorRegistry, plane: Plane, journal: Journal | None) -> None:
        self.registry = registry
        self._plane = plane
        self._journal = journal
        self._requests = Counter(
            "plimsoll_requests", "Prediction requests answered.", ("model", "version", "track", "status"), registry=registry
        )
        self._latency = Histogram(
            "plimsoll_request_seconds",
            "Seconds from a prediction request's arrival to its answer.",
            ("model", "track"),
            buckets=[edge / 1e6 for edge in LATENCY_EDGES],
            registry=registry,
        )
        registry.register(self)

    def count(self, model: str, version: str, track: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            model: registered name, or empty text when there is no such model.
            version: version that answered, or empty text.
            track: track that answered, or empty text.
            status: HTTP status.
            seconds: from arrival to answer.
        """
        self._requests.labels(model, version, track, str(status)).inc()
        self._latency.labels(model, track).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield what is read at the time of asking."""
        depth = GaugeMetricFamily("plimsoll_queue_requests", "Requests that wait for a replica.", labels=("package",))
        up = GaugeMetricFamily("plimsoll_replica_up", "1 when the replica is ready.", labels=("package",))
        lost = CounterMetricFamily("plimsoll_replica_losses", "Times a ready replica was lost.", labels=("package",))
        for replica in self._plane.replicas:
            label = [replica.key.package[:12]]
            depth.add_metric(label, replica.waiting)
            up.add_metric(label, float(replica.state == "ready"))
            lost.add_metric(label, replica.losses)
        yield from (depth, up, lost)
        dropped = CounterMetricFamily("plimsoll_log_dropped_rows", "Rows left out of the prediction log because it was full.")
        dropped.add_metric([], self._journal.dropped if self._journal is not None else 0)
        yield dropped


class Inference:
    """The ASGI application of a plane.

    Args:
        plane: answers requests.
        metrics: counts them.
        hosts: exact ``Host`` values that are served, as :func:`hosts_of` gives them.
        version: version of Plimsoll.
        about: what ``GET /plane`` answers: which process this is.
    """

    def __init__(self, plane: Plane, metrics: PlaneMetrics, hosts: frozenset[str], version: str, about: Mapping[str, Any]) -> None:
        self._about = dict(about)
        self._plane = plane
        self._metrics = metrics
        self._hosts = hosts
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        reply = await self._reply(scope, headers, receive)
        fields = [(b"content-type", reply.media.encode()), (b"content-length", str(len(reply.body)).encode())]
        fields += [(key.encode("latin-1"), value.encode("latin-1")) for key, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _reply(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Reply:
        path = scope["path"]
        try:
            self._check_caller(headers)
            asked = self._asked(path, headers)
            if asked is None:
                return self._look(scope["method"], path)
            if scope["method"] != "POST":
                return _plain(405, {"error": "Send a POST request."}, {"allow": "POST"})
        except PlimsollError as error:
            return _failed(error, path.startswith("/v2"))
        return await self._predict(asked, receive)

    def _check_caller(self, headers: dict[str, str]) -> None:
        """Refuse what a foreign page in a browser on this host could send: another name for this host, or another origin."""
        host = headers.get("host", "").strip().lower()
        if host not in self._hosts:
            raise InvalidInput(f"The host {host[:100]!r} is not served here.", "Call the printed address.")
        origin = headers.get("origin")
        if origin is not None and origin.strip().lower() not in {f"http://{host}", f"https://{host}"}:
            raise Denied(f"Pages of {origin[:100]} may not ask this plane.", "Ask it from a program, or from a page at its own address.")

    def _asked(self, path: str, headers: dict[str, str]) -> Asked | None:
        """Return what a prediction's path asks for, or None when the path is another one."""
        arrived = clock.monotonic()
        parts = path.strip("/").split("/")
        match parts:
            case ["invocations"]:
                return Asked(open=False, model=headers.get("plimsoll-model", ""), version=None, headers=headers, arrived=arrived)
            case ["models", model, "invocations"]:
                return Asked(open=False, model=model, version=None, headers=headers, arrived=arrived)
            case ["v2", "models", model, "infer"]:
                return Asked(open=True, model=model, version=None, headers=headers, arrived=arrived)
            case ["v2", "models", model, "versions", version, "infer"]:
                return Asked(open=True, model=model, version=_number(model, version), headers=headers, arrived=arrived)
        return None

    def _look(self, method: str, path: str) -> Reply:
        """Answer what changes nothing and predicts nothing."""
        if method not in ("GET", "HEAD"):
            return _plain(404 if path.startswith("/v2") else 405, {"error": f"There is no {method} {path[:200]} here."}, {})
        parts = path.strip("/").split("/")
        match parts:
            case ["v2", "health", "live"] | ["ping"]:
                return _plain(200, {"live": True}, {})
            case ["v2", "health", "ready"]:
                ready = self._plane.ready
                return _plain(200 if ready else 503, {"ready": ready}, {} if ready else {"retry-after": "1"})
            case ["v2"]:
                return _plain(200, {"name": "plimsoll", "version": self._version, "extensions": []}, {})
            case ["plane"]:
                return _plain(200, self._about, {})
            case ["metrics"]:
                return Reply(status=200, body=generate_latest(self._metrics.registry), headers={}, media=CONTENT_TYPE_LATEST)
            case ["v2", "models", model, *rest]:
                return self._model(model, rest, path)
        return _plain(404, {"error": f"There is no {path[:200]} here."}, {})

    def _model(self, model: str, rest: list[str], path: str) -> Reply:
        try:
            route = self._plane.route(model)
            number = None
            if rest[:1] == ["versions"] and len(rest) > 1:
                number, rest = _number(model, rest[1]), rest[2:]
            lanes = [lane for lane in route.lanes if number in (None, lane.track.number)]
            if number is not None and not lanes:
                raise NotFound(f"Version {number} of {model!r} is not loaded.", "Ask for one that is.")
            if rest == ["ready"]:
                ready = self._plane.can_answer(route) if number is None else any(lane.replica.state == "ready" for lane in lanes)
                return _plain(200 if ready else 503, {"name": model, "ready": ready}, {} if ready else {"retry-after": "1"})
            if rest:
                raise NotFound(f"There is no {path[:200]} here.", "See the Open Inference Protocol.")
            meta = next((lane.replica.meta for lane in lanes if lane.replica.meta is not None), None)
            if meta is None:
                raise Unavailable(f"{model!r} is being loaded.", "Ask again soon.", retry_after=1)
            return _plain(200, payloads.describe(meta, sorted({str(lane.track.number) for lane in lanes}, key=int)), {})
        except PlimsollError as error:
            return _failed(error, True)

    async def _predict(self, asked: Asked, receive: Receive) -> Reply:
        route: Route | None = None
        answer: Answer | None = None
        marks: dict[str, str] = {}
        try:
            trace = asked.headers.get("traceparent", "")
            trace = trace if _TRACE.fullmatch(trace) else ""
            marks = {"traceparent": trace} if trace else {}
            marks["x-request-id"] = payloads.check_request_id(asked.headers.get("x-request-id") or clock.new_id())
            _check_encoding(asked.headers)
            if asked.open:
                _check_media(asked.headers)
            model = asked.model or self._only_model()
            # A full plane says so before it reads and decodes the body.
            route = self._plane.route(model)
            self._plane.admit(route, asked.arrived)
            data = await self._read(asked, receive)
            # The route may have been left while the body came in.
            route = self._plane.route(model)
            call = self._call(asked, route, data, marks["x-request-id"], trace)
            marks["x-request-id"] = call.request_id
            answer = await self._plane.answer(route, call)
            reply = _answered(asked, route, call, answer, marks)
        except PlimsollError as error:
            reply = _failed(error, asked.open, marks)
        except Exception:
            name = clock.new_id()
            log.exception("request failed", extra={"action": "request_failed", "id": name})
            reply = _failed(Internal("The server has a defect.", f"Look for {name} in its log.", id=name), asked.open, marks)
        self._metrics.count(
            route.model if route is not None else "",
            str(answer.number or "") if answer is not None else "",
            answer.track if answer is not None else "",
            reply.status,
            clock.monotonic() - asked.arrived,
        )
        return reply

    def _only_model(self) -> str:
        models = self._plane.models
        if len(models) != 1:
            raise NotFound(f"{len(models)} models are served here.", "Name one: POST /models/NAME/invocations.")
        return models[0]

    async def _read(self, asked: Asked, receive: Receive) -> bytes:
        limits = self._plane.limits
        length = asked.headers.get("content-length", "0")
        too_large = TooLarge(f"The body has more than {limits.body_bytes} bytes.", "Send fewer rows in one request.")
        if length.isdigit() and int(length) > limits.body_bytes:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise InvalidInput("The caller went away before its body was whole.", "Send it again.")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limits.body_bytes:
                        raise too_large
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise DeadlineExceeded(f"The body was not whole after {limits.body_seconds} s.", "Send it faster.") from None

    def _call(self, asked: Asked, route: Route, data: bytes, request_id: str, trace: str) -> Call:
        meta = route.meta
        if meta is None:
            raise Unavailable(f"{route.model!r} is being loaded.", "Send it again after the time in Retry-After.", retry_after=1)
        want = payloads.wanted(meta, route.optional, self._plane.limits.rows)
        body: Body
        if asked.open:
            body = payloads.read_infer(data, want, clock.now())
        else:
            body = payloads.read_invocation(data, asked.headers.get("content-type", ""), want, clock.now())
        return Call(
            version=asked.version,
            request_id=body.request_id or request_id,
            trace=trace,
            columns=body.columns,
            rows=body.rows,
            unit=body.unit,
            at=body.at,
            arrived=asked.arrived,
            deadline=_deadline(asked, self._plane.deadline(route, asked.arrived)),
        )


def _answered(asked: Asked, route: Route, call: Call, answer: Answer, marks: dict[str, str]) -> Reply:
    version = str(answer.number) if answer.number is not None else ""
    headers = {**marks, "plimsoll-version": version, "plimsoll-track": answer.track}
    parameters: dict[str, Any] = {"track": answer.track}
    if answer.fallback:
        headers["plimsoll-fallback"] = "true"
        parameters["fallback"] = True
    if answer.kill is not None:
        headers["plimsoll-kill"] = parameters["kill"] = answer.kill
    if not asked.open:
        return Reply(status=200, body=codec.to_json({"predictions": answer.values}), headers=headers)
    output = route.meta.signature.output.name if route.meta is not None else "prediction"
    body = payloads.write_infer(route.model, version, call.request_id, output, answer.values, parameters)
    return Reply(status=200, body=body, headers=headers)


def _failed(error: PlimsollError, is_open: bool, marks: dict[str, str] | None = None) -> Reply:
    headers = dict(marks or {})
    if error.status in (429, 503):
        headers["retry-after"] = str(error.details.get("retry_after", 1))
    body = {"error": str(error)} if is_open else {"error_code": error.code.upper(), "message": str(error)}
    return _plain(error.status, body, headers)


def _plain(status: int, body: dict[str, Any], headers: dict[str, str]) -> Reply:
    return Reply(status=status, body=codec.to_json(body), headers=headers)


def hosts_of(port: int, names: Iterable[str]) -> frozenset[str]:
    """Return the exact ``Host`` values that a plane answers to, in lower case.

    Args:
        port: TCP port that it listens on; the loopback names are served with it alone.
        names: further ones: ``NAME`` stands for itself, as a proxy on a default port sends it, and for itself with ``port``;
            ``NAME:PORT`` stands for itself.
    """
    loopback = [f"[{name}]" if ":" in name else name for name in LOOPBACK]
    further = [name.lower() for name in names]
    plain = [name for name in further if not re.search(r":\d+$", name) or name.endswith("]")]
    # A browser and most clients leave the port 80 out.
    return frozenset([*further, *(f"{name}:{port}" for name in (*loopback, *plain)), *(loopback if port == 80 else [])])


def _number(model: str, version: str) -> int:
    if not _VERSION.fullmatch(version):
        raise NotFound(f"{model!r} has no version {version[:50]!r}.", "A version is a whole number from 1.")
    return int(version)


def _check_media(headers: dict[str, str]) -> None:
    """Refuse what is not said to be JSON: a page may send other types to any host without asking it first."""
    media = headers.get("content-type")
    # The common Open Inference client names no type; a page's request always names its origin.
    if media is None and "origin" not in headers:
        return
    if (media or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMedia(f"The content type {(media or '')[:100]!r} is not read here.", "Send application/json.")


def _check_encoding(headers: dict[str, str]) -> None:
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia(f"The body's encoding {headers['content-encoding'][:50]!r} is not read here.", "Send it as it is.")
    if "inference-header-content-length" in headers:
        raise UnsupportedMedia("Binary tensors are not read here.", "Send JSON; with tritonclient set binary_data=False.")


def _deadline(asked: Asked, latest: float) -> float:
    """Return the earlier of what the configuration and what the caller's header ``plimsoll-deadline-ms`` allow."""
    value = asked.headers.get("plimsoll-deadline-ms")
    if value is None:
        return latest
    if not _VERSION.fullmatch(value):
        raise InvalidInput(f"The header plimsoll-deadline-ms is {value[:50]!r}.", "Send whole milliseconds from 1.")
    return min(latest, asked.arrived + int(value) / 1000)
