"""A program that is traced: its traces are found with their spans, tagged and deleted. Clients from 3.0."""

from __future__ import annotations

import contextlib
import sys
import uuid

import mlflow
from mlflow import MlflowClient

if int(mlflow.__version__.split(".")[0]) < 3:
    sys.exit(0)

client = MlflowClient()
experiment = mlflow.set_experiment(f"traces-{uuid.uuid4().hex}")


@mlflow.trace(attributes={"kind": "sum"})
def answer(question: int) -> int:
    """Return one more, in a span of its own."""
    if question < 0:
        raise ValueError("negative")
    with mlflow.start_span("inner", span_type="TOOL") as span:
        span.set_inputs({"question": question})
        span.set_outputs(question + 1)
    mlflow.update_current_trace(tags={"asked": str(question)}, client_request_id=f"request-{question}")
    return question + 1


for question in range(3):
    answer(question)
with mlflow.start_run() as run:
    answer(7)
with contextlib.suppress(ValueError):
    answer(-1)
mlflow.flush_trace_async_logging()

last = mlflow.get_trace(mlflow.get_last_active_trace_id())
assert last.info.state == "ERROR", last.info
by = {"locations": [experiment.experiment_id], "return_type": "list"}
found = mlflow.search_traces(**by)
asked = [trace.info.request_preview for trace in found]
assert sorted(asked) == sorted(f'{{"question": {number}}}' for number in (-1, 7, 2, 1, 0))
begun = [trace.info.timestamp_ms for trace in found]  # several may begin within one millisecond
assert begun == sorted(begun, reverse=True)
for text, expected in (
    ("status = 'OK'", 4),
    ("trace.status = 'ERROR'", 1),
    ("tags.asked = '2'", 1),
    ("trace.name = 'answer' AND trace.timestamp_ms > 0", 5),
    ("trace.client_request_id = 'request-1'", 1),
    (f"attribute.run_id = '{run.info.run_id}'", 1),
    ("trace.execution_time_ms > 3600000", 0),
    ("metadata.`mlflow.trace_schema.version` = '3'", 5),
):
    assert len(mlflow.search_traces(filter_string=text, **by)) == expected, text
assert len(mlflow.search_traces(run_id=run.info.run_id, **by)) == 1
other = client.create_run(experiment.experiment_id).info.run_id
client.link_traces_to_run([trace.info.trace_id for trace in found[:2]], other)
assert [trace.info.trace_id for trace in mlflow.search_traces(run_id=other, **by)] == [trace.info.trace_id for trace in found[:2]]
assert len(mlflow.search_traces(max_results=2, order_by=["timestamp_ms ASC"], **by)) == 2

for text, expected in (
    ("span.name = 'inner'", 4),
    ("span.type = 'TOOL'", 4),
    ("span.status = 'ERROR'", 1),
    ("span.attributes.kind = 'sum'", 5),
    ("span.attributes.kind LIKE 's%' AND span.name = 'answer'", 5),
    ("span.attributes.kind = 'sum' AND span.name = 'inner'", 0),
    ("trace.text ILIKE '%QUESTION%'", 5),
    ("and span.type = 'TOOL' and tags.asked = '2' and", 1),
):
    assert len(mlflow.search_traces(**by, filter_string=text)) == expected, text

trace = mlflow.get_trace(found[asked.index('{"question": 0}')].info.trace_id)
assert [span.name for span in trace.data.spans] == ["answer", "inner"]
assert trace.data.spans[1].parent_id == trace.data.spans[0].span_id
assert (trace.data.spans[1].inputs, trace.data.spans[1].outputs) == ({"question": 0}, 1)
mlflow.set_trace_tag(trace.info.trace_id, "seen", "yes")
mlflow.set_trace_tag(trace.info.trace_id, "gone", "yes")
mlflow.delete_trace_tag(trace.info.trace_id, "gone")
tags = mlflow.get_trace(trace.info.trace_id).info.tags
assert tags["seen"] == "yes"
assert "gone" not in tags
assert client.delete_traces(experiment.experiment_id, trace_ids=[trace.info.trace_id]) == 1
assert mlflow.get_trace(trace.info.trace_id) is None
assert len(mlflow.search_traces(**by)) == 4
