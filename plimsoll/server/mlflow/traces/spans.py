"""Spans as OpenTelemetry's exporters send them: ``POST /v1/traces``, protobuf or JSON, packed or not.

A trace gets the id that MLflow's clients give it, ``tr-`` and 32 hex digits. The header ``x-mlflow-experiment-id`` says where it belongs,
``x-mlflow-run-id`` which run it is of; without the first it is in the experiment that every home has.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from plimsoll import access, extras
from plimsoll.errors import MissingExtra
from plimsoll.records.mlflow.words import SESSION_KEY
from plimsoll.records.tracking.traces.span import RecordSpans, Span
from plimsoll.records.tracking.traces.trace import RequestTrace, TraceState
from plimsoll.server.answers import in_turn
from plimsoll.server.api import actor_of, read_body
from plimsoll.server.mlflow.answering import Platform, asked, guarded
from plimsoll.server.mlflow.experiments import active
from plimsoll.server.mlflow.speech import INVALID, UNSPOKEN, Asked, Spoken

#: Bytes of a request at most, also unpacked.
_LARGEST = 16 << 20

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_TAG, _INPUTS, _OUTPUTS = "mlflow.traceTag.", "mlflow.spanInputs", "mlflow.spanOutputs"
_NOTES = {"session.id": SESSION_KEY, "user.id": "mlflow.trace.user"}
_PREVIEW = 1000

#: The status of what can be read but is no span, as MLflow's server has it.
_NO_SPAN = 422


def span_routes(workspace: Platform) -> list[Route]:
    """Return the route of spans.

    Args:
        workspace: does what is asked.
    """

    @guarded
    async def take(request: HttpRequest) -> Response:
        access.require(actor_of(request), "write", "record spans")
        media = request.headers.get("content-type", "").partition(";")[0].strip()
        if media not in (_PROTOBUF, _JSON):
            raise Spoken(INVALID, f"Invalid Content-Type: {media[:80]!r}. Expected: {_PROTOBUF} or {_JSON}.")
        body = _unpacked(await read_body(request, _LARGEST), request.headers.get("content-encoding", ""))
        here = asked(workspace, request, {})
        experiment, run = request.headers.get("x-mlflow-experiment-id", "0"), request.headers.get("x-mlflow-run-id", "")
        await in_turn(request, True, _record, here, body, media, experiment, run)
        return Response(b"" if media == _PROTOBUF else b"{}", media_type=media)

    return [Route("/v1/traces", take, methods=["POST"])]


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Spoken(INVALID, f"Unsupported Content-Encoding: {encoding[:80]!r}. Use gzip, deflate or none.")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = unpacker.decompress(body, _LARGEST)
    except zlib.error:
        raise Spoken(INVALID, f"The body is no {encoding}.") from None
    if not unpacker.eof:
        raise Spoken(INVALID, f"The body is cut, or over {_LARGEST:,} bytes when it is unpacked.")
    return found


def _record(here: Asked, body: bytes, media: str, experiment: str, run: str) -> None:
    # Looked at first: what is wrong with them is told wherever they belong.
    spans = [_Sent.of(each) for each in _spans(body, media)]
    place = active(here, experiment).id
    traces: dict[str, RequestTrace] = {}
    for span in spans:
        told = span.trace(place, run)
        known = traces.get(told.id, told)
        ended = known if known.state != "running" else told
        traces[told.id] = ended if ended.state != "running" else replace(known, started=min(known.started, told.started))
    if spans:
        here.do(RecordSpans(traces=tuple(traces.values()), spans=tuple(span.record() for span in spans)))


def _spans(body: bytes, media: str) -> Iterator[dict[str, Any]]:
    """Yield each span as protobuf's JSON has it."""
    try:
        export = extras.require("opentelemetry.proto.collector.trace.v1.trace_service_pb2").ExportTraceServiceRequest()
        as_json = extras.require("google.protobuf.json_format")
    except MissingExtra as error:
        # Clients of MLflow that read these words send their spans as a file instead.
        raise Spoken(UNSPOKEN, f"REST OTLP span logging is not supported by this server as it is installed. {error}") from None
    try:
        if media == _JSON:
            as_json.ParseDict(_with_bytes(json.loads(body)), export, ignore_unknown_fields=True)
        else:
            export.ParseFromString(body)
    except (ValueError, TypeError, AttributeError, RecursionError, as_json.Error, extras.require("google.protobuf.message").DecodeError):
        raise Spoken(INVALID, "Invalid OpenTelemetry format.") from None
    for resource in export.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield as_json.MessageToDict(span, preserving_proto_field_name=True)


