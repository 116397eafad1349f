"""MLflow's client in the process of a run: a program that speaks its protocol stands for it, and a module of its name for its package."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import GetRun
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.run import run
from plimsoll.workspace import open_workspace
from tests.unit.conftest import Running


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked is answered when the platform has what was logged before, however long that takes."""
    monkeypatch.setattr("plimsoll.sdk.autolog._PATIENCE", 60.0)
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._WELCOME", 60.0)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderDoor]:
    """A door to a new home, in a project where MLflow is installed."""
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    (tmp_path / "mlflow.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLIMSOLL_CAPTURE", "none")
    for name in list(os.environ):
        if name.startswith("MLFLOW_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    workspace = open_workspace(tmp_path / ".plimsoll", owner="dana")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


def client() -> httpx.Client:
    """Return a client of the address that the environment names."""
    return httpx.Client(base_url=f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0", trust_env=False, timeout=60.0)


def post(asked: httpx.Client, path: str, **fields: Any) -> dict[str, Any]:
    answer = asked.post(f"/mlflow/{path}", json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_a_client_logs_is_logged_by_the_run(door: FolderDoor) -> None:
    before = dict(os.environ)
    with run(door=door, experiment="book", params={"depth": 3}) as opened, client() as asked:
        begun = post(asked, "runs/create", experiment_id=os.environ["MLFLOW_EXPERIMENT_ID"], tags=[{"key": "mlflow.user", "value": "x"}])
        assert begun["run"]["info"]["run_id"] == opened.id
        metric = {"key": "loss", "value": 0.5, "timestamp": 1, "step": 4}
        params, tags = [{"key": "rate", "value": "0.1"}], [{"key": "team", "value": "x"}]
        post(asked, "runs/log-batch", run_id=opened.id, metrics=[metric], params=params, tags=tags)
        post(
            asked,
            "runs/log-inputs",
            run_id=opened.id,
            datasets=[{"dataset": {"name": "d", "digest": "1", "source_type": "x", "source": "y"}}],
        )
        root = begun["run"]["info"]["artifact_uri"].partition(":/")[2]
        assert asked.put(f"/mlflow-artifacts/artifacts/{root}/notes/a.txt", content=b"hello").status_code == 200
        assert asked.get(f"/mlflow-artifacts/artifacts/{root}/notes/a.txt").content == b"hello"
        seen = asked.get("/mlflow/runs/get", params={"run_id": opened.id}).json()["run"]
        assert [each["value"] for each in seen["data"]["metrics"]] == [0.5]
        ended = post(asked, "runs/update", run_id=opened.id, status="FINISHED")
        assert ended["run_info"]["status"] == "RUNNING"
        opened.log(loss=0.25, step=5)
        address = os.environ["MLFLOW_TRACKING_URI"]
    found = door.do(GetRun(id=opened.id))
    assert (found.run.state, found.run.params, found.run.tags) == ("finished", {"depth": 3, "rate": "0.1"}, {"team": "x"})
    assert [(each.name, each.count, each.last) for each in found.metrics] == [("loss", 2, 0.25)]
    assert ([each.name for each in found.artifacts], [use.dataset.name for use in found.datasets]) == (["notes/a.txt"], ["d"])
    assert dict(os.environ) == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False, timeout=60)


def test_a_run_within_the_run_and_one_elsewhere_are_runs_of_their_own(door: FolderDoor) -> None:
    with run(door=door) as opened, client() as asked:
        within = post(asked, "runs/create", tags=[{"key": "mlflow.parentRunId", "value": opened.id}])["run"]["info"]["run_id"]
        other = post(asked, "experiments/create", name="other")["experiment_id"]
        beside = post(asked, "runs/create", experiment_id=other)["run"]["info"]["run_id"]
    assert len({opened.id, within, beside}) == 3
    assert [door.do(GetRun(id=id)).run.experiment for id in (within, beside)] == ["Default", "other"]


def test_a_param_with_another_value_is_refused_as_mlflow_refuses_it(door: FolderDoor) -> None:
    with run(door=door, params={"depth": 3}) as opened, client() as asked:
        answer = asked.post("/mlflow/runs/log-parameter", json={"run_id": opened.id, "key": "depth", "value": "4"})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert door.do(GetRun(id=opened.id)).run.params == {"depth": 3}


def test_a_client_does_not_delete_the_run_that_it_is_in(door: FolderDoor) -> None:
    with run(door=door) as opened, client() as asked:
        answer = asked.post("/mlflow/runs/delete", json={"run_id": opened.id})
        assert "is under way" in answer.json()["message"]
        assert answer.status_code >= 400
    found = door.do(GetRun(id=opened.id)).run
    assert (found.state, found.deleted) == ("finished", None)


def test_an_address_that_the_user_chose_stays_and_is_told(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://example.com/mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", sys)
    with run(door=door) as opened:
        assert os.environ["MLFLOW_TRACKING_URI"] == "https://example.com/mlflow"
    assert f"https://example.com/mlflow, so what MLflow logged went there and not into the run {opened.id}" in capsys.readouterr().err


def test_runs_within_each_other_have_an_address_each_and_leave_none_behind(door: FolderDoor) -> None:
    first, second = run(door=door), run(door=door)
    first.start()
    outer = os.environ["MLFLOW_TRACKING_URI"]
    second.start()
    assert os.environ["MLFLOW_TRACKING_URI"] != outer
    first.finish()
    second.finish()
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_files_go_to_a_server_as_well(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    server = running.http("read", "write")
    with run(door=server) as opened, client() as asked:
        root = post(asked, "runs/create")["run"]["info"]["artifact_uri"].partition(":/")[2]
        assert asked.put(f"/mlflow-artifacts/artifacts/{root}/a/b.bin", content=b"x" * 3_000_000).status_code == 200
        made = post(asked, "logged-models", experiment_id=opened.record.experiment_id, source_run_id=opened.id)["model"]["info"]
        place = made["artifact_uri"].partition(":/")[2]
        assert asked.put(f"/mlflow-artifacts/artifacts/{place}/MLmodel", content=b"flavors: {}").status_code == 200
        asked.patch(f"/mlflow/logged-models/{made['model_id']}", json={"status": "LOGGED_MODEL_READY"})
        post(asked, "runs/outputs", run_id=opened.id, models=[{"model_id": made["model_id"], "step": 0}])
        assert asked.get(f"/mlflow-artifacts/artifacts/{place}/MLmodel").content == b"flavors: {}"
        assert len(asked.get(f"/mlflow-artifacts/artifacts/{root}/a/b.bin").content) == 3_000_000
    found = server.do(GetRun(id=opened.id))
    assert ([each.name for each in found.artifacts], [use.model_id for use in found.models]) == (["a/b.bin"], [made["model_id"]])
    (entry,) = get_manifest(server.blobs, found.artifacts[0].digest).files
    assert entry.size == 3_000_000
    assert server.blobs.has(entry.digest)


def test_runs_that_the_client_left_open_end_with_the_block_and_where_another_begins(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = ["outer"]
    mlflow = SimpleNamespace(active_run=lambda: left[-1] if left else None, end_run=lambda: left.pop())
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    with run(door=door):
        assert "MLFLOW_TRACKING_URI" not in os.environ, "a run that the user's code began goes on where it began"
    assert left == ["outer"]
    left.clear()
    with run(door=door):
        left.append("first")
        with run(door=door):
            assert left == []
            left.append("second")
        assert left == []
        left.append("first again")
    assert left == []


def test_nobody_comes_in_without_the_name_of_the_guest(door: FolderDoor) -> None:
    with run(door=door):
        address = os.environ["MLFLOW_TRACKING_URI"]
        for other in (address.rpartition("/")[0], f"{address}x", address.replace("plimsoll-", "")):
            assert httpx.get(f"{other}/api/2.0/mlflow/experiments/get", trust_env=False, timeout=60).status_code == 404


def test_a_client_does_not_wait_for_a_platform_that_is_away(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.sdk.autolog._PATIENCE", 0.2)
    away = False

    class Away(FolderDoor):
        def do(self, request: Request[Any], /) -> Any:
            if away:
                raise Unreachable("The server does not answer.")
            return super().do(request)

    broken = Away(door.workspace, door.actor)
    with run(door=broken) as opened, client() as asked:
        away = True
        post(asked, "runs/create")
        post(asked, "runs/log-metric", run_id=opened.id, key="loss", value=0.5, timestamp=1, step=0)
        post(asked, "runs/set-tag", run_id=opened.id, key="team", value="x")
        # A question gets an answer that the client does not repeat for minutes.
        assert asked.get("/mlflow/experiments/get-by-name", params={"experiment_name": "x"}).status_code == 400
        away = False
    found = door.do(GetRun(id=opened.id))
    assert (found.run.tags, [each.last for each in found.metrics]) == ({"team": "x"}, [0.5])
