"""One pipeline with many sets of parameters, and what the project declares for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.data.project import read_project
from plimsoll.errors import InvalidInput, NotFound, StepFailed
from plimsoll.pipelines.settled import settle, variations
from plimsoll.pipelines.variations import execute_all
from plimsoll.records.model import ListVersions
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.run import run, run_variations
from tests.unit.pipelines.bench import OWNER, Bench

PROJECT = """
[project]
name = "late"

[tool.plimsoll.params."pipe.py:flow"]
depth = 2
months = [1]

[tool.plimsoll.profiles.quick]
port = 7700

[tool.plimsoll.profiles.quick.params."./pipe.py:flow"]
depth = 1

[tool.plimsoll.variations."pipe.py:flow"]
fr = { country = "FR", depth = 6 }
de = { country = "DE" }
"""

PIPE = """
    import datetime
    from pathlib import Path

    from plimsoll import pipeline, step

    @step
    def rows(months: tuple) -> list:
        return list(months)

    @step
    def score(rows: list, country: str, depth: int) -> float:
        if country == "XX":
            raise ValueError("no such country")
        return len(country) * depth + len(rows)

    @pipeline
    def flow(country: str = "", depth: int = 4, months: tuple[int, ...] = ()):
        return {"score": score(rows(months), country, depth)}
"""


@pytest.fixture
def project(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A project that declares parameters, a profile and two variations of one pipeline."""
    bench.write("pyproject.toml", PROJECT)
    bench.write("pipe.py", PIPE)
    monkeypatch.chdir(bench.project)
    monkeypatch.delenv("PLIMSOLL_PROFILE", raising=False)
    return bench


def test_the_nearest_word_about_a_parameter_wins(project: Bench) -> None:
    flow = project.load()

    def params(variation: str = "", profile: str = "", **given: object) -> dict[str, object]:
        return settle(flow, given, project.project, variation=variation, profile=profile).params

    assert params() == {"depth": 2, "months": (1,)}
    assert params(profile="quick") == {"depth": 1, "months": (1,)}
    assert params("fr", "quick") == {"depth": 6, "months": (1,), "country": "FR"}
    assert params("fr", "quick", depth=9) == {"depth": 9, "months": (1,), "country": "FR"}


def test_declared_parameters_have_the_types_of_the_annotations(project: Bench) -> None:
    assert settle(project.load(), {}, project.project).params["months"] == (1,)
    project.write("pyproject.toml", PROJECT.replace("months = [1]", 'months = "x"'))
    with pytest.raises(InvalidInput, match="months"):
        settle(project.load(), {}, project.project)


def test_a_run_says_which_variation_and_profile_it_is_of(project: Bench) -> None:
    settled = settle(project.load(), {}, project.project, variation="de", profile="quick")
    assert settled.tags == {"variation": "de", "profile": "quick"}


def test_what_is_not_declared_is_refused_with_what_is(project: Bench) -> None:
    table = read_project(project.project)
    assert variations(table, "./pipe.py:flow", ["de", "all"]) == ("de", "fr")
    with pytest.raises(NotFound, match="fr"):
        variations(table, "pipe.py:flow", ["frr"])
    with pytest.raises(NotFound, match="no variations"):
        variations(table, "other.py:flow", ["all"])
    with pytest.raises(NotFound, match="quick"):
        settle(project.load(), {}, project.project, profile="quik")


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_each_variation_is_a_run_of_its_own_and_shares_what_is_the_same(project: Bench, executor: str) -> None:
    door = FolderDoor(project.workspace, OWNER)
    results = run_variations(project.load(), door=door, executor=executor, experiment="countries")  # type: ignore[arg-type]
    assert {name: result.value for name, result in results.items()} == {"fr": {"score": 13.0}, "de": {"score": 5.0}}
    runs = {found.run.tags["variation"]: found.run for found in project.do(SearchRuns()).runs}
    assert {name: found.params["country"] for name, found in runs.items()} == {"fr": "FR", "de": "DE"}
    assert {found.experiment for found in runs.values()} == {"countries"}
    assert results["fr"]["rows"].record.key == results["de"]["rows"].record.key
    assert sorted(result["rows"].state for result in results.values()) == ["hit", "ran"]
    again = run_variations(project.load(), {"at": {"country": "AT", "depth": 6}, "de": {"country": "DE"}}, door=door)
    assert [step.state for result in again.values() for step in result.steps] == ["hit", "ran", "hit", "hit"]
    assert again["at"].run.tags == {"variation": "at"}


def test_a_variation_that_fails_does_not_hold_up_the_others(project: Bench) -> None:
    sets = {"no": {"country": "XX"}, "de": {"country": "DE"}}
    door = FolderDoor(project.workspace, OWNER)
    with pytest.raises(StepFailed, match=r"1 of 2 runs failed: \[no\].*no such country") as caught:
        run_variations(project.load(), sets, door=door)
    assert caught.value.details["failed"] == ["no"]
    assert "ValueError" in caught.value.details["traceback"]
    assert {found.run.tags["variation"]: found.run.state for found in project.do(SearchRuns()).runs} == {"no": "failed", "de": "finished"}


def test_what_can_be_refused_is_refused_before_any_run_begins(project: Bench) -> None:
    flow = project.load()
    good, wrong = (settle(flow, {name: 1}, project.project) for name in ("depth", "dept"))
    with pytest.raises(InvalidInput, match="dept"):
        execute_all(
            flow,
            {"good": good, "wrong": wrong},
            do=project.do,
            blobs=project.workspace.stores.blobs,
            project=project.project,
        )
    assert project.do(SearchRuns()).runs == ()


def test_a_profile_named_by_the_environment_holds_for_a_run_from_python(project: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIMSOLL_PROFILE", "quick")
    result = run(project.load(), door=FolderDoor(project.workspace, OWNER), country="IT", executor="in_process")
    assert result.value == {"score": 3.0}
    assert result.run.tags == {"profile": "quick"}


def test_each_variation_makes_versions_of_its_own_model(project: Bench) -> None:
    project.write(
        "pipe.py",
        """
        import polars as pl
        from sklearn.linear_model import LogisticRegression

        from plimsoll import Model, pipeline, step

        @step
        def train(country: str) -> Model:
            rows = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0] * 5, "late": [0, 0, 1, 1] * 5, "id": [str(i) for i in range(20)]})
            estimator = LogisticRegression().fit(rows.select("x").to_numpy(), rows["late"].to_numpy())
            return Model(estimator, name=f"late-{country.lower()}", example=rows.select("x").head(2), training=rows, holdout=rows)

        @pipeline
        def flow(country: str = "", depth: int = 4, months: tuple[int, ...] = ()):
            return train(country)
        """,
    )
    model = "goal = 'g'\nlabel = 'late'\nunit = 'id'\ntime = 'x'\ncosts = { false_alarm = 1, missed = 1 }\n"
    project.write("pyproject.toml", PROJECT + "".join(f"[tool.plimsoll.models.late-{name}]\n{model}" for name in ("fr", "de")))
    run_variations(project.load(), door=FolderDoor(project.workspace, OWNER))
    assert sorted((version.model, version.number) for version in project.do(ListVersions())) == [("late-de", 1), ("late-fr", 1)]


def test_a_project_may_have_no_table_at_all(bench: Bench, tmp_path: Path) -> None:
    bench.write("pipe.py", PIPE)
    assert settle(bench.load(), {"depth": 1}, bench.project).params == {"depth": 1}
