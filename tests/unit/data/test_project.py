from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.data.project import chosen_profile, find_project, load_object, read_project, setting
from plimsoll.errors import InvalidInput, NotFound

WHOLE = """
[tool.plimsoll]
name = "demo"
serving-port = 9001

[tool.plimsoll.models.flights]
goal = "Tell which flights will be late."
label = "late"
unit = "flight"
time = "scheduled"
minimum-saving = 1
slices = ["carrier"]
decision_stage = "two hours before"

[tool.plimsoll.models.flights.costs]
false-alarm = 40
missed = 130.5

[tool.plimsoll.models.flights.budget]
latency-ms = 50

[tool.plimsoll.models.flights.known_at]
dep_delay = "departure"
air-time = "landing"

[tool.plimsoll.serving.flights]
batch-rows = 64

[tool.plimsoll.retrain.flights]
cooldown-days = 7
params = {some-name = "{end}"}

[tool.plimsoll.environments.production]
steps = [{share = 0.5, requests = 10}, {share = 1.0, requests = 1}]
"""

MODEL = "[tool.plimsoll.models.m]\ngoal='g'\nlabel='l'\nunit='u'\ntime='t'\ncosts={false_alarm=1, missed=1}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for variable in ("URL", "HOME", "HOST", "PORT", "SERVING_PORT"):
        monkeypatch.delenv(f"PLIMSOLL_{variable}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[tool.plimsoll]\n")
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(project: Path, text: str) -> Path:
    (project / "pyproject.toml").write_text(text)
    return project


def test_a_whole_table_is_read_with_either_spelling_of_its_keys(project: Path) -> None:
    table = read_project(write(project, WHOLE))
    purpose = table.models["flights"]
    assert table.name == "demo"
    assert (purpose.costs.false_alarm, purpose.costs.missed) == (40.0, 130.5)
    assert (purpose.budget.latency_ms, purpose.budget.load_seconds) == (50.0, 20.0)
    assert (purpose.slices, purpose.decision_stage, purpose.minimum_saving) == (("carrier",), "two hours before", 1.0)
    assert table.serving["flights"].batch_rows == 64
    assert table.retrain["flights"].cooldown_days == 7.0
    assert [step.share for step in table.environments["production"].steps] == [0.5, 1.0]


