"""Fixtures of the tests of the command line."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import codec
from plimsoll.cli.app import main
from plimsoll.data.values import save
from plimsoll.records.monitor import AppendPredictions, Finding, PredictionColumns, RecordWindow, SealPredictions, WindowReport
from plimsoll.records.pipeline import EndedStep, KeyPart, RecordSteps, StepRecord
from plimsoll.records.pipelines.search import FinishSearch, Objective, RecordTrials, SearchPlan, StartSearch, Trial
from plimsoll.records.pipelines.trigger import FireTrigger, SetTrigger, TriggerRule
from plimsoll.records.registry.webhooks import CreateWebhook
from plimsoll.records.run import CodeVersion, FinishRun, StartRun
from plimsoll.workspace import PLANE, WORKER
from tests.faults.command_line import Filled, Run, Said, project
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from outside of the test."""
    for name in [name for name in os.environ if name.startswith("PLIMSOLL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def run(unset: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command line in this process and return how it ended."""
    path, modules = list(sys.path), set(sys.modules)

    def call(line: str, folder: Path, **variables: str) -> Said:
        monkeypatch.chdir(folder)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["plimsoll", *shlex.split(line)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    yield call
    sys.path[:] = path
    # A project's modules are imported under their own names, which the next project may have as well.
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "") or "").endswith((f"{os.sep}works.py", f"{os.sep}broken.py")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A project whose home holds one of everything; not to be changed."""
    return fill(project(tmp_path_factory.mktemp("filled")))


def fill(folder: Path) -> Filled:
    """Fill the home of a project with one of everything; the database is the one that the settings name."""
    yard = open_yard(folder / ".plimsoll")
    do = yard.workspace.do
    live = yard.live("one")
    other = yard.approved("two", champion=live.package)
    third = yard.version("three")
    yard.examine(third, champion=live.package)
    fourth = yard.version("four")
    yard.examine(fourth, champion=live.package)
    proposed = yard.propose(fourth)
    logged = PredictionColumns(
        request_id=("asked",), row=(0,), at=(1_000_000,), unit=("u",), track=("stable",), release_id=(live.id,), output=(0.5,),
        status=(200,), latency=(100,), trace=("",), inputs={"a": (1.0,)},
    )  # fmt: skip
    do(AppendPredictions(plane="q", sequence=1, model="late", environment="production", rows=logged, counts=()), PLANE)
    finding = Finding(kind="input", subject="a", alarming=True, p_value=0.0, reason="It moved.")
    report = WindowReport(
        model="late", environment="production", start=0, end=10, rows=1, labels=0, metrics={}, slices={}, findings=(finding,)
    )
    stepped = [_stepped(yard, count) for count in (4, 6)]
    watched = do(RecordWindow(report=report, table=b"", labelled=0, pipeline=""), WORKER)
    job = yard.workspace.submit(SealPredictions(), WORKER)
    rule = TriggerRule(on="schedule", cron="0 3 * * *", pipeline="works.py:chain")
    do(SetTrigger(name="nightly", rule=rule), yard.owner)
    do(FireTrigger(name="nightly"), yard.owner)
    goal = Objective(metric="begin", direction="maximize")
    plan = SearchPlan(pipeline="works.py:chain", space={"count": "int(1, 3)"}, objectives=(goal,))
    begun = do(StartSearch(plan=plan, trials=4, holder="h", key="k"), yard.dana)
    tried = tuple(
        Trial(number=number, run_id=third.run_id, state="finished", params={"count": count}, point={"count": float(count)}, values=(value,))
        for number, (count, value) in enumerate(((3, 4.0), (1, 1.0), (2, 2.0), (1, 1.0)))
    )
    do(RecordTrials(search_id=begun.id, holder="h", trials=tried), yard.dana)
    do(FinishSearch(id=begun.id, holder="h"), yard.dana)
    hook = do(CreateWebhook(name="hook", url="https://hooks.invalid/", happenings=("model_version.created",), active=False), yard.owner)
    yard.workspace.close()
    names = {
        "HOOK": hook.id,
        "SEARCH": begun.id,
        "RUN": third.run_id,
        "BEFORE": stepped[0],
        "AFTER": stepped[1],
        "LIVE": live.id,
        "APPROVED": other.id,
        "PROPOSED": proposed.id,
        "REQUEST": "asked",
    }
    return Filled(folder, {**names, "ALERT": watched.alerts[0], "JOB": job.id})


def _stepped(yard: Yard, count: int) -> str:
    """Record a run of the project's pipeline as if it had been made, and return its id."""
    blobs, do = yard.workspace.stores.blobs, yard.workspace.do
    entry = CodeVersion(entry="works.py:chain")
    run = do(StartRun(experiment="chain", params={"count": count}, code=entry), yard.owner)
    part = KeyPart(kind="param", name="count", digest=codec.digest(str(count).encode()), text=str(count))
    call = codec.digest(part.digest.encode())
    ran = StepRecord(
        run_id=run.id, index=0, name="works.begin", state="ran", key=codec.digest(call.encode()), why="it has no earlier result",
        started=0, ended=1, output=save(count + 1, blobs, yard.workspace.project),
    )  # fmt: skip
    do(RecordSteps(run_id=run.id, steps=(EndedStep(record=ran, call=call, parts=(part,), keep=True),)), yard.owner)
    do(FinishRun(id=run.id), yard.owner)
    return run.id


@pytest.fixture
def filled(template: Filled, unset: None, tmp_path: Path) -> Filled:
    """A copy of it."""
    return Filled(shutil.copytree(template.folder, tmp_path / "filled"), template.names)
