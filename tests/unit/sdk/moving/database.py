"""A database file as MLflow's server keeps it: the tables and columns of 3.17 that are read, some of everything in them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.unit.sdk.moving.store import LOGGED, RUNS, texts

_SCHEMA = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name, artifact_location, lifecycle_stage, creation_time BIGINT, last_update_time);
CREATE TABLE experiment_tags (key, value, experiment_id INTEGER);
CREATE TABLE runs (run_uuid PRIMARY KEY, name, user_id, status, start_time BIGINT, end_time BIGINT, lifecycle_stage, artifact_uri, experiment_id INTEGER);
CREATE TABLE metrics (key, value FLOAT, timestamp BIGINT, run_uuid, step BIGINT, is_nan BOOLEAN, PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
CREATE TABLE latest_metrics (key, value FLOAT, timestamp BIGINT, step BIGINT, is_nan BOOLEAN, run_uuid);
CREATE TABLE params (key, value, run_uuid);
CREATE TABLE tags (key, value, run_uuid);
CREATE TABLE datasets (dataset_uuid, experiment_id INTEGER, name, digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile);
CREATE TABLE inputs (input_uuid, source_type, source_id, destination_type, destination_id, step BIGINT);
CREATE TABLE input_tags (input_uuid, name, value);
CREATE TABLE registered_models (name, creation_time BIGINT, last_updated_time, description);
CREATE TABLE registered_model_tags (key, value, name);
CREATE TABLE registered_model_aliases (alias, version INTEGER, name);
CREATE TABLE model_versions (name, version INTEGER, creation_time BIGINT, description, current_stage, source, run_id, storage_location);
CREATE TABLE model_version_tags (key, value, name, version INTEGER);
CREATE TABLE logged_models (model_id, experiment_id INTEGER, name, artifact_location, creation_timestamp_ms BIGINT, status INTEGER, lifecycle_stage, model_type, source_run_id);
CREATE TABLE logged_model_params (model_id, param_key, param_value);
CREATE TABLE logged_model_tags (model_id, tag_key, tag_value);
CREATE TABLE logged_model_metrics (model_id, metric_name, metric_timestamp_ms BIGINT, metric_step BIGINT, metric_value FLOAT, run_id, dataset_name, dataset_digest);
"""  # noqa: E501


def database(root: Path) -> Path:
    """Write a database with its folder of files beside it, and return it."""
    path = root / "mlflow.db"
    made = sqlite3.connect(path)
    made.executescript(_SCHEMA)
    fill = made.executemany
    fill("INSERT INTO experiments VALUES (?, ?, '', ?, 1600000000000, 1)", [(7, "late arrivals", "active"), (8, "old one", "deleted")])
    fill("INSERT INTO experiment_tags VALUES ('team', 'x', ?)", [(7,)])
    for number, id in enumerate(RUNS):
        experiment = 8 if number == 3 else 7
        status = ("FINISHED", "KILLED", "RUNNING", "FINISHED")[number]
        row = (id, f"try {id[-1]}", status, None if number == 2 else 1700000009000, "deleted" if number == 1 else "active", experiment)
        made.execute("INSERT INTO runs VALUES (?, ?, 'ann', ?, 1700000000000, ?, ?, '/gone', ?)", row)
        fill("INSERT INTO params VALUES (?, ?, ?)", [("depth", "5", id), ("empty", "", id)])
        fill("INSERT INTO tags VALUES (?, ?, ?)", [("mlflow.runName", f"try {id[-1]}", id), ("mlflow.note.content", "# note\n", id)])
        points = [("loss", 1 / (step + 1), 1700000000000 + step, id, step, 0) for step in range(50)]
        points += [
            ("odd", 0.0, 1700000000500, id, 0, 1),
            ("odd", 1.7976931348623157e308, 1700000000400, id, 3, 0),
            ("odd", -0.5, 9, id, -7, 0),
        ]
        fill("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", points)
        last = [("loss", 1 / 50, 1700000000049, 49, 0, id), ("odd", 1.7976931348623157e308, 1700000000400, 3, 0, id)]
        fill("INSERT INTO latest_metrics VALUES (?, ?, ?, ?, ?, ?)", last)
        texts(root / "mlruns" / str(experiment) / id / "artifacts", {"notes/hello.txt": "hello", "model/MLmodel": "flavors: {}\n"})
    made.execute("INSERT INTO datasets VALUES ('d1', 7, 'frame', 'abc', 'local', '{}', '{}', NULL)")
    made.execute("INSERT INTO inputs VALUES ('i1', 'DATASET', 'd1', 'RUN', ?, 0)", (RUNS[0],))
    made.execute("INSERT INTO inputs VALUES ('i2', 'RUN_OUTPUT', ?, 'MODEL_OUTPUT', ?, 4)", (RUNS[0], LOGGED))
    made.execute("INSERT INTO input_tags VALUES ('i1', 'mlflow.data.context', 'training')")
    made.execute("INSERT INTO logged_models VALUES (?, 7, 'tree', '/gone', 1700000000100, 2, 'active', '', ?)", (LOGGED, RUNS[0]))
    made.execute("INSERT INTO logged_model_params VALUES (?, 'depth', '5')", (LOGGED,))
    made.execute("INSERT INTO logged_model_metrics VALUES (?, 'auc', 1700000000200, 3, 0.9, ?, 'frame', 'abc')", (LOGGED, RUNS[0]))
    texts(root / "mlruns" / "7" / "models" / LOGGED / "artifacts", {"MLmodel": "flavors: {}\n"})
    made.execute("INSERT INTO registered_models VALUES ('late', 1700000000300, 1, 'a model')")
    made.execute("INSERT INTO registered_model_aliases VALUES ('champion', 3, 'late')")
    stored = f"/gone/mlruns/7/{RUNS[0]}/artifacts/model"
    version = "INSERT INTO model_versions VALUES ('late', ?, 1700000000400, ?, ?, ?, ?, ?)"
    made.execute(version, (1, "the first", "Staging", f"runs:/{RUNS[0]}/model", RUNS[0], stored))
    made.execute(version, (2, "", "Deleted_Internal", "REDACTED", "REDACTED", stored))
    made.execute(version, (3, "", "None", f"models:/{LOGGED}", RUNS[0], f"/gone/mlruns/7/models/{LOGGED}/artifacts"))
    made.commit()
    made.close()
    return path
