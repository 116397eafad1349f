"""A search in a real workspace: its trials are ordinary runs, features are computed once, and what is interrupted goes on."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from plimsoll.errors import Conflict, Denied, InvalidInput, NotFound, StepFailed
from plimsoll.pipelines.search.goals import read_constraint, read_objectives
from plimsoll.pipelines.search.space import read_space
from plimsoll.pipelines.search.study import _shuffled, importances
from plimsoll.pipelines.search.trials import Place, search
from plimsoll.records.access import Actor, ListEvents
from plimsoll.records.model import ListVersions
from plimsoll.records.pipeline import DropEntry, ListSteps
from plimsoll.records.pipelines.search import (
    FinishSearch,
    GetSearch,
    ListSearches,
    RecordTrials,
    SearchDetail,
    SearchPlan,
    StartSearch,
    Trial,
)
from plimsoll.records.request import Request
from plimsoll.records.run import GetRun, GetSeries
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.workspace import open_workspace
from tests.unit.conftest import Running
from tests.unit.pipelines.bench import Bench

PIPE = """
    import plimsoll
    from plimsoll.pipelines.step import pipeline, step
    from plimsoll.runs.logger import current_run

    @step
    def features(months: int) -> list[int]:
        print("features are made")
        return list(range(months))

    @step
    def train(rows: list[int], depth: int, rate: float) -> dict[str, float]:
        for epoch in range(6):
            current_run().log(loss=depth + epoch, step=epoch)
        return {"auc": -abs(depth - 5) - rate, "cost": float(depth), "size": len(rows)}

    @pipeline
    def flow(months: int = 4, depth: int = 4, rate: float = 0.0):
        return train(features(months), depth, rate)
