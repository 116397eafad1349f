"""Every command in every bad situation: one clear error with its remedy, the documented exit code, and nothing changed on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plimsoll.cli.app import build, main
from plimsoll.records.monitor import AppendPredictions, Finding, PredictionColumns, RecordWindow, SealPredictions, WindowReport
from plimsoll.workspace import PLANE, WORKER
from tests.unit.yard import open_yard

_ROOT = Path(__file__).parents[2]
_LIMIT = 60.0

PROJECT = """
[project]
name = "late"

[tool.plimsoll.models.late]
goal = "Say what is late."
label = "late"
unit = "id"
time = "at"
pipeline = "works.py:chain"
costs = { false_alarm = 1.0, missed = 3.0 }
"""

WORKS = """
from plimsoll import pipeline, step


@step
def begin(count: int) -> int:
    return count + 1


@pipeline
def chain(count: int = 4):
    return begin(count)


def plain(count: int = 4):
    return count
"""

#: Commands that look, with names that are there in a filled home.
LOOKS = (
    "runs list",
    "runs show RUN",
    "models list",
    "models list late",
    "models show late/1",
    "checks show late/1",
    "releases list",
    "releases show LIVE",
    "deployments list",
    "deployments show late",
    "predictions why REQUEST",
    "alerts list",
    "alerts windows late",
    "actors list",
    "jobs list",
    "events list",
)

#: Commands that change something in a home that is there.
CHANGES = (
    "checks run late/1",
    "models trust late/2 --reason seen",
    "releases create late/3",
    "releases reject PROPOSED --reason no",
    "releases roll APPROVED",
    "approve PROPOSED",
    "deployments rollback late --reason worse",
    "deployments kill late --reason fire",
    "deployments revive late --reason out",
    "alerts ack ALERT",
    "actors add nina read",
)

#: Commands that need a home, and none of the above.
OTHERS = ("events verify",)

#: Commands that make the home they need.
BEGINNERS = ("init", "run works.py:chain", "up --port 0 --serving-port 0")

#: Every command that asks the platform for something.
ASKING = (*LOOKS, *OTHERS, *CHANGES, "run works.py:chain")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def failed(self, code: int, *words: str) -> None:
        """Assert that it failed as it must, with these words."""
        assert self.code == code, self
        lines = self.err.splitlines()
        assert sum(line.startswith("error: ") for line in lines) == 1, self
        assert sum(line.startswith("fix:   ") for line in lines) == 1, self
        assert "Traceback" not in self.err, self
        assert "Plimsoll failed" not in self.err, self
        assert self.out == "", self
        for word in words:
            assert word in self.err, self


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PLIMSOLL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
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


def process(*words: str, folder: Path, **variables: str) -> Said:
    """Run a command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **variables}
    command = [sys.executable, "-m", "plimsoll.cli.app", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT, stdin=subprocess.DEVNULL)
    return Said(done.returncode, done.stdout, done.stderr)


def state(folder: Path) -> dict[str, str]:
    """Return the digest of every file; of a database what it holds, since a reader touches its log."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".db-wal", ".db-shm", ".pyc") or path.name in ("__pycache__", "up.lock"):
            continue
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = "folder"
        elif path.suffix == ".db" and path.read_bytes()[:6] == b"SQLite":
            found[name] = rows(path)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def rows(path: Path) -> str:
    """Return a digest of everything that a database holds, or of its file when it is damaged."""
    connection = sqlite3.connect(path)
    try:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()
    except sqlite3.DatabaseError:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    finally:
        connection.close()


@dataclass(frozen=True)
class Filled:
    """A project whose home holds one of everything."""

    folder: Path
    #: Word of a command line -> the id that is there.
    names: dict[str, str]

    @property
    def home(self) -> Path:
        """The home."""
        return self.folder / ".plimsoll"

    def line(self, line: str) -> str:
        """Return a command line with ids in the place of words."""
        return " ".join(self.names.get(word, word) for word in line.split())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = project(tmp_path_factory.mktemp("filled"))
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
    watched = do(RecordWindow(report=report, table=b"", labelled=0, pipeline=""), WORKER)
    yard.workspace.submit(SealPredictions(), WORKER)
    yard.workspace.close()
    names = {"RUN": third.run_id, "LIVE": live.id, "APPROVED": other.id, "PROPOSED": proposed.id, "REQUEST": "asked"}
    return Filled(folder, {**names, "ALERT": watched.alerts[0]})


@pytest.fixture
def filled(template: Filled, tmp_path: Path) -> Filled:
    return Filled(shutil.copytree(template.folder, tmp_path / "filled"), template.names)


def project(folder: Path) -> Path:
    """Write a project without a home."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "works.py").write_text(WORKS)
    return folder


def test_the_tables_above_name_every_command_there_is() -> None:
    known = {line.partition(" ")[0] for line in (*ASKING, *BEGINNERS)} | {"config", "doctor", "demo"}
    app = build()
    assert {name for name in app if not name.startswith("-")} == known
    for noun in ("runs", "models", "checks", "releases", "deployments", "predictions", "alerts", "actors", "jobs", "events"):
        inner = {f"{noun} {name}" for name in app[noun] if not name.startswith("-")}
        assert inner == {" ".join(line.split()[:2]) for line in ASKING if line.startswith(f"{noun} ")}


# No project, no home


