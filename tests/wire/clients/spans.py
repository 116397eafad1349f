"""A program that OpenTelemetry traces: its exporter sends spans one by one, and MLflow's client reads the trace. Clients from 3.0."""

from __future__ import annotations

import os
import sys
import uuid

import mlflow

if int(mlflow.__version__.split(".")[0]) < 3:
    sys.exit(0)

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

experiment = mlflow.set_experiment(f"spans-{uuid.uuid4().hex}")
url = f"{os.environ['MLFLOW_TRACKING_URI']}/v1/traces"
headers = {"authorization": f"Bearer {os.environ['MLFLOW_TRACKING_TOKEN']}", "x-mlflow-experiment-id": experiment.experiment_id}


ids = []
plain = OTLPSpanExporter(endpoint=url, headers=headers)
packed = OTLPSpanExporter(endpoint=url, headers=headers, compression=Compression.Gzip)
for processor in (SimpleSpanProcessor(plain), BatchSpanProcessor(packed)):
    provider = TracerProvider()
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("answer") as root:
        root.set_attributes({"mlflow.spanInputs": '{"question": 1}', "mlflow.spanOutputs": "2", "session.id": "s1", "number": 7})
        with tracer.start_as_current_span("inner") as inner:
            inner.add_event("found", {"where": "here"})
            inner.set_attribute("words", ["a", "b"])
    provider.shutdown()
    ids.append(f"tr-{root.get_span_context().trace_id:032x}")

for id in ids:
    trace = mlflow.get_trace(id)
    assert (trace.info.state, trace.info.request_preview, trace.info.response_preview) == ("OK", '{"question": 1}', "2"), trace.info
    assert trace.info.tags["mlflow.traceName"] == "answer"
    assert trace.info.trace_metadata["mlflow.trace.session"] == "s1"
    spans = {span.name: span for span in trace.data.spans}
    assert spans["inner"].parent_id == spans["answer"].span_id
    told = spans["answer"].attributes
    assert (told["mlflow.spanInputs"], told["mlflow.spanOutputs"], told["number"]) == ('{"question": 1}', "2", 7), told
    assert [(event.name, event.attributes) for event in spans["inner"].events] == [("found", {"where": "here"})]
    assert list(spans["inner"].attributes["words"]) == ["a", "b"]

found = mlflow.search_traces(locations=[experiment.experiment_id], filter_string="trace.name = 'answer'", return_type="list")
assert sorted(each.info.trace_id for each in found) == sorted(ids)
assert [len(each.data.spans) for each in found] == [2, 2]
mlflow.log_feedback(trace_id=ids[0], name="good", value=True)
mlflow.set_trace_tag(ids[0], "seen", "yes")
assert mlflow.get_trace(ids[0]).info.tags["seen"] == "yes"
assert mlflow.MlflowClient().delete_traces(experiment.experiment_id, trace_ids=ids) == 2
assert mlflow.get_trace(ids[0]) is None
