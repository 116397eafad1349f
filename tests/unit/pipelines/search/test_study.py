"""Proposals follow from the plan, the seed and the trials alone, whoever asks and however often it was interrupted."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.search.goals import best_trials, read_constraint, read_objectives, values_of
from plimsoll.pipelines.search.space import read_space
from plimsoll.pipelines.search.study import Study, grid_size
from plimsoll.records.pipelines.search import SearchPlan, Trial

SPACE = {"depth": "int(2,10)", "rate": "log(1e-4,1e-1)", "kind": "choice(a,b,(1,2))", "part": "float(0,1,0.25)", "width": "int(1,10,4)"}


def plan(maximize: Any = "score", minimize: Any = (), space: dict[str, str] = SPACE, **more: Any) -> SearchPlan:
    return SearchPlan(pipeline="p.py:p", space=space, objectives=read_objectives(maximize, minimize), **more)


def score(point: dict[str, float]) -> float:
    return -((point["depth"] - 5) ** 2) - abs(point["rate"] - 0.01) * 10 + point["kind"]


def searched(
    asked: SearchPlan, until: int, known: tuple[Trial, ...] = (), values: Callable[[dict[str, float]], tuple[float, ...]] | None = None
) -> tuple[Trial, ...]:
    """Go on with a search until it has so many trials."""
    study = Study(asked, read_space(asked.space), 60, known)
    ended = {trial.number: trial for trial in known if trial.state != "running"}
    for number in study.open():
        ended[number] = told(study, number, values)
    while len(ended) < until:
        number = study.ask()
        ended[number] = told(study, number, values)
    return tuple(ended[number] for number in sorted(ended))


def told(study: Study, number: int, values: Callable[[dict[str, float]], tuple[float, ...]] | None) -> Trial:
    point = study.point(number)
    given = (score(point),) if values is None else values(point)
    trial = Trial(number=number, state="finished", point=point, values=given, notes=study.notes(number))
    study.tell(trial)
    return trial


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
@pytest.mark.parametrize("cut", [0, 1, 24, 36])
def test_a_search_that_was_interrupted_proposes_what_an_undisturbed_one_does(sampler: Any, cut: int) -> None:
    asked = plan(sampler=sampler, seed=3)
    whole = searched(asked, 40)
    assert searched(asked, 40, whole[:cut]) == whole


def test_another_seed_proposes_other_trials() -> None:
    assert searched(plan(seed=1), 3) != searched(plan(seed=2), 3)


def test_tpe_learns() -> None:
    points = [trial.point for trial in searched(plan(), 50)]
    first, last = points[:10], points[-10:]
    assert sum(map(score, last)) / 10 > sum(map(score, first)) / 10 + 3


def test_trials_under_way_are_open_again_at_the_point_that_they_had() -> None:
    whole = searched(plan(), 20)
    cut = Trial(number=18, point=whole[18].point)
    study = Study(plan(), read_space(SPACE), 60, (*whole[:18], cut))
    assert study.open() == (18,)
    assert study.point(18) == whole[18].point
    assert searched(plan(), 20, (*whole[:18], cut)) == whole


def test_a_trial_that_was_never_recorded_is_proposed_in_its_place() -> None:
    whole = searched(plan(), 14)
    study = Study(plan(), read_space(SPACE), 60, tuple(trial for trial in whole if trial.number != 12))
    assert study.open() == (12,)
    assert study.point(12) == whole[12].point
    assert study.ask() == 14


def test_a_grid_tries_every_point_once_in_an_order_of_its_seed() -> None:
    space = {"depth": "int(2,4)", "kind": "choice(a,b)", "part": "float(0,1,0.5)"}
    asked = plan(space=space, sampler="grid")
    assert grid_size(read_space(space)) == 18
    whole = searched(asked, 18, values=lambda point: (1.0,))
    assert len({tuple(trial.point.values()) for trial in whole}) == 18
    assert searched(asked, 18, (*whole[:7], Trial(number=7, point=whole[7].point, notes=whole[7].notes)), lambda point: (1.0,)) == whole
    other = searched(plan(space=space, sampler="grid", seed=1), 18, values=lambda point: (1.0,))
    assert [trial.point for trial in other] != [trial.point for trial in whole]
    with pytest.raises(InvalidInput, match="every rate of log"):
        grid_size(read_space(SPACE))


def test_median_pruning_ends_what_others_beat_at_the_same_step_and_only_that() -> None:
    asked = plan(pruner="median")
    study = Study(asked, read_space(SPACE), 60, ())
    for height in range(6):
        number = study.ask()
        assert not any(study.report(number, step, height + step) for step in range(5))
        study.tell(Trial(number=number, state="finished", point={}, values=(float(height),)))
    good, bad = study.ask(), study.ask()
    assert not study.report(good, 0, 100.0)
    assert not study.report(bad, -1, -100.0)
    assert study.report(bad, 0, -100.0)
    assert not study.report(bad, 0, 100.0), "the first value at a step counts"
    assert study.report(good, 1, math.nan)
    assert study.reports(bad) == {0: -100.0}
    study.tell(Trial(number=bad, state="pruned", reports={0: -100.0}))
    assert study.report(bad, 1, 100.0), "a trial that has ended stays ended"


@pytest.mark.parametrize("pruner", ["median", "hyperband", "asha"])
def test_pruning_goes_on_alike_after_an_interruption(pruner: Any) -> None:
    def go(until: int, known: tuple[Trial, ...] = ()) -> tuple[Trial, ...]:
        study = Study(asked, read_space(SPACE), 60, known)
        ended = list(known)
        for _ in range(until - len(known)):
            number = study.ask()
            point = study.point(number)
            pruned = any(study.report(number, step, score(point) * (step + 1)) for step in range(1, 28))
            state, values = ("pruned", None) if pruned else ("finished", (score(point),))
            trial = Trial(number=number, state=state, point=point, values=values, reports=study.reports(number), notes=study.notes(number))  # type: ignore[arg-type]
            study.tell(trial)
            ended.append(trial)
        return tuple(ended)

    asked = plan(pruner=pruner)
    whole = go(30)
    assert repr(go(30, whole[:17])) == repr(whole)


def test_constraints_and_several_objectives_are_learnt_from_and_judged() -> None:
    constraint = read_constraint("depth_seen <= 6")
    asked = plan("score", "size", constraints=(constraint,))

    def metrics(point: dict[str, float]) -> dict[str, float]:
        return {"score": score(point), "size": point["width"], "depth_seen": point["depth"]}

    study = Study(asked, read_space(SPACE), 60, ())
    ended = []
    for _ in range(40):
        number = study.ask()
        values, violations = values_of(asked, metrics(study.point(number)))
        ended.append(Trial(number=number, state="finished", point=study.point(number), values=values, violations=violations))
        study.tell(ended[-1])
    kept = [trial for trial in ended if trial.point["depth"] <= 6]
    assert sum(trial.point["depth"] <= 6 for trial in ended[20:]) > 15, "it keeps away from what breaks the constraint"
    best = [ended[number] for number in best_trials(asked, ended)]
    assert best
    for one in best:
        assert one in kept
        assert not any(
            other.values != one.values and other.values[0] >= one.values[0] and other.values[1] <= one.values[1]  # type: ignore[index]
            for other in kept
        )
    # Optuna has no say in which are best, but it must agree.
    assert {trial.number for trial in study._study.best_trials} == {trial.number for trial in best}


def test_the_best_of_one_objective_is_the_largest_or_the_smallest_that_keeps_the_constraints() -> None:
    ended = [
        Trial(number=0, state="finished", values=(3.0,), violations=(0.5,)),
        Trial(number=1, state="finished", values=(2.0,), violations=(0.0,)),
        Trial(number=2, state="pruned"),
        Trial(number=3, state="failed"),
        Trial(number=4, state="finished", values=(1.0,), violations=(-1.0,)),
        Trial(number=5, state="finished", values=(2.0,), violations=(-1.0,)),
        Trial(number=6, state="finished", values=(-math.inf,), violations=(1.0,)),
    ]
    assert best_trials(plan("score"), ended) == (1, 5)
    assert best_trials(plan((), "score"), ended) == (4,)
    assert best_trials(plan("score"), ended[:1]) == ()


def test_a_metric_may_be_named_by_the_end_of_its_name_when_only_one_ends_so() -> None:
    assert values_of(plan("auc"), {"metrics/auc": 0.5, "metrics/cost": 2.0}) == ((0.5,), ())
    assert values_of(plan("auc"), {"auc": 0.1, "metrics/auc": 0.5}) == ((0.1,), ())
    with pytest.raises(InvalidInput, match="several metrics 'auc'") as refused:
        values_of(plan("auc"), {"late/auc": 0.1, "early/auc": 0.5})
    assert "early/auc, late/auc" in refused.value.remedy
    with pytest.raises(InvalidInput, match="no metric 'uc'"):
        values_of(plan("uc"), {"metrics/auc": 0.5})


@pytest.mark.parametrize("text", ["", "a", "a < 3", "a <= b", "<= 3", "a <= nan", "a <= inf", "a == 3", "a <= 3 4"])
def test_a_constraint_that_cannot_be_read_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_constraint(text)
    assert repr(text) in refused.value.fact


def test_importances_name_what_mattered_and_need_a_few_trials() -> None:
    asked = plan(sampler="random")
    space = read_space({**SPACE, "still": "int(3,3)"})
    study = Study(asked, space, 100, ())
    assert study.importances() == {}
    for _ in range(100):
        told(study, study.ask(), lambda point: (-abs(point["depth"] - 5.0),))
    found = study.importances()
    assert "still" not in found
    assert set(found) == set(SPACE)
    assert max(found, key=found.__getitem__) == "depth"
    assert sum(found.values()) == pytest.approx(1)


def test_proposing_and_learning_load_neither_scikit_learn_nor_pandas() -> None:
    """They take longer to be imported than fifty trials; what tells importances needs them."""
    script = """
import sys
from plimsoll.pipelines.search.space import read_space
from plimsoll.pipelines.search.study import Study
from plimsoll.records.pipelines.search import Objective, SearchPlan, Trial
asked = SearchPlan(pipeline="pipe.py:flow", space={"depth": "int(2,10)"}, objectives=(Objective(metric="auc", direction="maximize"),))
study = Study(asked, read_space(asked.space), 20, ())
for _ in range(20):
    point = study.point(number := study.ask())
    study.tell(Trial(number=number, state="finished", point=point, values=(point["depth"],)))
print({"sklearn", "pandas"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_users_own_optuna_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    Study(plan(), read_space(SPACE), 60, ())
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("more", "fact"),
    [
        ({"space": {}}, "no space"),
        ({"maximize": (), "minimize": ()}, "no objective"),
        ({"maximize": "a", "minimize": "a"}, "twice: a, a"),
        ({"minimize": "cost", "pruner": "median"}, "cannot weigh 2 objectives"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(more: dict[str, Any], fact: str) -> None:
    with pytest.raises(InvalidInput, match=fact):
        plan(**more)
