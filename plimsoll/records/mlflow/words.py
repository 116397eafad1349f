"""What MLflow calls what we call otherwise: one table for its door and for what is moved in from it."""

from __future__ import annotations

from plimsoll.records.model import Stage
from plimsoll.records.run import RunState
from plimsoll.records.tracking.logged_model import LoggedModelState

#: Tags in which MLflow's clients keep a run's name and its user. The name is the run's own here.
NAME_TAG, USER_TAG = "mlflow.runName", "mlflow.user"

#: Metadata: of a trace, which session it belongs to; of an assessment, that it is about the whole session of its trace.
SESSION_KEY = "mlflow.trace.session"

#: MLflow's mark of a prompt, which it keeps as a registered model. There are none here.
PROMPT_TAG = "mlflow.prompt.is_prompt"

#: Before a version's digest: where its files are, as clients address them.
VERSION_FILES = "mlflow-artifacts:/versions/"

#: MLflow's status -> our state.
STATES: dict[str, RunState] = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "stopped",
}

#: Ours -> MLflow's. A run that is lost ended without a word, which is a failure to MLflow.
STATUS: dict[RunState, str] = {
    "running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "lost": "FAILED",
}  # fmt: skip

#: Numbers that the protocol's first clients send for a status, and that folders of runs hold.
STATUS_NUMBERS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}

#: Stages of a version, ours -> MLflow's.
STAGES: dict[Stage, str] = {"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}

#: States of a logged model, ours -> MLflow's and the numbers of them.
LOGGED_STATUS: dict[LoggedModelState, str] = {
    "pending": "LOGGED_MODEL_PENDING", "ready": "LOGGED_MODEL_READY", "failed": "LOGGED_MODEL_UPLOAD_FAILED",
}  # fmt: skip
LOGGED_NUMBERS: dict[LoggedModelState, int] = {"pending": 1, "ready": 2, "failed": 3}
