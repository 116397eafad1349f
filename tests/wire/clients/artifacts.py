"""Large files: whole, and in several parts at once when the client is told to send and fetch them so."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
from mlflow import MlflowClient

client = MlflowClient()
run = client.create_run("0")
content = os.urandom(1 << 20) * 7 + b"tail"
Path("large.bin").write_bytes(content)


def fetched(name: str, folder: str) -> bytes:
    """Return what the server has under a name."""
    Path(folder).mkdir()
    return Path(client.download_artifacts(run.info.run_id, name, folder)).read_bytes()


client.log_artifact(run.info.run_id, "large.bin", "whole")
assert fetched("whole/large.bin", "a") == content

os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = "1"
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(1 << 20)
client.log_artifact(run.info.run_id, "large.bin", "parts/of it")
client.log_artifact(run.info.run_id, "large.bin")
os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE"] = str(1 << 20)
assert fetched("parts/of it/large.bin", "b") == content
assert fetched("large.bin", "c") == content
assert fetched("whole/large.bin", "d") == content
assert [(each.path, each.is_dir, each.file_size) for each in client.list_artifacts(run.info.run_id)] == [
    ("large.bin", False, len(content)),
    ("parts", True, None),
    ("whole", True, None),
]

try:
    client.log_artifact("0" * 32, "large.bin")
except mlflow.exceptions.MlflowException as error:
    assert "not found" in str(error), error
else:
    raise AssertionError("A run that is not there keeps no file.")
