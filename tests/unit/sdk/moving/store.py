"""A folder of runs as MLflow's file store writes it, made by hand so that it can also hold what MLflow would never write."""

from __future__ import annotations

from pathlib import Path

import yaml

RUNS = [f"{number:032x}" for number in range(1, 5)]
LOGGED = f"m-{7:032x}"


def meta(folder: Path, **fields: object) -> Path:
    """Write a folder's description."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.yaml").write_text(yaml.safe_dump(fields))
    return folder


def texts(folder: Path, values: dict[str, str]) -> None:
    """Write a file a value."""
    for name, value in values.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value.encode())


def run(home: Path, id: str, **fields: object) -> Path:
    """Write a run that has ended, with some of everything."""
    told = {
        "run_uuid": id,
        "run_name": f"try {id[-1]}",
        "user_id": "ann",
        "status": 3,
        "start_time": 1700000000000,
        "end_time": 1700000009000,
    }
    folder = meta(home / id, **{**told, "lifecycle_stage": "active", "artifact_uri": f"file:///gone/{id}/artifacts", **fields})
    texts(folder / "params", {"depth": "5", "text": "a\r\nb = 'ü'", "empty": ""})
    texts(folder / "tags", {"mlflow.runName": f"try {id[-1]}", "mlflow.note.content": "# note\n", "kind": "x"})
    lines = [f"17000000000{step:02} {1 / (step + 1)!r} {step}" for step in range(50)]
    texts(folder / "metrics", {"loss": "\n".join(lines) + "\n"})
    odd = ["1700000000500 nan 0", "1700000000501 inf 1", "1700000000502 -inf 2", "1700000000503 1e-310 2", "1700000000504 -0.0 2"]
    # The same point twice, and steps that go back: both are kept.
    odd += ["1700000000504 -0.0 2", "1700000000400 3.0 -7", "1700000000700 5.0 1", "1700000000600 4.0 1"]
    texts(folder / "metrics", {"odd": "\n".join(odd) + "\n", "val/auc": "1700000000000 0.5\n"})
    texts(folder / "artifacts", {"notes/hello.txt": "hello", "empty.bin": "", "model/MLmodel": "flavors: {}\n"})
    return folder


def store(root: Path) -> Path:
    """Write a whole store and return it."""
    folder = root / "mlruns"
    home = meta(folder / "7", experiment_id="7", name="late arrivals", lifecycle_stage="active", creation_time=1600000000000)
    texts(home / "tags", {"team": "x"})
    first = run(home, RUNS[0])
    run(home, RUNS[1], status=5, lifecycle_stage="deleted")
    run(home, RUNS[2], status=1, end_time=None)
    meta(home / "datasets" / "d1", name="frame", digest="abc", source_type="local", source="{}", schema="{}", profile=None)
    meta(first / "inputs" / "i1", source_type="DATASET", source_id="d1", tags={"mlflow.data.context": "training"})
    meta(first / "outputs" / LOGGED, source_type="RUN_OUTPUT", source_id=LOGGED, tags={}, step=4)
    logged = meta(home / "models" / LOGGED, model_id=LOGGED, name="tree", status=2, source_run_id=RUNS[0], creation_timestamp=1700000000100)
    texts(logged / "params", {"depth": "5"})
    texts(logged / "artifacts", {"MLmodel": "flavors: {}\n", "model.pkl": "never opened"})
    texts(logged / "metrics", {"auc": f"1700000000200 0.9 3 {RUNS[0]} frame abc\n"})
    old = meta(folder / ".trash" / "8", experiment_id="8", name="old one", lifecycle_stage="deleted")
    run(old, RUNS[3])
    model = meta(folder / "models" / "late", name="late", description="a: text\n- of 'two' lines", creation_timestamp=1700000000300)
    texts(model / "tags", {"owner": "ann"})
    texts(model / "aliases", {"champion": "3"})
    source = f"file:///gone/mlruns/7/{RUNS[0]}/artifacts/model"
    told = {"name": "late", "current_stage": "Staging", "description": "the first", "run_id": RUNS[0], "creation_timestamp": 1700000000400}
    texts(meta(model / "version-1", **{**told, "version": 1, "source": source}) / "tags", {"checked": "yes"})
    meta(model / "version-2", name="late", version=2, current_stage="Deleted_Internal", source=source)
    meta(model / "version-3", name="late", version=3, current_stage="None", source=f"models:/{LOGGED}", creation_timestamp=1700000000500)
    return folder
