"""Pipelines are found in files without running them, and what only an import could tell is not refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.data.project import pipeline_ref
from plimsoll.data.refs.pipeline import check_pipeline, pipeline_in
from plimsoll.errors import InvalidInput, NotFound

PIPE = """
import plimsoll
from plimsoll import pipeline, step

raise SystemExit("nobody may run this")

@step
def load(): ...

@pipeline
def train(depth: int = 3): ...

@plimsoll.pipeline
def score(): ...

def helper(): ...

made = pipeline(helper)
if True:
    @pipeline
    def inner(): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with pipelines in a folder."""
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    (tmp_path / "flights" / "late").mkdir(parents=True)
    (tmp_path / "flights" / "late" / "pipe.py").write_text(PIPE)
    (tmp_path / "flights" / "broken.py").write_text("def (")
    return tmp_path


@pytest.mark.parametrize("name", ["train", "score", "made", "inner", "pipeline"])
def test_what_may_be_a_pipeline_is_let_through(project: Path, name: str) -> None:
    check_pipeline(project, f"flights/late/pipe.py:{name}")


@pytest.mark.parametrize("line", ["from other import *", "globals()['late'] = 1", "def __getattr__(name): ..."])
def test_a_name_that_only_an_import_shows_is_let_through(project: Path, line: str) -> None:
    (project / "more.py").write_text(line)
    check_pipeline(project, "more.py:late")


def test_what_is_surely_not_there_is_refused_with_what_is_near(project: Path) -> None:
    with pytest.raises(NotFound, match="has no 'trian'") as caught:
        check_pipeline(project, "flights/late/pipe.py:trian")
    assert "train" in caught.value.remedy
    for name in ("helper", "load"):
        with pytest.raises(InvalidInput, match=f"{name} is not a pipeline"):
            check_pipeline(project, f"flights/late/pipe.py:{name}")
    with pytest.raises(NotFound, match=r"no file 'flights/late/pip\.py'") as caught:
        check_pipeline(project, "flights/late/pip.py:train")
    assert "flights/late/pipe.py" in caught.value.remedy
    with pytest.raises(InvalidInput, match="no Python"):
        check_pipeline(project, "flights/broken.py:train")
    with pytest.raises(InvalidInput, match="leaves the project"):
        check_pipeline(project / "flights", "../more.py:train")


PARAMS = """
from plimsoll import pipeline

@pipeline
def one(depth=6, *, rate: float = 0.1): ...

@pipeline()
def any_of(depth=6, **more): ...

@pipeline
def none(): ...

@other
@pipeline
def wrapped(): ...
"""


def test_a_parameter_that_the_pipeline_surely_lacks_is_refused(project: Path) -> None:
    (project / "params.py").write_text(PARAMS)
    for ref, params in (("one", ["depth", "rate"]), ("any_of", ["depth", "late"]), ("none", []), ("wrapped", ["late"])):
        check_pipeline(project, f"params.py:{ref}", params)
    with pytest.raises(InvalidInput, match="has no parameter 'dept'") as caught:
        check_pipeline(project, "params.py:one", ["rate", "dept"])
    assert "depth" in caught.value.remedy
    with pytest.raises(InvalidInput, match="has no parameter 'depth'") as caught:
        check_pipeline(project, "params.py:none", ["depth"])
    assert caught.value.remedy == "It takes none."


def test_a_folder_stands_for_its_only_file_that_has_the_pipeline(project: Path) -> None:
    assert pipeline_in(project, "flights:train", project) == (project, "flights/late/pipe.py:train")
    assert pipeline_in(project, "pipe.py:train", project) == (project, "pipe.py:train")
    assert pipeline_in(project, "late:train", project / "flights") == (project, "flights/late/pipe.py:train")
    assert pipeline_in(project, "pipe.py:train", project / "flights" / "late") == (project, "flights/late/pipe.py:train")
    with pytest.raises(NotFound, match="The folder flights has no pipeline 'trian'") as caught:
        pipeline_in(project, "flights:trian", project)
    assert "flights:train" in caught.value.remedy
    (project / "flights" / "again.py").write_text(PIPE)
    with pytest.raises(InvalidInput, match="has 2 pipelines 'train'") as several:
        pipeline_in(project, "flights:train", project)
    assert "flights/again.py:train, flights/late/pipe.py:train" in several.value.remedy


def test_a_name_stands_for_the_only_pipeline_of_that_name_in_the_project(project: Path) -> None:
    (project / "deep").mkdir()
    (project / "deep" / "nightly.py").write_text(PIPE.replace("def train", "def nightly"))
    assert pipeline_in(project, "nightly", project / "flights") == (project, "deep/nightly.py:nightly")
    with pytest.raises(NotFound, match="The project has no pipeline 'nihgtly'") as caught:
        pipeline_in(project, "nihgtly", project)
    assert "nightly" in caught.value.remedy
    (project / "again.py").write_text(PIPE.replace("def train", "def nightly"))
    with pytest.raises(InvalidInput, match="The project has 2 pipelines 'nightly'"):
        pipeline_in(project, "nightly", project)


def test_a_module_is_named_as_an_import_names_it(project: Path) -> None:
    assert pipeline_in(project, "pipe:train", project) == (project, "pipe.py:train")
    assert pipeline_in(project, "flights.late.pipe:train", project) == (project, "flights/late/pipe.py:train")
    assert pipeline_ref("flights.late.pipe:train") == pipeline_ref("./flights/late/pipe.py:train")
    for written in ("a b:train", "pipe:", ":train", "pipe:a.b", "../pipe:train"):
        with pytest.raises(InvalidInput, match="not a reference to code"):
            pipeline_ref(written)


def test_a_folder_that_is_a_project_of_its_own_is_that_project(project: Path) -> None:
    (project / "flights" / "pyproject.toml").write_text("[tool.plimsoll]\n")
    assert pipeline_in(project, "flights:train", project) == (project / "flights", "late/pipe.py:train")
    # From above it is not looked into.
    with pytest.raises(NotFound):
        pipeline_in(project, ".:train", project)
