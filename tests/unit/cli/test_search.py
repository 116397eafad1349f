"""``plimsoll search`` and ``plimsoll.search`` on a real project: the same trials, and the winner as a version."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import plimsoll
from plimsoll.cli.app import build
from plimsoll.data.project import load_object
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.search.space import Float, Int
from plimsoll.records.model import ListVersions
from plimsoll.records.pipelines.search import ListSearches
from plimsoll.records.run import GetRun

PROJECT = """
    [project]
    name = "parcels"

    [tool.plimsoll.models.parcels]
    goal = "Say which parcels are late."
    label = "late"
    unit = "id"
    time = "at"
    pipeline = "parcels.py:train"
    costs = { false_alarm = 1.0, missed = 3.0 }

    [tool.plimsoll.params."parcels.py:train"]
    depth = 9
"""

PIPE = """
    import numpy as np
    import polars as pl
    from sklearn.linear_model import LogisticRegression

    import plimsoll
    from plimsoll import pipeline, step


    @step
    def rows() -> pl.DataFrame:
        x = np.linspace(-1, 1, 40)
        return pl.DataFrame({"id": [f"p{i}" for i in range(40)], "at": range(40), "x": x, "late": (x > 0.1).astype(int)})


    @step
    def fit(rows: pl.DataFrame, strength: float) -> plimsoll.Model:
        model = LogisticRegression(C=strength).fit(rows.select("x").to_numpy(), rows["late"].to_numpy())
        return plimsoll.Model(model, name="parcels", features=features, example=rows.drop("late").head(5), training=rows, holdout=rows)


    def features(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select("x")


    @step
    def judge(strength: float, depth: int) -> dict[str, float]:
        return {"auc": -abs(depth - 5.0) - abs(strength - 1.0), "size": float(depth)}


    @pipeline
    def train(depth: int = 4, strength: float = 1.0):
        fit(rows(), strength)
        return judge(strength, depth)
"""

Say = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose pipeline makes a model."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(dedent(PROJECT))
    (folder / "parcels.py").write_text(dedent(PIPE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    yield folder
    sys.modules.pop("parcels", None)


@pytest.fixture
def say(project: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command in this process and return what it printed as data."""

    def call(*words: str) -> str:
        sys.modules.pop("parcels", None)
        capsys.readouterr()
        build()(words, exit_on_error=False, print_error=False, result_action="return_value")
        return capsys.readouterr().out

    return call


SEARCH = ("search", "--trials", "6", "--space", "depth=int(2,8)", "--space", "strength=log(0.1,10)", "--maximize", "auc")
HERE = ("--executor", "in_process")


def test_a_search_of_the_command_line_is_shown_and_its_winner_becomes_the_only_version(say: Say) -> None:
    id = say(*SEARCH, *HERE).strip()
    shown = json.loads(say("search", "show", id, "--json"))
    assert shown["search"]["plan"]["space"] == {"depth": "int(2, 8)", "strength": "log(0.1, 10)"}
    assert shown["search"]["plan"]["pipeline"] == "parcels.py:train"
    shares = json.loads(say("search", "importances", id, "--json"))
    assert {row["parameter"] for row in shares} == {"depth", "strength"}
    assert [trial["number"] for trial in shown["trials"]] == list(range(6))
    best = shown["trials"][shown["best"][0]]
    assert best["values"][0] == max(trial["values"][0] for trial in shown["trials"])
    assert str(best["params"]["depth"]) in say("search", "best", id)
    assert id[:16] in say("search", "list")
    assert "objectives" in say("search", "show", id[:12])
    assert "strength" in say("search", "importances", id[:12])
    assert len(say("search", "show", id, "--csv").splitlines()) == 7

    door = plimsoll.connect()
    assert door.do(ListVersions()) == ()
    assert "parcels/1" in say("search", "best", id, "--register")
    assert "parcels/1" in say("search", "best", id, "--register")
    (version,) = door.do(ListVersions())
    assert version.run_id == best["run_id"]
    assert {kept.digest for kept in door.do(GetRun(id=version.run_id)).artifacts if kept.kind == "model"} == {version.digest}
    door.close()


def test_python_and_the_command_line_search_through_the_same_trials(say: Say, project: Path) -> None:
    shown = json.loads(say("search", "show", say(*SEARCH, *HERE, "--seed", "3").strip(), "--json"))
    space = {"depth": Int(2, 8), "strength": Float(0.1, 10, log=True)}
    train = load_object(project, "parcels.py:train")
    ended: list[int] = []
    found = plimsoll.search(
        train, trials=6, space=space, maximize="auc", seed=3, executor="in_process", on_trial=lambda trial: ended.append(trial.number)
    )
    assert [trial.params for trial in found.trials] == [trial["params"] for trial in shown["trials"]]
    assert [trial.values for trial in found.trials] == [tuple(trial["values"]) for trial in shown["trials"]]
    assert found.detail.search.plan.pipeline == "parcels.py:train"
    assert ended == list(range(6))
    assert found.best[0].values == max(trial.values for trial in found.trials if trial.values)
    assert "6 finished" in repr(found)
    assert set(found.importances) == {"depth", "strength"}
    (version,) = found.register()
    assert version.run_id == found.best[0].run_id or version.digest
    with pytest.raises(NotFound, match="no trial 99"):
        found.register(99)


def test_several_objectives_need_the_trial_that_is_meant(say: Say) -> None:
    id = say(*SEARCH, *HERE, "--minimize", "size").strip()
    shown = json.loads(say("search", "show", id, "--json"))
    assert len(shown["best"]) > 1
    with pytest.raises(InvalidInput, match=r"best trials: .*\."):
        say("search", "best", id, "--register")
    assert "parcels/1" in say("search", "best", id, "--register", "--trial", str(shown["best"][1]))


def test_what_a_constraint_breaks_is_shown_and_is_never_the_best(say: Say) -> None:
    id = say(*SEARCH, *HERE, "--constraint", "size <= 1").strip()
    assert "breaks a constraint" in say("search", "show", id)
    assert say("search", "best", id) == ""
    with pytest.raises(NotFound, match="keeps its constraints"):
        say("search", "best", id, "--register")


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--space", "depth"), "does not say what may vary"),
        (("--space", "depth=int(2,3)"), "said twice"),
        (("--set", "depth=3"), "both set and searched for"),
        (("--space", "deep=int(2,3)"), "no parameter 'deep'"),
        (("--constraint", "size < 3"), "'size < 3' cannot be read"),
        (("--jobs", "0"), "6 trials, 0 at the same time"),
    ],
)
def test_what_cannot_work_is_refused_before_a_home_is_made(say: Say, project: Path, words: tuple[str, ...], fact: str) -> None:
    with pytest.raises(InvalidInput, match=fact):
        say(*SEARCH, *words)
    assert not (project / ".plimsoll").exists()


def test_what_the_project_declares_holds_for_all_trials_unless_it_is_searched_for(say: Say) -> None:
    say("search", "--trials", "2", "--space", "strength=log(0.1,10)", "--maximize", "auc", *HERE)
    door = plimsoll.connect()
    (found,) = door.do(ListSearches())
    assert found.plan.params == {"depth": 9}
    door.close()