def _with_bytes(sent: Any) -> Any:
    """Return a request in JSON with ids as protobuf has them: OpenTelemetry writes them in hex digits."""
    for resource in sent.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for each in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if each.get(name):
                            each[name] = base64.b64encode(bytes.fromhex(each[name])).decode()
    return sent


def _id(content: Mapping[str, Any], name: str, size: int) -> str:
    found = base64.b64decode(content.get(name, ""))
    if len(found) != size and (found or name != "parent_span_id"):
        raise Spoken(INVALID, f"Invalid OpenTelemetry format: a span's {name} has {len(found)} bytes, not {size}.", _NO_SPAN)
    return found.hex()


@dataclass(frozen=True, slots=True)
class _Sent:
    """A span as it came."""

    content: dict[str, Any]
    trace_id: str
    id: str
    parent_id: str
    started: int
    ended: int

    @classmethod
    def of(cls, content: dict[str, Any]) -> _Sent:
        trace, id, parent = (_id(content, name, size) for name, size in (("trace_id", 16), ("span_id", 8), ("parent_span_id", 8)))
        started, ended = (int(content.get(f"{name}_time_unix_nano", 0)) for name in ("start", "end"))
        if ended and ended < started:
            raise Spoken(INVALID, f"Invalid OpenTelemetry format: the span {id} ends before it begins.", _NO_SPAN)
        return cls(content, f"tr-{trace}", id, parent, started, ended)

    def record(self) -> Span:
        return Span(
            trace_id=self.trace_id,
            id=self.id,
            parent_id=self.parent_id,
            name=str(self.content.get("name", "")),
            started=self.started,
            ended=self.ended or None,
            content=self.content,
        )

    def trace(self, experiment: str, run: str) -> RequestTrace:
        """Return what this span tells of its trace: how it ended, when it is the one that the trace begins with."""
        began = {"id": self.trace_id, "experiment_id": experiment, "started": self.started // 1000}
        metadata = {"mlflow.trace_schema.version": "3", **({"mlflow.sourceRun": run} if run else {})}
        if self.parent_id or not self.ended:
            return RequestTrace(**began, state="running", duration=None, metadata=metadata)  # type: ignore[arg-type]
        texts = {each["key"]: _shown(each.get("value", {})) for each in self.content.get("attributes", ())}
        state: TraceState = "error" if self.content.get("status", {}).get("code") == "STATUS_CODE_ERROR" else "ok"
        tags = {name.removeprefix(_TAG): text for name, text in texts.items() if name.startswith(_TAG)}
        return RequestTrace(
            **began,  # type: ignore[arg-type]
            state=state,
            duration=(self.ended - self.started) // 1000,
            request=texts.get(_INPUTS, "")[:_PREVIEW],
            response=texts.get(_OUTPUTS, "")[:_PREVIEW],
            tags={"mlflow.traceName": str(self.content.get("name", "")), **tags},
            metadata=metadata | {note: texts[name] for name, note in _NOTES.items() if name in texts},
        )


def _shown(value: dict[str, Any]) -> str:
    """Return an attribute's value as text: what is no text as JSON."""
    plain = plain_value(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def plain_value(value: dict[str, Any]) -> Any:
    """Return an attribute's value as Python has it.

    Args:
        value: as protobuf's JSON has it.
    """
    for kind, held in value.items():
        if kind == "array_value":
            return [plain_value(each) for each in held.get("values", ())]
        if kind == "kvlist_value":
            return {each["key"]: plain_value(each.get("value", {})) for each in held.get("values", ())}
        return int(held) if kind == "int_value" else held
    return None