def test_free_keys_are_kept_as_they_are_written(project: Path) -> None:
    table = read_project(write(project, WHOLE))
    assert table.models["flights"].known_at == {"dep_delay": "departure", "air-time": "landing"}
    assert table.retrain["flights"].params == {"some-name": "{end}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.plimsoll]\nmodel = {}\n", "'model'.*mean models"),
        (MODEL + "gaol = 'x'\n", r"tool.plimsoll.models.m\].*'gaol'.*goal"),
        (MODEL.replace("missed", "mised"), r"tool.plimsoll.models.m.costs\].*'mised'.*missed"),
        (MODEL.replace("missed=1", "missed=-1"), r"models.m\].*positive.*costs"),
        (MODEL.replace("missed=1", "missed='x'"), r"models.m\].*costs.missed"),
        (MODEL.replace("goal='g'", ""), r"models.m\].*goal"),
        (MODEL + "slice-rows = 1\nslice_rows = 2\n", "twice"),
        ("[tool.plimsoll.environments.p]\nsteps=[{share=1.0, request=1}]\n", r"environments.p.steps\].*'request'.*requests"),
        ("[tool.plimsoll.serving.'a b']\n", "a b"),
        ("[tool.plimsoll]\nserving = 1\n", "serving.*not a table"),
        ("[tool]\nplimsoll = 1\n", "plimsoll.*not a table"),
        ("[tool.plimsoll.serving]\nm = 3\n", r"serving.m\]"),
        ("[tool.plimsoll]\nname = 3\n", "name.*3"),
        ("[tool.plimsoll\n", "not valid TOML"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_its_name(project: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_project(write(project, text))


def test_the_name_falls_back_to_the_packages_and_then_to_the_folders(project: Path) -> None:
    assert read_project(project).name == "project"
    assert read_project(write(project, "[project]\nname = 'wheel'\n")).name == "wheel"


def test_the_nearest_folder_with_our_table_is_the_project(project: Path) -> None:
    inner = project / "lib" / "src"
    inner.mkdir(parents=True)
    (project / "lib" / "pyproject.toml").write_text("[project]\nname = 'lib'\n")
    assert find_project(inner) == project.resolve()
    write(project, "")
    assert find_project(inner) == (project / "lib").resolve()


def test_outside_of_a_project_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="plimsoll init"):
        find_project(tmp_path)


def test_a_setting_comes_from_the_first_place_that_has_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setting("port", None, project) == (7600, "default")
    user = project.parent / "config" / "plimsoll.toml"
    user.parent.mkdir()
    user.write_text("port = 1\n")
    assert setting("port", None, project) == (1, f"user file {user}")
    write(project, "[tool.plimsoll]\nport = 2\n")
    assert setting("port", None, project) == (2, f"[tool.plimsoll] in {project / 'pyproject.toml'}")
    monkeypatch.setenv("PLIMSOLL_PORT", "3")
    assert setting("port", None, project) == (3, "environment variable PLIMSOLL_PORT")
    assert setting("port", 4, project) == (4, "flag --port")


def test_paths_are_relative_to_where_they_are_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    assert setting("home", None, project)[0] == str(project / ".plimsoll")
    assert setting("home", "x", project)[0] == str(project.parent / "x")
    write(project, "[tool.plimsoll]\nhome = 'store'\n")
    assert setting("home", None, project)[0] == str(project / "store")
    value, origin = setting("url", None, project)
    assert value == str(project / "store")
    assert origin.startswith("home ([tool.plimsoll]")
    monkeypatch.setenv("PLIMSOLL_URL", "http://127.0.0.1:7600")
    assert setting("url", None, project)[0] == "http://127.0.0.1:7600"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port", "x", "PLIMSOLL_PORT.*not a port"),
        ("port", "70000", "not a port"),
        ("serving_port", "-1", "PLIMSOLL_SERVING_PORT"),
        ("url", "ftp://x", "no scheme that is known"),
        ("url", "127.0.0.1:7600", "no scheme that is known"),
        ("host", " ", "PLIMSOLL_HOST"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_its_origin(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"PLIMSOLL_{name.upper()}", value)
    with pytest.raises(InvalidInput, match=message):
        setting(name, None, project)


def test_an_unknown_setting_names_the_nearest(project: Path) -> None:
    with pytest.raises(InvalidInput, match="mean host"):
        setting("hots", None, project)


def code(project: Path, path: str, text: str) -> None:
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text(text)


def test_a_file_is_the_module_that_its_path_says_also_without_init_files(project: Path) -> None:
    code(project, "zoo/north/cages.py", "from zoo.north.animals import bear\n")
    code(project, "zoo/north/animals.py", "def bear():\n    return __name__\n")
    assert load_object(project, "zoo/north/cages.py:bear")() == "zoo.north.animals"
    assert sys.modules["zoo.north.cages"].__file__ == str(project.resolve() / "zoo/north/cages.py")
    assert sys.path[0] == str(project.resolve())


def test_a_packages_own_file_is_the_package(project: Path) -> None:
    code(project, "zoopack/__init__.py", "name = __name__\n")
    assert load_object(project, "zoopack/__init__.py:name") == "zoopack"


def test_a_module_is_named_by_its_path_or_as_an_import_would(project: Path) -> None:
    code(project, "zoo_folder/zoo_named.py", "name = __name__\n")
    assert (
        load_object(project, "zoo_folder.zoo_named:name") == load_object(project, "zoo_folder/zoo_named.py:name") == "zoo_folder.zoo_named"
    )


def test_a_package_in_src_has_the_name_that_it_has_for_whoever_installed_it(project: Path) -> None:
    code(project, "src/zoo_inner/__init__.py", "")
    code(project, "src/zoo_inner/kinds.py", "class Kind: ...\nkind = Kind()\n")
    code(project, "src/zoo_inner/flow.py", "from zoo_inner.kinds import Kind, kind\nname, same = __name__, isinstance(kind, Kind)\n")
    assert load_object(project, "src/zoo_inner/flow.py:name") == "zoo_inner.flow"
    assert load_object(project, "src/zoo_inner/kinds.py:kind") is load_object(project, "src/zoo_inner/flow.py:kind")
    code(project, "src/zoo_of_src.py", "from src.zoo_inner import kinds\nname = __name__\n")
    assert load_object(project, "src/zoo_of_src.py:name") == "src.zoo_of_src"


def test_a_folder_of_packages_that_stands_on_the_path_names_them(project: Path) -> None:
    code(project, "libs/zoo_outer/__init__.py", "")
    code(project, "libs/zoo_outer/flow.py", "name = __name__\n")
    assert load_object(project, "libs/zoo_outer/flow.py:name") == "libs.zoo_outer.flow"
    sys.path.append(str(project / "libs"))
    assert load_object(project, "libs/zoo_outer/flow.py:name") == "zoo_outer.flow"


def test_a_script_finds_what_lies_beside_it(project: Path) -> None:
    code(project, "zoo_scripts/zoo_beside.py", "rate = 3\n")
    code(project, "zoo_scripts/zoo_train.py", "from zoo_beside import rate\n")
    assert load_object(project, "zoo_scripts/zoo_train.py:rate") == 3


def test_a_missing_file_or_name_suggests_the_nearest(project: Path) -> None:
    code(project, "zoo_pipeline.py", "late_arrivals = 1\n")
    with pytest.raises(NotFound, match=r"mean zoo_pipeline\.py"):
        load_object(project, "zoo_pipelin.py:late_arrivals")
    with pytest.raises(NotFound, match="mean late_arrivals"):
        load_object(project, "zoo_pipeline.py:late_arrival")


@pytest.mark.parametrize("ref", ["zoo_one.py", "zoo_one", "zoo one:x", "zoo_one.py:", "zoo_one.py:a.b", ":x", ""])
def test_a_malformed_reference_is_refused(project: Path, ref: str) -> None:
    with pytest.raises(InvalidInput, match="not a reference"):
        load_object(project, ref)


def test_a_path_that_leaves_the_project_is_refused_also_through_a_link(project: Path) -> None:
    outside = project.parent / "outside.py"
    outside.write_text("x = 1\n")
    (project / "zoo_link.py").symlink_to(outside)
    for ref in ("../outside.py:x", f"{outside}:x", "zoo_link.py:x"):
        with pytest.raises(InvalidInput, match="leaves the project"):
            load_object(project, ref)


def test_an_exception_on_import_is_shown_with_its_place(project: Path) -> None:
    code(project, "zoo_broken.py", "x = 1\n\nraise RuntimeError('no water')\n")
    with pytest.raises(InvalidInput, match=r"zoo_broken.py:3: RuntimeError: no water") as caught:
        load_object(project, "zoo_broken.py:x")
    assert "no water" in caught.value.details["traceback"]
    code(project, "zoo_exit.py", "raise SystemExit(3)\n")
    with pytest.raises(InvalidInput, match="SystemExit: 3"):
        load_object(project, "zoo_exit.py:x")
    code(project, "zoo_syntax.py", "def (\n")
    with pytest.raises(InvalidInput, match="SyntaxError"):
        load_object(project, "zoo_syntax.py:x")
    code(project, "zoo_import.py", "import nowhere_to_be_found\n")
    with pytest.raises(InvalidInput, match="No module named 'nowhere_to_be_found'"):
        load_object(project, "zoo_import.py:x")


def test_a_file_whose_name_is_taken_by_another_module_is_refused(project: Path) -> None:
    code(project, "json.py", "x = 1\n")
    with pytest.raises(InvalidInput, match=r"'json' of json.py is taken by .*Rename"):
        load_object(project, "json.py:x")


PROFILES = """
[tool.plimsoll]
port = 2

[tool.plimsoll.profiles.quick]
port = 3
home = "quick"

[tool.plimsoll.profiles.quick.params."./pipeline.py:train"]
depth = 1
"""


def test_a_profile_stands_between_the_table_and_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_PROFILE", raising=False)
    write(project, PROFILES)
    assert setting("port", None, project)[0] == 2
    assert setting("port", None, project, "quick") == (3, f"profile quick in {project / 'pyproject.toml'}")
    monkeypatch.setenv("PLIMSOLL_PROFILE", "quick")
    assert setting("port", None, project)[0] == 3
    assert setting("url", None, project) == (str(project / "quick"), f"home (profile quick in {project / 'pyproject.toml'})")
    assert setting("port", None, project, "")[0] == 2
    assert chosen_profile(None, project)[0] == "quick"
    monkeypatch.setenv("PLIMSOLL_PORT", "4")
    assert setting("port", None, project)[0] == 4


def test_a_profile_that_is_not_declared_is_refused_with_where_its_name_comes_from(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, PROFILES)
    with pytest.raises(NotFound, match=r"'quik'.*mean quick"):
        setting("port", None, project, "quik")
    monkeypatch.setenv("PLIMSOLL_PROFILE", "none")
    with pytest.raises(NotFound, match="PLIMSOLL_PROFILE"):
        setting("port", None, project)
    with pytest.raises(NotFound, match="PLIMSOLL_PROFILE"):
        setting("port", None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.plimsoll.profiles.p]\nprot = 1\n", r"profiles.p\].*'prot'.*port"),
        ("[tool.plimsoll.profiles.'a b']\n", "a b"),
        ("[tool.plimsoll.profiles.p.params]\n'train' = {}\n", r"profiles.p.params\].*'train' is not a reference"),
        ("[tool.plimsoll.params]\n'train.py:run' = 1\n", r"'train.py:run' in \[tool.plimsoll.params\] is not a table"),
        ("[tool.plimsoll.params]\n'a.py:b' = {}\n'./a.py:b' = {}\n", "twice"),
        ("[tool.plimsoll.variations.'a.py:b']\nfr = 1\n", r"'fr' in .*variations.*not a table"),
        ("[tool.plimsoll.variations.'a.py:b']\nall = {}\n", "stands for all"),
        ("[tool.plimsoll.variations.'a.py:b']\n'x y' = {}\n", "x y"),
    ],
)
def test_a_wrong_profile_or_variation_is_refused_by_its_name(project: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_project(write(project, text))
