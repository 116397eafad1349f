"""What people, judges and code think of a trace: logged, read, changed, overridden, found and deleted. Clients from 3.0."""

from __future__ import annotations

import sys
import uuid

import mlflow

if int(mlflow.__version__.split(".")[0]) < 3:
    sys.exit(0)

from mlflow.entities import AssessmentSource, Expectation, Feedback

experiment = mlflow.set_experiment(f"assessments-{uuid.uuid4().hex}")
by = {"locations": [experiment.experiment_id], "return_type": "list"}


@mlflow.trace
def answer(question: int) -> int:
    """Return one more; what is thought of it while it runs goes with the trace."""
    mlflow.log_feedback(trace_id=mlflow.get_active_trace_id(), name="inside", value=question)
    return question + 1


ids = []
for question in range(3):
    answer(question)
    ids.append(mlflow.get_last_active_trace_id())
mlflow.flush_trace_async_logging()
assert [each.value for each in mlflow.get_trace(ids[2]).info.assessments] == [2]

judge, person = AssessmentSource("LLM_JUDGE", "gpt"), AssessmentSource("HUMAN", "me@example.com")
score = mlflow.log_feedback(trace_id=ids[0], name="score", value=0.25, source=judge, rationale="why", metadata={"k": "v"})
assert mlflow.get_assessment(ids[0], score.assessment_id) == score
assert (score.value, score.source, score.rationale, score.metadata, score.valid) == (0.25, judge, "why", {"k": "v"}, True)
failed = mlflow.log_feedback(trace_id=ids[0], name="failed", error=ValueError("late"))
assert (failed.value, failed.error.error_code, failed.error.error_message) == (None, "ValueError", "late")
for value in (True, "yes", ["a", 1], {"a": {"b": 2}}):
    assert mlflow.log_feedback(trace_id=ids[1], name="any", value=value).value == value
    kept = mlflow.log_expectation(trace_id=ids[1], name="answer", value=value, source=person, span_id="abc")
    assert (kept.value, kept.source, kept.span_id) == (value, person, "abc")
assert len(mlflow.get_trace(ids[1]).info.assessments) == 9

better = mlflow.override_feedback(trace_id=ids[0], assessment_id=score.assessment_id, value=0.75, source=person)
assert better.overrides == score.assessment_id
assert not mlflow.get_assessment(ids[0], score.assessment_id).valid
changed = mlflow.update_assessment(ids[0], better.assessment_id, Feedback(name="score", value=0.875, metadata={"new": "1"}))
assert (changed.value, changed.metadata, changed.source) == (0.875, {"new": "1"}, person)
logged = mlflow.log_assessment(ids[2], Expectation(name="answer", value=3))
assert mlflow.update_assessment(ids[2], logged.assessment_id, Expectation(name="answer", value=4)).value == 4

for text, expected in (
    ("feedback.score = '0.875'", [ids[0]]),
    ("feedback.score = '0.25'", []),
    ("feedback.score > 0.5", [ids[0]]),
    ("feedback.any = 'yes'", [ids[1]]),
    ("feedback.any = 'true'", [ids[1]]),
    ("feedback.any LIKE 'y%'", [ids[1]]),
    ("expectation.answer = '4'", [ids[2]]),
    ("feedback.score IS NULL", [ids[2], ids[1]]),
    ("feedback.inside >= 1 AND trace.status = 'OK'", [ids[2], ids[1]]),
):
    # Not in their order: they may have begun within one millisecond.
    assert {each.info.trace_id for each in mlflow.search_traces(filter_string=text, **by)} == set(expected), text
frame = mlflow.search_traces(locations=[experiment.experiment_id]).set_index("trace_id")
assert len(frame.loc[ids[0], "assessments"]) == 4


@mlflow.trace
def converse() -> None:
    """One of a session's traces."""
    mlflow.update_current_trace(metadata={"mlflow.trace.session": f"s-{experiment.name}"})


talk = []
for _ in range(2):
    converse()
    talk.append(mlflow.get_last_active_trace_id())
mlflow.flush_trace_async_logging()
# As MLflow's scorers of whole sessions log it: at the first trace, and it is found at each.
mlflow.log_feedback(trace_id=talk[0], name="polite", value="yes", metadata={"mlflow.trace.session": f"s-{experiment.name}"})
mlflow.log_feedback(trace_id=talk[0], name="short", value="yes")
for text, expected in (
    ("feedback.polite = 'yes'", talk),
    ("feedback.polite IS NOT NULL", talk),
    ("feedback.polite IS NULL", ids),
    ("feedback.short = 'yes'", talk[:1]),
):
    assert {each.info.trace_id for each in mlflow.search_traces(filter_string=text, **by)} == set(expected), text

mlflow.delete_assessment(ids[0], better.assessment_id)
mlflow.delete_assessment(ids[0], better.assessment_id)
assert mlflow.get_assessment(ids[0], score.assessment_id).valid
try:
    mlflow.get_assessment(ids[0], better.assessment_id)
except mlflow.exceptions.MlflowException as error:
    assert error.error_code == "RESOURCE_DOES_NOT_EXIST", error
    assert f"Assessment with ID '{better.assessment_id}' not found for trace '{ids[0]}'" in str(error), error
else:
    raise AssertionError("It was deleted.")
