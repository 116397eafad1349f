"""Every command in every bad situation: one clear error with its remedy, the documented exit code, and nothing changed on disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from plimsoll.cli.app import build
from tests.faults.command_line import ASKING, BEGINNERS, CHANGES, LOCAL, LOOKS, OTHERS, Filled, Run, project, state


def test_the_tables_above_name_every_command_there_is() -> None:
    known = {line.partition(" ")[0] for line in (*ASKING, *LOCAL, *BEGINNERS)} | {"config", "doctor", "demo", "ci", "sync", "restore"}
    app = build()
    assert {name for name in app if not name.startswith("-")} == known
    for noun in {line.partition(" ")[0] for line in LOOKS}:
        inner = {f"{noun} {name}" for name in app[noun] if not name.startswith("-")}
        assert inner == {" ".join(line.split()[:2]) for line in ASKING if line.startswith(f"{noun} ") and line not in BEGINNERS}


# No project, no home


@pytest.mark.parametrize("line", [*ASKING, *LOCAL, "up"])
def test_outside_of_a_project_each_command_says_so_and_makes_nothing(run: Run, tmp_path: Path, line: str) -> None:
    run(line, tmp_path).failed(4, "pyproject.toml", "plimsoll init")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [*LOOKS, *OTHERS, *LOCAL, *CHANGES])
def test_without_a_home_each_command_says_how_to_make_one_and_makes_none(run: Run, tmp_path: Path, line: str) -> None:
    before = state(project(tmp_path))
    run(line, tmp_path).failed(4, "no home", "plimsoll init")
    assert state(tmp_path) == before


@pytest.mark.parametrize("line", ["init", "init --home here", "run works.py:chain"])
def test_a_home_that_cannot_be_made_is_told_and_nothing_is_left(run: Run, tmp_path: Path, line: str) -> None:
    (tmp_path / "taken").write_text("a file")
    variables = {"PLIMSOLL_HOME": str(tmp_path / "taken" / "home")}
    if "works" in line:
        project(tmp_path)
    before = state(tmp_path)
    run(line.replace("here", variables["PLIMSOLL_HOME"]), tmp_path, **variables).failed(2, "cannot be made", "PLIMSOLL_HOME")
    assert state(tmp_path) == before


def test_a_project_is_made_where_the_folder_has_signs_that_toml_has_a_meaning_for(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / 'a "b" \\ c'
    folder.mkdir()
    assert run("init", folder).code == 0
    assert run("config show", folder).code == 0
    before = state(folder)
    assert run("init", folder).code == 0
    assert state(folder) == before


def test_the_home_that_init_is_told_is_the_one_it_makes(run: Run, tmp_path: Path) -> None:
    assert run("init --home elsewhere", project(tmp_path)).code == 0
    assert (tmp_path / "elsewhere" / "plimsoll.db").exists()
    assert not (tmp_path / ".plimsoll").exists()


# Usage


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("sail", "sail"),
        ("runs sail", "sail"),
        ("runs show", "needs ID"),
        ("runs list --sail", "--sail"),
        ("runs list --limit many", "many"),
        ("runs list --state sunk", "sunk"),
        ("jobs list --state sunk", "sunk"),
        ("runs show a b", "b"),
        ("run --bisect a", "--bisect"),
        ("reproduce", "needs RUN"),
        ("models trust late/1", "reason"),
        ("deployments kill late", "reason"),
        ("deployments kill late --reason x --mode gentle", "gentle"),
        ("actors add nina captain", "captain"),
        ("up --port high", "high"),
        ("demo --share much", "much"),
    ],
)
def test_a_wrong_command_line_is_told_in_the_same_two_lines(run: Run, filled: Filled, line: str, word: str) -> None:
    before = state(filled.folder)
    run(line, filled.folder).failed(2, word, "--help")
    assert state(filled.folder) == before


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("up --port 70000", "70000"),
        ("up --host 0.0.0.0 --port 0", "0.0.0.0"),
        ("run works.py:chain --set count", "count"),
        ("run works.py:chain --set count=[1", "count"),
        ("run works.py:chain --set depth=1", "depth"),
        ("run works.py:plain", "plain"),
        ("runs diff 0 AFTER", "too short"),
        ("cache why 0 begin", "too short"),
        ("reproduce 0", "too short"),
        ("reproduce RUN", "no run of a pipeline"),
        ("run --bisect 0 AFTER", "too short"),
        ("run --bisect RUN AFTER", "no run of a pipeline"),
        ("run --bisect BEFORE AFTER", "no metric differs"),
        ("run --bisect BEFORE AFTER --metric auc", "auc"),
        ("run works.py:chain --bisect BEFORE AFTER", "--bisect"),
        ("cache show --limit 0", "limit"),
        ("cache prune", "Nothing says"),
        ("cache prune --older-than soon", "soon"),
        ("cache prune --max-size 10XB", "10XB"),
        ("cache prune --keep-last -1", "-1"),
        ("collect --older-than soon", "soon"),
        ("run works:", "works:"),
        ("run ../works.py:chain", "../works.py"),
        ("actors add 'a b' read", "a b"),
        ("runs list --limit 0", "limit"),
        ("runs list --limit -3", "limit"),
        ("models list --limit 0", "limit"),
        ("releases list --limit 0", "limit"),
        ("alerts list --limit 0", "limit"),
        ("alerts windows late --limit 0", "limit"),
        ("jobs list --limit 0", "limit"),
        ("events list --limit 0", "limit"),
        ("demo --end someday", "someday"),
        ("demo --first 2013-06-01 --start 2013-05-01", "2013-05-01"),
        ("demo --end 2013-04-01", "2013-04-01"),
        ("demo --end 2015-01-01", "2015-01-01"),
        ("demo --share 0", "0"),
        ("demo --share 1.5", "1.5"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_name(run: Run, filled: Filled, line: str, word: str) -> None:
    before = state(filled.folder)
    run(filled.line(line), filled.folder).failed(2, word)
    assert state(filled.folder) == before


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("run nowhere.py:chain", "nowhere.py"),
        ("run works.py:chian", "chian"),
        ("runs show ffffffff", "ffffffff"),
        ("runs diff BEFORE ffffffff", "ffffffff"),
        ("runs diff ffffffff AFTER", "ffffffff"),
        ("cache why ffffffff begin", "ffffffff"),
        ("cache why AFTER begin --against ffffffff", "ffffffff"),
        ("reproduce ffffffff", "ffffffff"),
        ("reproduce AFTER", "git"),
        ("run --bisect BEFORE ffffffff", "ffffffff"),
        ("cache show begun", "Did you mean: begin"),
        ("cache show ffffffff", "ffffffff"),
        ("cache why AFTER begun", "Did you mean: begin"),
        ("cache why RUN begin", "no steps"),
        ("models show early", "early"),
        ("models show ''", "''"),
        ("models show late/77", "late/77"),
        ("models show late@mars", "mars"),
        ("models trust early --reason x", "early"),
        ("checks show early", "early"),
        ("checks run early", "early"),
        ("releases show ffffffff", "ffffffff"),
        ("releases create early", "early"),
        ("releases create late/3 --environment mars", "mars"),
        ("releases reject ffffffff --reason x", "ffffffff"),
        ("releases roll ffffffff", "ffffffff"),
        ("approve ffffffff", "ffffffff"),
        ("deployments show early", "early"),
        ("deployments rollback early --reason x", "early"),
        ("deployments kill early --reason x", "early"),
        ("deployments revive early --reason x", "early"),
        ("predictions why nothing", "nothing"),
        ("alerts ack ffffffff", "ffffffff"),
    ],
)
def test_a_name_that_is_not_there_is_not_found(run: Run, filled: Filled, line: str, word: str) -> None:
    before = state(filled.folder)
    run(filled.line(line), filled.folder).failed(4, word)
    assert state(filled.folder) == before


# The project's own files


@pytest.mark.parametrize("line", [*ASKING, *LOCAL, "init", "up", "config show"])
@pytest.mark.parametrize(("text", "word"), [("[tool.plimsoll]\nmodles = 1\n", "modles"), ("[tool.plimsoll\n", "not valid TOML")])
def test_a_wrong_project_table_is_told_with_its_key_before_anything_is_done(
    run: Run, filled: Filled, line: str, text: str, word: str
) -> None:
    (filled.folder / "pyproject.toml").write_text(text)
    before = state(filled.folder)
    run(filled.line(line), filled.folder).failed(2, word)
    assert state(filled.folder) == before


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def chain(:\n", "SyntaxError"),
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("chain = 5\n", "not a pipeline"),
    ],
)
def test_a_pipeline_that_cannot_be_run_is_told_before_a_home_is_made(run: Run, tmp_path: Path, text: str, word: str) -> None:
    project(tmp_path)
    (tmp_path / "broken.py").write_text(text)
    before = state(tmp_path)
    run("run broken.py:chain", tmp_path).failed(2, word)
    assert state(tmp_path) == before


def test_a_project_that_declares_no_pipeline_asks_for_its_name(run: Run, tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    run("run", tmp_path).failed(4, "plimsoll run path.py:name")


# A damaged, foreign or missing home


def _garbage(filled: Filled) -> str:
    for path in filled.home.glob("plimsoll.db*"):
        path.unlink()
    (filled.home / "plimsoll.db").write_bytes(b"no database at all" * 500)
    return "not a sound SQLite database"


def _truncated(filled: Filled) -> str:
    path = filled.home / "plimsoll.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    path.write_bytes(path.read_bytes()[: 3 * 4096 + 100])
    return "not a sound SQLite database"


def _newer(filled: Filled) -> str:
    connection = sqlite3.connect(filled.home / "plimsoll.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    return "9999"


def _foreign(filled: Filled) -> str:
    for path in filled.home.glob("plimsoll.db*"):
        path.unlink()
    connection = sqlite3.connect(filled.home / "plimsoll.db")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    return "recipes"


def _gone(filled: Filled) -> str:
    for path in filled.home.glob("plimsoll.db*"):
        path.unlink()
    return "is not there"


@pytest.mark.parametrize("line", [*ASKING, *LOCAL, "init", "up --port 0 --serving-port 0"])
@pytest.mark.parametrize(
    ("harm", "code"),
    [(_garbage, 1), (_truncated, 1), (_newer, 1), (_foreign, 2), (_gone, 4)],
    ids=["garbage", "truncated", "newer", "foreign", "gone"],
)
def test_a_database_that_cannot_be_used_is_told_and_left_as_it_is(
    run: Run, filled: Filled, harm: Callable[[Filled], str], code: int, line: str
) -> None:
    word = harm(filled)
    before = state(filled.folder)
    run(filled.line(line), filled.folder).failed(code, word)
    assert state(filled.folder) == before


@pytest.mark.parametrize("harm", [_garbage, _truncated, _newer, _foreign, _gone])
def test_the_doctor_tells_what_is_wrong_with_a_database(run: Run, filled: Filled, harm: Callable[[Filled], str]) -> None:
    word = harm(filled)
    before = state(filled.folder)
    said = run("doctor --json", filled.folder)
    wrong = [row for row in json.loads(said.out) if row["state"] == "wrong"]
    assert said.code == 3
    assert [row["looked at"] for row in wrong] == ["database"]
    assert word in wrong[0]["found"]
    assert wrong[0]["fix"]
    assert state(filled.folder) == before


@pytest.mark.parametrize("text", ["[tool.plimsoll]\nmodles = 1\n", "[tool.plimsoll\n"])
def test_the_doctor_tells_what_is_wrong_with_a_project(run: Run, filled: Filled, text: str) -> None:
    (filled.folder / "pyproject.toml").write_text(text)
    said = run("doctor --json", filled.folder)
    assert said.code == 3
    assert "project" in [row["looked at"] for row in json.loads(said.out) if row["state"] == "wrong"]


def test_a_flipped_byte_of_a_package_is_found_by_the_doctor_and_fails_its_examination(run: Run, filled: Filled) -> None:
    shown = json.loads(run("models show late/1 --json", filled.folder).out)
    digest = shown["version"]["digest"]
    manifest = json.loads((filled.home / "blobs" / digest[:2] / digest).read_text())
    part = next(entry["digest"] for entry in manifest["files"] if entry["path"] == "model.skops")
    path = filled.home / "blobs" / part[:2] / part
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1, *path.read_bytes()[1:]]))
    said = run("doctor --json", filled.folder)
    assert said.code == 3
    wrong = {row["looked at"]: row for row in json.loads(said.out) if row["state"] == "wrong"}
    assert {"blobs", "late/1"} <= wrong.keys()
    assert "late/2" not in wrong
    assert part in wrong["late/1"]["found"]
    assert "plimsoll restore" in wrong["late/1"]["fix"]
    said = run("checks run late/1", filled.folder)
    assert said.code == 3
    assert part in said.out


def test_a_changed_line_of_the_audit_log_is_found(run: Run, filled: Filled) -> None:
    connection = sqlite3.connect(filled.home / "plimsoll.db")
    connection.execute("UPDATE events SET actor = 'nobody' WHERE sequence = 3")
    connection.commit()
    connection.close()
    run("events verify", filled.folder).failed(1, "line 3")
    assert run("doctor", filled.folder).code == 3


# What is printed


@pytest.mark.parametrize("line", [*LOOKS, "config show"])
def test_json_is_one_document_and_nothing_else(run: Run, filled: Filled, line: str) -> None:
    before = state(filled.folder)
    said = run(f"{filled.line(line)} --json", filled.folder)
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out)
    assert state(filled.folder) == before


@pytest.mark.parametrize("form", ["", "--csv", "--md"])
@pytest.mark.parametrize("line", [*LOOKS, "config show"])
def test_every_form_prints_its_data_on_stdout(run: Run, filled: Filled, line: str, form: str) -> None:
    said = run(f"{filled.line(line)} {form}", filled.folder)
    assert said.code == 0
    assert said.out.count("\n") >= 1
    assert all(text.startswith("next: ") for text in said.err.splitlines())


@pytest.mark.parametrize("line", [line for line in LOOKS if line.endswith(("list", "list late"))])
def test_an_empty_list_is_an_empty_list(run: Run, tmp_path: Path, line: str) -> None:
    assert run("init", project(tmp_path)).code == 0
    said = run(f"{line} --json", tmp_path)
    assert (said.code, said.err) == (0, "")
    assert isinstance(json.loads(said.out), list)
    plain = run(line, tmp_path)
    assert plain.code == 0
    assert plain.out or plain.err
