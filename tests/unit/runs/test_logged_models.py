from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.run import GetRun, ModelUse, StartRun
from plimsoll.records.tracking.change import DeleteRun
from plimsoll.records.tracking.experiment import CreateExperiment
from plimsoll.records.tracking.logged_model import (
    CreateLoggedModel,
    DeleteLoggedModel,
    DropModelFiles,
    FinishLoggedModel,
    GetLoggedModel,
    KeepModelFile,
    LinkModels,
    ListModelFiles,
    LoggedModel,
    LogModelMetrics,
    LogModelParams,
    ModelMetric,
    ModelOrder,
    OnDataset,
    SearchLoggedModels,
    TagLoggedModel,
)
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def begun(yard: Yard, name: str = "", experiment: str = "0", **params: str) -> LoggedModel:
    return yard.workspace.do(CreateLoggedModel(experiment_id=experiment, name=name, params=params), yard.dana)


def known(yard: Yard, id: str) -> LoggedModel:
    return yard.workspace.do(GetLoggedModel(id=id), yard.dana)


def measure(yard: Yard, run: str, model: LoggedModel, name: str, value: float, step: int = 0, dataset: str = "") -> None:
    metric = ModelMetric(model_id=model.id, run_id=run, name=name, value=value, step=step, time=1000 + step, dataset=dataset)
    yard.workspace.do(LogModelMetrics(metrics=(metric,)), yard.dana)


def found(yard: Yard, where: str = "", **more: object) -> list[str]:
    asked = SearchLoggedModels(experiments=("0",), where=where, **more)  # type: ignore[arg-type]
    return [model.name for model in yard.workspace.do(asked, yard.dana).models]


def test_a_logged_model_gets_its_files_params_and_tags_and_is_ready(yard: Yard) -> None:
    model = begun(yard, "late", depth="3")
    assert (model.state, model.name, model.params, model.id[:2], len(model.id)) == ("pending", "late", {"depth": "3"}, "m-", 34)
    assert begun(yard).name.startswith("model-")
    blobs = yard.workspace.stores.blobs
    for name in ("MLmodel", "data/x", "MLmodel"):
        yard.workspace.do(KeepModelFile(id=model.id, name=name, digest=blobs.put(name.encode()), size=len(name)), yard.dana)
    assert [file.name for file in yard.workspace.do(ListModelFiles(id=model.id), yard.dana)] == ["MLmodel", "data/x"]
    yard.workspace.do(DropModelFiles(id=model.id, names=("data/x", "none")), yard.dana)
    assert [file.name for file in yard.workspace.do(ListModelFiles(id=model.id), yard.dana)] == ["MLmodel"]
    with pytest.raises(NotFound, match="not stored"):
        yard.workspace.do(KeepModelFile(id=model.id, name="a", digest="0" * 64, size=1), yard.dana)
    yard.workspace.do(LogModelParams(id=model.id, params={"depth": "3", "lr": ".1"}), yard.dana)
    with pytest.raises(InvalidInput, match="'depth'"):
        yard.workspace.do(LogModelParams(id=model.id, params={"more": "1", "depth": "4"}), yard.dana)
    yard.workspace.do(TagLoggedModel(id=model.id, tags={"a": "b", "c": "d"}), yard.dana)
    yard.workspace.do(TagLoggedModel(id=model.id, remove=("c",)), yard.dana)
    with pytest.raises(NotFound, match="no tag 'c'"):
        yard.workspace.do(TagLoggedModel(id=model.id, remove=("c",)), yard.dana)
    ready = yard.workspace.do(FinishLoggedModel(id=model.id), yard.dana)
    assert (ready.state, ready.params, ready.tags) == ("ready", {"depth": "3", "lr": ".1"}, {"a": "b"})


def test_a_deleted_logged_model_is_out_of_sight(yard: Yard) -> None:
    model = begun(yard, "late")
    yard.workspace.do(DeleteLoggedModel(id=model.id), yard.dana)
    yard.workspace.do(DeleteLoggedModel(id=model.id), yard.dana)
    assert found(yard) == []
    for request in (GetLoggedModel(id=model.id), FinishLoggedModel(id=model.id), ListModelFiles(id=model.id)):
        with pytest.raises(NotFound):
            yard.workspace.do(request, yard.dana)
    assert yard.workspace.do(GetLoggedModel(id=model.id, deleted=True), yard.dana).deleted is not None


def test_a_logged_model_belongs_to_an_experiment_and_at_most_one_run_that_are_in_use(yard: Yard) -> None:
    run = yard.workspace.do(StartRun(), yard.dana)
    yard.workspace.do(DeleteRun(id=run.id), yard.dana)
    with pytest.raises(NotFound):
        begun(yard, experiment="77")
    with pytest.raises(Conflict, match="is deleted"):
        yard.workspace.do(CreateLoggedModel(experiment_id="0", run_id=run.id), yard.dana)
    for name in ("a/b", "a.b", "a'b", "x" * 501):
        with pytest.raises(InvalidInput):
            CreateLoggedModel(experiment_id="0", name=name)