@pytest.mark.parametrize("line", [*ASKING, "up"])
def test_outside_of_a_project_each_command_says_so_and_makes_nothing(run: Run, tmp_path: Path, line: str) -> None:
    run(line, tmp_path).failed(4, "pyproject.toml", "plimsoll init")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [*LOOKS, *OTHERS, *CHANGES])
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
        ("runs show", "id"),
        ("runs list --sail", "--sail"),
        ("runs list --limit many", "many"),
        ("runs list --state sunk", "sunk"),
        ("jobs list --state sunk", "sunk"),
        ("runs show a b", "b"),
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
        ("run works:chain", "works:chain"),
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
    run(line, filled.folder).failed(2, word)
    assert state(filled.folder) == before


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("run nowhere.py:chain", "nowhere.py"),
        ("run works.py:chian", "chian"),
        ("runs show ffffffff", "ffffffff"),
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
    run(line, filled.folder).failed(4, word)
    assert state(filled.folder) == before


# The project's own files


@pytest.mark.parametrize("line", [*ASKING, "init", "up", "config show"])
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


@pytest.mark.parametrize("line", [*ASKING, "init", "up --port 0 --serving-port 0"])
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
    assert said.code == 1
    assert [row["looked at"] for row in wrong] == ["database"]
    assert word in wrong[0]["found"]
    assert state(filled.folder) == before


@pytest.mark.parametrize("text", ["[tool.plimsoll]\nmodles = 1\n", "[tool.plimsoll\n"])
def test_the_doctor_tells_what_is_wrong_with_a_project(run: Run, filled: Filled, text: str) -> None:
    (filled.folder / "pyproject.toml").write_text(text)
    said = run("doctor --json", filled.folder)
    assert said.code == 1
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
    assert said.code == 1
    assert [row["looked at"] for row in json.loads(said.out) if row["state"] == "wrong"] == ["late/1"]
    said = run("checks run late/1", filled.folder)
    assert said.code == 3
    assert part in said.out


def test_a_changed_line_of_the_audit_log_is_found(run: Run, filled: Filled) -> None:
    connection = sqlite3.connect(filled.home / "plimsoll.db")
    connection.execute("UPDATE events SET actor = 'nobody' WHERE sequence = 3")
    connection.commit()
    connection.close()
    run("events verify", filled.folder).failed(1, "line 3")
    assert run("doctor", filled.folder).code == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize("line", ["runs list", "actors add nina read", "run works.py:chain"])
@pytest.mark.parametrize("locked", ["plimsoll.db", "."])
def test_a_home_that_may_not_be_used_is_told(run: Run, filled: Filled, line: str, locked: str) -> None:
    for path in filled.home.glob("plimsoll.db-*"):
        path.unlink()
    path = filled.home / locked
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        run(line, filled.folder).failed(1 if locked != "." else run(line, filled.folder).code)
    finally:
        path.chmod(mode)


# The server


@pytest.fixture(scope="module")
def nobody_listens() -> Iterator[str]:
    """An address that is kept, and at which nobody answers."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}"


@pytest.mark.parametrize("line", [*ASKING])
def test_a_server_that_does_not_answer_is_unreachable(run: Run, filled: Filled, nobody_listens: str, line: str) -> None:
    before = state(filled.folder)
    run(filled.line(line), filled.folder, PLIMSOLL_URL=nobody_listens).failed(5, nobody_listens, "plimsoll up")
    assert state(filled.folder) == before


@pytest.mark.parametrize("line", [*ASKING, "init"])
def test_a_token_that_nobody_has_is_refused(run: Run, filled: Filled, line: str) -> None:
    before = state(filled.folder)
    run(filled.line(line), filled.folder, PLIMSOLL_TOKEN="wrong").failed(1, "token")
    assert state(filled.folder) == before


def test_a_server_without_a_token_asks_for_one(run: Run, tmp_path: Path, nobody_listens: str) -> None:
    run("runs list", tmp_path, PLIMSOLL_URL=nobody_listens).failed(1, "PLIMSOLL_TOKEN")


@pytest.mark.parametrize("flags", ["--port PORT --serving-port 0", "--port 0 --serving-port PORT"])
def test_a_port_that_is_taken_is_told_with_the_option_that_changes_it(run: Run, filled: Filled, flags: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        option = next(word for word, value in zip(flags.split()[::2], flags.split()[1::2], strict=True) if value == "PORT")
        run(f"up {flags.replace('PORT', port)}", filled.folder).failed(1, port, option)


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


@pytest.mark.parametrize("line", ["runs list", "models show early", "sail", "--version"])
def test_a_reader_that_went_away_is_no_error_to_talk_about(line: str, filled: Filled) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "plimsoll.cli.app", *line.split()]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=filled.folder, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, timeout=_LIMIT)
    os.close(write)
    assert done.returncode == {"models show early": 4, "sail": 2}.get(line, 0), done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_full_disk_under_the_output_is_a_failure(filled: Filled) -> None:
    command = [sys.executable, "-m", "plimsoll.cli.app", "runs", "list"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=filled.folder, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=_LIMIT)
    Said(done.returncode, "", done.stderr).failed(1, "No space left")


def test_a_traceback_comes_with_debug_alone(filled: Filled) -> None:
    assert "Traceback" not in process("runs", "show", "ffff", folder=filled.folder).err
    assert "Traceback" in process("runs", "show", "ffff", "--debug", folder=filled.folder).err