"""

SPACE = {"depth": "int(2,10)", "rate": "log(1e-4,1e-1)"}


def plan(maximize: Any = ("auc",), minimize: Any = (), *, space: dict[str, str] = SPACE, **more: Any) -> SearchPlan:
    return SearchPlan(pipeline="pipe.py:flow", space=space, objectives=read_objectives(maximize, minimize), **more)


def place(bench: Bench, do: Any = None, **more: Any) -> Place:
    settings = {"tags": {}, "executor": "in_process", **more}
    return Place(do=do or bench.do, blobs=bench.workspace.stores.blobs, project=bench.project, **settings)


def run(bench: Bench, asked: SearchPlan, trials: int, do: Any = None, ref: str = "pipe.py:flow", **more: Any) -> SearchDetail:
    params = more.pop("params", {})
    told = {name: more.pop(name) for name in ("on_trial", "on_step", "name") if name in more}
    return search(bench.load(ref), asked, params, place(bench, do, **more), trials=trials, **told)


def test_a_search_leaves_the_functions_of_libraries_as_they_were(bench: Bench) -> None:
    """On Python 3.11 they have other code from its first step to its end."""
    bench.write("pipe.py", PIPE)
    code, seen = os.path.exists.__code__, list[bool]()
    run(bench, plan(), 3, on_trial=lambda trial: seen.append(os.path.exists.__code__ is code))
    assert seen == [sys.version_info >= (3, 12)] * 3
    assert os.path.exists.__code__ is code


def test_a_trial_of_cheap_steps_writes_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # However busy the machine is, its steps count as cheap.
    monkeypatch.setattr("plimsoll.pipelines.loop.writer._LINGER", 60.0)
    monkeypatch.setattr("plimsoll.pipelines.engine._DEAR", 60.0)
    bench.write("pipe.py", PIPE.replace("current_run().log", "(lambda **point: None)"))
    asked: list[str] = []

    def do(request: Request[Any]) -> Any:
        asked.append(type(request).__name__)
        return bench.do(request)

    detail = run(bench, plan(), 4, do)
    assert [trial.state for trial in detail.trials] == ["finished"] * 4
    _, _, third, fourth, _ = (place for place, name in enumerate(asked) if name == "RecordTrials")
    # The trial before with its steps and its run's end and this one's run, and its claim; what the features are is known.
    assert asked[third:fourth] == ["RecordTrials", "ClaimCalls"]


class Killed(BaseException):
    """Stands for a process that is gone: nothing more of it happens."""


class Dying:
    """A door that does nothing any more from the ``nth`` request of a class on, as when the process is killed there.

    Args:
        bench: whose door.
        request: the class.
        nth: counted from 1.
        done: whether that request is still done.
    """

    def __init__(self, bench: Bench, request: type[Request[Any]], nth: int, done: bool) -> None:
        self._bench, self._request, self._left, self._done = bench, request, nth, done
        self._dead = False

    def __call__(self, request: Request[Any]) -> Any:
        if not self._dead and isinstance(request, self._request):
            self._left -= 1
            if self._left == 0:
                self._dead = True
                if self._done:
                    self._bench.do(request)
        if self._dead:
            raise Killed
        return self._bench.do(request)


def facts(detail: SearchDetail) -> list[Any]:
    """Return what does not depend on times and ids."""
    return [(trial.number, trial.state, trial.params, trial.values, trial.violations, trial.reports) for trial in detail.trials]


@pytest.fixture
def ready(bench: Bench) -> Bench:
    """A project with a pipeline whose best depth is 5."""
    bench.write("pipe.py", PIPE)
    return bench


def test_each_trial_is_an_ordinary_run_and_features_are_computed_once(ready: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    ended: list[int] = []
    detail = run(ready, plan(), 12, on_trial=lambda trial: ended.append(trial.number))
    assert capfd.readouterr().out.count("features are made") == 1
    assert (detail.search.state, detail.search.trials, len(detail.trials)) == ("finished", 12, 12)
    assert ended == list(range(12))
    for trial in detail.trials:
        found = ready.do(GetRun(id=trial.run_id))
        assert found.run.state == "finished"
        assert (found.run.cause.kind, found.run.cause.id) == ("search", detail.search.id)
        assert found.run.tags["trial"] == str(trial.number)
        assert found.run.params == {"months": 4, **trial.params}
        assert {metric.name: metric.last for metric in found.metrics}["auc"] == trial.values[0]
        assert {artifact.name for artifact in found.artifacts} == {"features", "train"}
    best = detail.trials[detail.best[0]]
    assert best.params["depth"] == 5
    assert importances(detail).keys() == {"depth", "rate"}
    # The winner is what a plain run gives: nothing of it is computed again.
    again = ready.run(**best.params)
    assert {step.state for step in again.steps} == {"hit"}


def test_a_search_whose_trials_all_fail_fails_with_the_first_reason(ready: Bench) -> None:
    """Also one of fewer trials than are tried before it is given up, and one that goes on with what failed before."""
    ready.write("pipe.py", PIPE.replace("depth - 5", "depth / 0"))
    with pytest.raises(StepFailed, match=r"All 2 trials of the search \w+ failed, the first one so: .*division by zero"):
        run(ready, plan(), 2)
    assert ready.do(ListSearches())[0].state == "finished"
    with pytest.raises(StepFailed, match=r"The first 3 trials of the search \w+ failed, the first one so: .*division by zero"):
        run(ready, plan(), 5)


def test_a_trial_does_not_pause_when_its_claim_tells_of_results(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.write("pipe.py", "import os\n" + dedent(PIPE).replace("return {", 'more = float(os.environ["MORE"])\n    return {"more": more, '))
    monkeypatch.setattr("plimsoll.clock.sleep", lambda seconds: pytest.fail("it pauses"))
    # The features of the second trial are told of by a claim, and can be used.
    monkeypatch.setenv("MORE", "1.0")
    assert [trial.state for trial in run(ready, plan(), 3).trials] == ["finished"] * 3
    # So are results of the same calls that cannot, since they stand on another value of the variable.
    monkeypatch.setenv("MORE", "2.0")
    again = run(ready, plan(), 3)
    states = [[step.state for step in ready.do(ListSteps(run_id=trial.run_id))] for trial in again.trials]
    assert states == [["hit", "ran"]] * 3


@pytest.mark.parametrize("gone", ["bytes", "entry"])
def test_a_result_that_trials_share_is_computed_anew_when_it_is_gone(ready: Bench, capfd: pytest.CaptureFixture[str], gone: str) -> None:
    def lose(trial: Trial) -> None:
        if trial.number == 3:
            step = next(step for step in ready.do(ListSteps(run_id=trial.run_id)) if step.name.endswith("features"))
            assert step.output is not None
            if gone == "bytes":
                ready.workspace.stores.blobs.delete(step.output.digest)
            ready.do(DropEntry(key=str(step.key), reason="a test"))

    detail = run(ready, plan(), 6, on_trial=lose)
    assert [trial.state for trial in detail.trials] == ["finished"] * 6
    # An entry alone that is gone is no loss: the bytes are verified whenever they are used.
    assert capfd.readouterr().out.count("features are made") == (2 if gone == "bytes" else 1)


def test_a_search_repeats_and_its_trials_are_found_in_the_cache(ready: Bench) -> None:
    first, second = run(ready, plan(), 6), run(ready, plan(), 6)
    assert first.search.id != second.search.id
    assert facts(first) == facts(second)
    assert {step.state for trial in second.trials for step in ready.do(ListSteps(run_id=trial.run_id))} == {"hit"}
    assert [found.id for found in ready.do(ListSearches())] == [second.search.id, first.search.id]


@pytest.mark.parametrize("nth", [1, 3, 6, 7])
@pytest.mark.parametrize("done", [True, False])
def test_a_search_that_is_killed_goes_on_and_ends_as_an_undisturbed_one(ready: Bench, nth: int, done: bool) -> None:
    asked = plan(seed=nth + 10 * done)
    with pytest.raises(Killed):
        run(ready, asked, 6, Dying(ready, RecordTrials, nth, done))
    (begun,) = ready.do(ListSearches())
    assert begun.state == "running"
    whole = run(ready, asked, 6)
    assert whole.search.id == begun.id
    assert facts(whole) == facts(run(ready, asked, 6))
    assert "running" not in {found.run.state for found in ready.do(SearchRuns(limit=100)).runs}


def test_more_trials_may_be_asked_for_when_an_interrupted_search_goes_on(ready: Bench) -> None:
    with pytest.raises(Killed):
        run(ready, plan(), 4, Dying(ready, RecordTrials, 3, True))
    assert len(run(ready, plan(), 8).trials) == 8
    assert len(ready.do(ListSearches())) == 1


def test_an_interrupted_search_is_not_gone_on_with_once_the_code_is_another(ready: Bench) -> None:
    with pytest.raises(Killed):
        run(ready, plan(), 6, Dying(ready, RecordTrials, 4, True))
    ready.write("pipe.py", PIPE.replace("depth - 5", "depth - 6"))
    detail = run(ready, plan(), 6)
    assert len(ready.do(ListSearches())) == 2
    assert all(trial.values == (-abs(trial.params["depth"] - 6) - trial.params["rate"],) for trial in detail.trials)


def test_a_process_whose_search_another_one_has_gone_on_with_stops(ready: Bench) -> None:
    def overtaken(request: Request[Any]) -> Any:
        if isinstance(request, RecordTrials) and request.trials[-1].number == 2:
            begun = ready.do(ListSearches())[0]
            key = starts[0].key
            assert ready.do(replace(starts[0], holder="another")).id == begun.id, key
        if isinstance(request, StartSearch):
            starts.append(request)
        return ready.do(request)

    starts: list[StartSearch] = []
    with pytest.raises(Conflict, match="Another process has gone on"):
        run(ready, plan(), 6, overtaken)
    assert len(ready.do(GetSearch(id=ready.do(ListSearches())[0].id)).trials) == 2
    # The run that had ended is no less at its end for it.
    assert [found.run.state for found in ready.do(SearchRuns(limit=100)).runs] == ["finished"] * 2


def test_whoever_is_told_of_a_trial_finds_it_recorded_and_its_run_ended(ready: Bench) -> None:
    def told(trial: Trial) -> None:
        (search,) = ready.do(ListSearches())
        seen.append((ready.do(GetSearch(id=search.id)).trials[-1] == trial, ready.do(GetRun(id=trial.run_id)).run.state))

    seen: list[tuple[bool, str]] = []
    run(ready, plan(), 4, on_trial=told)
    assert seen == [(True, "finished")] * 4


def test_a_run_ended_when_its_last_step_did_and_not_when_that_was_recorded(ready: Bench) -> None:
    slow = PIPE.replace("return train(", "time.sleep(0.3)\n        return train(").replace(
        "import plimsoll\n", "import time\n    import plimsoll\n", 1
    )
    ready.write("pipe.py", slow)
    detail = run(ready, plan(), 2)
    first, second = (ready.do(GetRun(id=trial.run_id)).run for trial in detail.trials)
    assert first.ended is not None
    assert second.started - first.ended > 250_000


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_several_trials_at_once_give_each_its_own_values(ready: Bench, executor: Any) -> None:
    running, most, lock = set[int](), [0], threading.Lock()

    def watched(request: Request[Any]) -> Any:
        if isinstance(request, RecordTrials):
            with lock:
                running.difference_update(trial.number for trial in request.trials[:-1])
                if request.run is None:
                    running.discard(request.trials[-1].number)
                else:
                    running.add(request.trials[-1].number)
                most[0] = max(most[0], len(running))
        return ready.do(request)

    detail = run(ready, plan(sampler="random"), 8, watched, executor=executor, jobs=2)
    assert most[0] == 2
    assert facts(detail) == facts(run(ready, plan(sampler="random"), 8))
    assert all(trial.values == (-abs(trial.params["depth"] - 5) - trial.params["rate"],) for trial in detail.trials)


def test_several_objectives_and_a_constraint_give_the_front_that_keeps_it(ready: Bench) -> None:
    asked = plan("auc", "cost", constraints=(read_constraint("cost <= 6"),))
    detail = run(ready, asked, 20)
    best = [detail.trials[number] for number in detail.best]
    assert best
    assert all(trial.params["depth"] <= 6 and len(trial.values or ()) == 2 for trial in best)
    assert {trial.violations[0] > 0 for trial in detail.trials} == {True, False}


def test_a_metric_that_a_step_logs_is_an_objective_too_also_where_the_step_is_reused(ready: Bench) -> None:
    asked = plan((), "loss", space={"depth": "choice(3,4)"})
    detail = run(ready, asked, 5)
    assert [trial.values for trial in detail.trials] == [(trial.params["depth"] + 5.0,) for trial in detail.trials]


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_trial_that_others_beat_is_ended_early_and_leaves_no_half_result(ready: Bench, executor: Any) -> None:
    ready.write("pipe.py", PIPE.replace("for epoch in range(6):", "for epoch in range(6 if depth < 9 else 5000):"))
    space = {"depth": "choice(2,3,4,5,6,9,8)"}
    late = next(seed for seed in range(100) if _shuffled(read_space(space), seed)[-2] == {"depth": 5.0})
    asked = plan((), "cost", pruner="median", report="loss", space=space, sampler="grid", seed=late)
    detail = run(ready, asked, 7, executor=executor)
    states = {trial.params["depth"]: trial for trial in detail.trials}
    endless = states[9]
    assert endless.state == "pruned"
    assert endless.values is None
    assert list(endless.reports) == [0]
    found = ready.do(GetRun(id=endless.run_id)).run
    assert (found.state, found.error) == ("stopped", endless.error)
    assert "pruned at step 0: loss is 9" in (endless.error or "")
    assert [step.name for step in ready.do(ListSteps(run_id=endless.run_id))] in ([], ["pipe.features"])
    assert ready.do(GetSeries(run_id=endless.run_id, name="loss")).values[:1] == (9.0,)
    assert detail.best == (states[2].number,)


def test_a_metric_that_only_a_reused_step_logs_is_an_objective_where_later_steps_are_new(ready: Bench) -> None:
    ready.write("pipe.py", PIPE.replace("return train(", "return noted(train(").replace("depth, rate)\n", "depth, 0.0), rate)\n") + NOTED)
    detail = run(ready, plan((), "loss", space={"rate": "choice(0.1,0.2,0.3)"}, sampler="grid"), 3)
    assert [trial.values for trial in detail.trials] == [(9.0,)] * 3
    kept = [ready.do(ListSteps(run_id=trial.run_id)) for trial in detail.trials]
    assert [step.state for steps in kept for step in steps if step.name == "pipe.train"] == ["ran", "hit", "hit"]


NOTED = """
    @step
    def noted(made: dict[str, float], rate: float) -> dict[str, float]:
        return {"rate": rate}