def test_of_a_metric_the_last_step_counts_bit_for_bit_for_each_run_and_dataset(yard: Yard) -> None:
    model, run = begun(yard), yard.workspace.do(StartRun(), yard.dana).id
    for step, value in ((1, 0.5), (3, math.inf), (2, 0.7)):
        measure(yard, run, model, "loss", value, step)
    measure(yard, run, model, "loss", -0.0, dataset="held out")
    measure(yard, run, model, "nan", math.nan)
    metrics = {(each.name, each.dataset): each for each in known(yard, model.id).metrics}
    assert (metrics["loss", ""].value, metrics["loss", ""].step) == (math.inf, 3)
    assert math.copysign(1, metrics["loss", "held out"].value) == -1
    assert math.isnan(metrics["nan", ""].value)
    with pytest.raises(NotFound):
        measure(yard, "0" * 32, model, "loss", 1.0)


def test_a_run_says_which_models_it_read_and_made(yard: Yard) -> None:
    run, read, made = yard.workspace.do(StartRun(), yard.dana).id, begun(yard), begun(yard)
    uses = (ModelUse(model_id=read.id, role="input"), ModelUse(model_id=made.id, role="output", step=2))
    for _ in range(2):
        yard.workspace.do(LinkModels(run_id=run, uses=uses), yard.dana)
    assert yard.workspace.do(GetRun(id=run), yard.dana).models == uses
    with pytest.raises(NotFound):
        yard.workspace.do(LinkModels(run_id=run, uses=(ModelUse(model_id="m-1", role="input"),)), yard.dana)


def test_logged_models_are_found_by_filter_in_order_and_page_by_page(yard: Yard) -> None:
    run = yard.workspace.do(StartRun(), yard.dana).id
    models = {}
    for depth, name in enumerate(("one", "two", "three", "four")):
        clock.sleep(0.002)  # MLflow's times are milliseconds, and each has one of its own
        models[name] = begun(yard, name, depth=str(depth))
    for name, value in (("one", 0.1), ("two", 0.3), ("three", math.nan)):
        measure(yard, run, models[name], "auc", value)
    measure(yard, run, models["four"], "auc", 0.9, dataset="held out")
    yard.workspace.do(TagLoggedModel(id=models["two"].id, tags={"team": "x"}), yard.dana)
    yard.workspace.do(FinishLoggedModel(id=models["one"].id), yard.dana)
    begun(yard, "elsewhere", yard.workspace.do(CreateExperiment(name="other"), yard.dana).id)
    assert found(yard) == ["four", "three", "two", "one"]
    assert found(yard, "metrics.auc > 0.2") == ["four", "two"]
    assert found(yard, "metrics.auc > 0.2", datasets=(OnDataset(name="held out"),)) == ["four"]
    assert found(yard, "params.depth IN ('1', '3')", datasets=(OnDataset(name="held out", digest="other"),)) == []
    assert found(yard, "tags.team = 'x' and params.depth = '1'") == ["two"]
    assert found(yard, "status = 'READY' or name LIKE 't%'") == ["three", "two", "one"]
    assert found(yard, f"model_id = '{models['one'].id}' and creation_timestamp > 5") == ["one"]
    by_auc = (ModelOrder(by="metrics.auc", descending=True),)
    assert found(yard, order=by_auc) == ["four", "two", "one", "three"]
    assert found(yard, order=(ModelOrder(by="metrics.auc", dataset="held out"), ModelOrder(by="name"))) == ["four", "one", "three", "two"]
    assert found(yard, order=(ModelOrder(by="creation_timestamp"),)) == ["one", "two", "three", "four"]
    seen, token = [], None
    for _ in range(4):
        page = yard.workspace.do(SearchLoggedModels(experiments=("0",), order=by_auc, limit=1, page=token), yard.dana)
        seen += [model.name for model in page.models]
        token = page.next
    assert (seen, token) == (["four", "two", "one", "three"], None)
    first = yard.workspace.do(SearchLoggedModels(experiments=("0",), limit=1), yard.dana)
    with pytest.raises(InvalidInput, match="another search"):
        yard.workspace.do(SearchLoggedModels(experiments=("0",), where="name = 'one'", limit=1, page=first.next), yard.dana)
    for wrong in (ModelOrder(by="colour"), ModelOrder(by="params.depth")):
        with pytest.raises(InvalidInput, match="order by field"):
            found(yard, order=(wrong,))
    for where in ("colour = 'x'", "datasets.name = 'x'", "metrics.auc = 'x'"):
        with pytest.raises(InvalidInput):
            found(yard, where)
