"""MLflow's client in steps: its log lives with the step's result. A program that speaks its protocol stands for the client."""

from __future__ import annotations

import os
import sys

import pytest

from plimsoll.records.run import GetRun, GetSeries
from tests.unit.pipelines.bench import Bench, states

PIPE = """
    import json
    import os
    import urllib.request
    from plimsoll.pipelines.step import pipeline, step
    from plimsoll.runs.logger import current_run

    def post(path, **fields):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        address = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}"
        asked = urllib.request.Request(address, json.dumps(fields).encode(), {"Content-Type": "application/json"})
        return json.load(opener.open(asked))

    @step
    def train(rate, more=""):
        run = post("runs/create")["run"]["info"]["run_id"]
        metrics = [{"key": "loss", "value": rate / (at + 1), "timestamp": at, "step": at} for at in range(3)]
        post("runs/log-batch", run_id=run, metrics=metrics, params=[{"key": "depth", "value": "5"}])
        post("runs/log-inputs", run_id=run, datasets=[{"dataset": {"name": "d", "digest": "1", "source_type": "x", "source": "y"}}])
        post("runs/set-tag", run_id=run, key="seen", value=str(len(dict(os.environ)) > 0))
        current_run().log(own=1.0)
        if more == "run":
            post("runs/create", tags=[{"key": "mlflow.parentRunId", "value": run}])
        if more == "search":
            post("runs/search", experiment_ids=["0"])
        if more == "name":
            post("registered-models/create", name="m")
        post("runs/update", run_id=run, status="FINISHED")
        return rate

    @pipeline
    def flow(rate=2, more=""):
        return train(rate, more)
"""


@pytest.fixture
def hosting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A project where MLflow is installed."""
    bench.write("mlflow.py", "")
    bench.write("pipe.py", PIPE)
    monkeypatch.syspath_prepend(str(bench.project))
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    return bench


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_later_run_that_finds_the_result_has_what_the_client_logged(hosting: Bench, executor: str) -> None:
    first = hosting.run(executor=executor)
    assert first["train"].why == "it has no earlier result"
    second = hosting.run(executor=executor)
    assert states(second) == {"train": "hit"}
    one, two = (hosting.do(GetRun(id=result.id)) for result in (first, second))
    assert (two.run.state, two.run.params, two.run.tags) == ("finished", {"rate": 2, "more": "", "depth": "5"}, {"seen": "True"})
    assert one.run.params == two.run.params
    assert [use.dataset.name for use in two.datasets] == ["d"]
    assert [(each.name, each.count) for each in two.metrics] == [(each.name, each.count) for each in one.metrics]
    series = [hosting.do(GetSeries(run_id=result.id, name="loss")) for result in (first, second)]
    assert (series[1].steps, series[1].values) == ((0, 1, 2), (2.0, 1.0, 2 / 3))
    assert series[0].times == series[1].times
    assert not [name for name in os.environ if name.startswith("MLFLOW_")]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("run", "began another run through MLflow"),
        ("search", "asked the platform through MLflow (SearchRunTexts)"),
        ("name", "asked the platform through MLflow (CreateModel)"),
    ],
)
def test_what_goes_beyond_the_run_makes_the_result_unfit_for_later_runs(hosting: Bench, more: str, why: str) -> None:
    result = hosting.run(more=more)
    assert result["train"].why == f'it has no earlier result; not kept for later runs, because it {why} (cache="forever" would keep it)'


def test_steps_that_do_not_name_mlflow_keep_the_address_that_the_user_chose_without_a_word(
    hosting: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    hosting.write(
        "pipe.py",
        """
        import os
        from plimsoll.pipelines.step import pipeline, step

        @step
        def tell(number):
            return os.environ["MLFLOW_TRACKING_URI"]

        @pipeline
        def flow():
            return [tell(1), tell(2)]
        """,
    )
    assert hosting.run().value == ["http://127.0.0.1:9"] * 2
    assert "MLFLOW_TRACKING_URI" not in capsys.readouterr().err