"""


def test_a_trial_is_ended_at_the_same_point_when_its_step_is_found(ready: Bench) -> None:
    space = {"depth": "choice(2,3,4,5,6,9)"}
    last = next(seed for seed in range(100) if _shuffled(read_space(space), seed)[-1] == {"depth": 5.0})
    asked = plan((), "cost", pruner="median", report="loss", space=space, sampler="grid", seed=last)
    first = run(ready, asked, 6)
    for depth in (2, 3, 4, 5, 6, 9):
        ready.run(depth=depth)
    again = run(ready, asked, 6)
    assert [(trial.state, trial.reports) for trial in again.trials] == [(trial.state, trial.reports) for trial in first.trials]
    pruned = [trial for trial in again.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert ready.do(GetSeries(run_id=trial.run_id, name="loss")).steps == tuple(trial.reports)
        assert ready.do(GetRun(id=trial.run_id)).run.state == "stopped"


def test_a_trial_that_fails_is_recorded_and_the_others_go_on(ready: Bench) -> None:
    ready.write("pipe.py", PIPE.replace("for epoch", "if depth == 7: raise ValueError('seven')\n        for epoch"))
    detail = run(ready, plan(space={"depth": "int(2,10)"}, sampler="grid"), 50)
    assert len(detail.trials) == 9, "a grid has no more trials than points"
    (failed,) = [trial for trial in detail.trials if trial.state == "failed"]
    assert failed.params == {"depth": 7}
    assert "ValueError: seven" in (failed.error or "")
    assert ready.do(GetRun(id=failed.run_id)).run.state == "failed"
    assert detail.trials[detail.best[0]].params == {"depth": 5}


def test_a_pipeline_that_cannot_be_planned_with_some_parameters_fails_that_trial_only(ready: Bench) -> None:
    body = "return train(features(months), depth, rate)"
    ready.write("pipe.py", PIPE.replace(body, f"if depth == 7: raise ValueError('seven')\n        {body}"))
    detail = run(ready, plan(space={"depth": "int(2,10)"}, sampler="grid"), 9)
    (failed,) = [trial for trial in detail.trials if trial.state == "failed"]
    assert (failed.params, failed.run_id) == ({"depth": 7}, None)
    assert failed.error.endswith(": seven")


def test_a_search_whose_first_trials_all_fail_is_given_up(ready: Bench) -> None:
    ready.write("pipe.py", PIPE.replace("for epoch", "raise ValueError('always')\n        for epoch"))
    with pytest.raises(StepFailed, match=r"first 3 trials .* failed.*always") as failed:
        run(ready, plan(), 50)
    assert "always" in failed.value.details["traceback"]
    (ended,) = ready.do(ListSearches())
    assert ended.state == "finished"
    assert [trial.state for trial in ready.do(GetSearch(id=ended.id)).trials] == ["failed"] * 3


def test_a_metric_that_runs_do_not_give_ends_the_search_after_one_trial_and_names_those_they_give(ready: Bench) -> None:
    with pytest.raises(InvalidInput, match="no metric 'auk'") as refused:
        run(ready, plan("auk"), 50)
    assert "auc" in refused.value.remedy
    assert "loss" in refused.value.remedy
    (ended,) = ready.do(ListSearches())
    assert len(ready.do(GetSearch(id=ended.id)).trials) == 1


@pytest.mark.parametrize(
    ("asked", "params", "fact"),
    [
        (plan(space={"deep": "int(2,10)"}), {}, "no parameter 'deep'"),
        (plan(), {"month": 3}, "cannot be called"),
        (plan(space={"depth": "int(2,a)"}), {}, "cannot be read"),
        (plan(space={"depth": "choice(a,b)"}), {}, "The parameter 'depth' is not valid"),
        (plan(sampler="grid"), {}, "every rate"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_begun(ready: Bench, asked: SearchPlan, params: Any, fact: str) -> None:
    with pytest.raises(InvalidInput, match=fact):
        run(ready, asked, 3, params=params)
    assert ready.do(ListSearches()) == ()
    assert ready.do(SearchRuns()).runs == ()


def test_a_point_has_the_types_of_the_annotations_as_a_run_of_the_command_line_has(ready: Bench) -> None:
    detail = run(ready, plan(space={"rate": "int(1,3)"}), 2)
    assert {type(trial.params["rate"]) for trial in detail.trials} == {float}


def test_what_the_space_names_varies_whatever_the_project_declares_for_it(ready: Bench) -> None:
    detail = run(ready, plan(), 3, params={"depth": 3, "months": 5})
    assert detail.search.plan.params == {"months": 5}
    assert {trial.params["depth"] for trial in detail.trials} != {3}
    assert all(ready.do(GetRun(id=trial.run_id)).run.params["months"] == 5 for trial in detail.trials)


def test_trials_make_no_versions(ready: Bench) -> None:
    run(ready, plan(), 3)
    assert ready.do(ListVersions()) == ()


def test_the_record_of_searches_is_the_authors_and_ends_once(ready: Bench) -> None:
    detail = run(ready, plan(), 2, name="first try")
    assert detail.search.name == "first try"
    assert ready.do(GetSearch(id=detail.search.id[:12])) == detail
    with pytest.raises(NotFound):
        ready.do(GetSearch(id="abcdef"))
    with pytest.raises(Conflict, match="has gone on"):
        ready.do(RecordTrials(search_id=detail.search.id, holder="other", trials=(Trial(number=9),)))
    assert [event.verb for event in ready.do(ListEvents(subject=f"search:{detail.search.id}"))] == ["FinishSearch", "StartSearch"]


def test_nobody_goes_on_with_the_search_of_another_or_with_one_that_has_ended(ready: Bench) -> None:
    ann, asked = Actor(name="ann", roles=("admin",)), StartSearch(plan=plan(), trials=2, holder="one", key="k")
    begun = ready.do(asked)
    assert ready.do(asked).id == begun.id
    assert ready.workspace.do(replace(asked, holder="two"), ann).id != begun.id
    more = RecordTrials(search_id=begun.id, holder="one", trials=(Trial(number=0),))
    with pytest.raises(Denied):
        ready.workspace.do(more, ann)
    ready.do(more)
    ready.do(FinishSearch(id=begun.id, holder="one"))
    with pytest.raises(Conflict, match="has ended"):
        ready.do(more)
    assert ready.do(asked).id != begun.id


def test_an_interrupted_search_with_a_parameter_that_cannot_be_seen_is_not_gone_on_with(ready: Bench) -> None:
    ready.write("pipe.py", PIPE.replace("def flow(", "def flow(unseen: object = None, "))
    params = {"unseen": object()}
    with pytest.raises(Killed):
        run(ready, plan(), 3, Dying(ready, RecordTrials, 2, True), params=params)
    run(ready, plan(), 3, params=params)
    assert len(ready.do(ListSearches())) == 2


def test_a_search_on_postgresql_goes_on_as_on_sqlite(ready: Bench, tmp_path: Path, postgres_url: str) -> None:
    workspace = open_workspace(tmp_path / "other", ready.project, database=postgres_url, owner="dana")
    other = Bench(workspace)
    with pytest.raises(Killed):
        run(other, plan(), 5, Dying(other, RecordTrials, 3, True))
    assert facts(run(other, plan(), 5)) == facts(run(ready, plan(), 5))
    assert len(other.do(ListSearches())) == 1
    workspace.close()


def test_a_search_through_a_server_gives_what_one_on_a_folder_gives(ready: Bench, running: Running) -> None:
    """An end that waits for the next beginning crosses the wire with its steps."""
    door = running.http()
    there = Place(do=door.do, blobs=door.blobs, project=ready.project, tags={}, executor="in_process")
    detail = search(ready.load(), plan(), {}, there, trials=4)
    assert facts(detail) == facts(run(ready, plan(), 4))
    for trial in detail.trials:
        assert door.do(GetRun(id=str(trial.run_id))).run.state == "finished"
        assert {step.state for step in door.do(ListSteps(run_id=str(trial.run_id)))} <= {"ran", "hit"}
