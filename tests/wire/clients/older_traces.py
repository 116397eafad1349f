"""A program that a client before 3.0 traces: its traces are found with their spans, tagged and deleted."""

from __future__ import annotations

import contextlib
import sys
import uuid

import mlflow
from mlflow import MlflowClient

if int(mlflow.__version__.split(".")[0]) >= 3:
    sys.exit(0)

from mlflow.tracing.processor.mlflow import MlflowSpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

# Clients of that time do not call what sets these, which the newest OpenTelemetry asks its processors for.
newest = SimpleSpanProcessor(None)
MlflowSpanProcessor._shutdown, MlflowSpanProcessor._metrics = newest._shutdown, newest._metrics
client = MlflowClient()
experiment = mlflow.set_experiment(f"older-traces-{uuid.uuid4().hex}").experiment_id


@mlflow.trace
def answer(question: int) -> int:
    """Return one more, in a span of its own."""
    if question < 0:
        raise ValueError("negative")
    with mlflow.start_span("inner", span_type="TOOL") as span:
        span.set_inputs({"question": question})
        span.set_outputs(question + 1)
    mlflow.update_current_trace(tags={"asked": str(question)})
    return question + 1


for question in range(3):
    answer(question)
with mlflow.start_run() as run:
    answer(7)
with contextlib.suppress(ValueError):
    answer(-1)

found = client.search_traces([experiment])
assert sorted(trace.info.status for trace in found) == ["ERROR", "OK", "OK", "OK", "OK"], found
for text, expected in (
    ("trace.status = 'ERROR'", 1),
    ("tags.asked = '2'", 1),
    ("trace.name = 'answer' AND trace.timestamp_ms > 0", 5),
    (f"attributes.run_id = '{run.info.run_id}'", 1),
):
    assert len(client.search_traces([experiment], filter_string=text)) == expected, text
assert len(client.search_traces([experiment], max_results=2, order_by=["timestamp_ms ASC"])) == 2

(trace,) = client.search_traces([experiment], filter_string="tags.asked = '0'")
id = trace.info.request_id
trace = client.get_trace(id)
assert [span.name for span in trace.data.spans] == ["answer", "inner"]
assert trace.data.spans[1].parent_id == trace.data.spans[0].span_id
assert (trace.data.spans[1].inputs, trace.data.spans[1].outputs) == ({"question": 0}, 1)
client.set_trace_tag(id, "seen", "yes")
client.set_trace_tag(id, "gone", "yes")
client.delete_trace_tag(id, "gone")
tags = client.get_trace(id).info.tags
assert tags["seen"] == "yes"
assert "gone" not in tags
assert client.delete_traces(experiment, request_ids=[id]) == 1
assert len(client.search_traces([experiment])) == 4
