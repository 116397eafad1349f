"""Which executor a run gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.executors.choice import Chosen, chosen_executor
from plimsoll.records.pipeline import RunPipeline
from plimsoll.records.run import GetSeries
from tests.unit.pipelines.bench import Bench


def project(folder: Path, table: str) -> Path:
    """Return a project with these lines in its table."""
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\n[tool.plimsoll]\n{table}\n')
    return folder


def test_without_a_word_each_step_has_a_process_of_its_own(tmp_path: Path) -> None:
    assert chosen_executor(None, tmp_path) == Chosen("processes")


def test_what_is_asked_for_goes_before_the_project_and_the_project_before_the_default(tmp_path: Path) -> None:
    here = project(tmp_path, 'executor = "in_process"')
    assert chosen_executor(None, here) == Chosen("in_process")
    assert chosen_executor("processes", here) == Chosen("processes")


def test_a_profile_may_choose_a_cluster(tmp_path: Path) -> None:
    here = project(tmp_path, '[tool.plimsoll.profiles.big]\nexecutor = "ray"\nray_address = "head:6379"')
    assert chosen_executor(None, here, "big") == Chosen("ray", "head:6379")


def test_the_variable_of_ray_counts_unless_a_setting_names_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "other:6379")
    assert chosen_executor("ray", tmp_path) == Chosen("ray", "other:6379")
    assert chosen_executor("ray", project(tmp_path, 'ray_address = "head:6379"')) == Chosen("ray", "head:6379")
    monkeypatch.delenv("RAY_ADDRESS")
    assert chosen_executor("ray", tmp_path / "none") == Chosen("ray", None)


def test_an_executor_that_does_not_exist_is_refused_with_the_place_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no executor 'rays' \(\[tool.plimsoll\]"):
        chosen_executor(None, project(tmp_path, 'executor = "rays"'))


def test_the_worker_runs_where_the_project_says(bench: Bench) -> None:
    project(bench.project, 'executor = "in_process"')
    bench.write(
        "pipe.py",
        """
        import os
        from plimsoll.pipelines.step import pipeline, step

        @step
        def work():
            return float(os.getpid())

        @pipeline
        def flow():
            return {"process": work()}
        """,
    )
    run = bench.do(RunPipeline(pipeline="pipe.py:flow"))
    assert bench.do(GetSeries(run_id=run.id, name="process")).values == (os.getpid(),)
