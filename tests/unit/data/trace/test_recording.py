"""What a recording finds in one call, and that it never stands in the call's way."""

from __future__ import annotations

import _thread
import filecmp
import gc
import glob
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from textwrap import dedent
from typing import Any

import attr
import pandas as pd
import polars as pl
import pytest

from plimsoll.data.trace.files.places import OWN
from plimsoll.data.trace.now import Now
from plimsoll.data.trace.recording import Recorder
from plimsoll.records.pipeline import KeyPart

take = pl.read_csv

_MODERN = sys.version_info >= (3, 12)

Find = Callable[[Callable[[], Any]], tuple[set[tuple[str, str]], tuple[str, ...]]]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Record a call in an empty project; give kinds and names of the parts, and the effects."""
    monkeypatch.chdir(tmp_path)

    def found(function: Callable[[], Any]) -> tuple[set[tuple[str, str]], tuple[str, ...]]:
        trace = record(tmp_path, function)
        parts = {(part.kind, part.name) for part in trace if part.name != "(working folder)"}
        return parts, effects[-1]

    effects: list[tuple[str, ...]] = []

    def record(project: Path, function: Callable[[], Any]) -> tuple[KeyPart, ...]:
        recording = Recorder(project).recording(function, {"polars"}, 1)
        with recording:
            function()
        trace = recording.trace()
        effects.append(trace.effects)
        now = Now(project)
        assert trace.effects or all(now.digest(part) == part.digest for part in trace.parts)
        assert trace.parts == tuple(sorted(trace.parts, key=lambda part: (part.kind, part.name)))
        return trace.parts

    return found


def test_files_are_named_from_the_project_and_others_in_full(find: Find, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A project may lie elsewhere tomorrow."""
    other = tmp_path_factory.mktemp("other") / "b"
    other.write_text("")
    (tmp_path / "a").write_text("")
    parts, _ = find(lambda: (Path("a").read_text(), other.read_text()))
    assert parts == {("file", "a"), ("file", str(other))}


def test_a_file_of_an_installed_package_counts_by_its_version(find: Find) -> None:
    """Also where nothing imports the package: ``importlib.resources.files("package")``."""
    parts, _ = find(lambda: Path(pd.__file__).read_text())
    assert parts == {("environment", "pandas")}


def test_installed_files_and_the_machines_own_do_not_count(find: Find) -> None:
    """Their versions do, or nothing."""
    parts, _ = find(lambda: (Path(pl.__file__).read_text(), Path(os.__file__).read_text(), Path("/proc/self/stat").read_text()))
    assert parts == set()


@pytest.mark.parametrize(("prefix", "counts"), [("plimsoll-", True), ("plimsoll-bisect-", True), (OWN, False)])
def test_a_file_in_a_temporary_folder_counts_unless_the_folder_is_plimsolls_own(find: Find, prefix: str, counts: bool) -> None:
    """There are a step's inputs, which count by their digests; a project may lie anywhere else."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        path = Path(folder, "rows.csv")
        path.write_text("1")
        parts, _ = find(path.read_text)
    assert parts == ({("file", str(path))} if counts else set())


def test_a_pattern_counts_by_the_names_it_is_looked_for_among(find: Find, tmp_path: Path) -> None:
    """One more file elsewhere is no reason to run again."""
    for name in ("d/2013/a.csv", "d/2014/a.csv", "d/2014/note.txt", "e/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    parts, _ = find(lambda: pl.scan_csv(str(tmp_path / "d/*/*.csv")).collect())
    assert parts == {("file", name) for name in ("d/", "d/2013/", "d/2014/", "d/2013/a.csv", "d/2014/a.csv")}


#: What looks for ``d/*.csv`` -> what counts: the names that match, or all of the folder.
LOOKS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "pathlib": (lambda: sorted(Path("d").glob("*.csv")), {"d/*.csv/"}),
    "pathlib, by a set": (lambda: sorted(Path("d").glob("[ab]?csv")), {"d/[ab]?csv/"}),
    "pathlib, below": (lambda: sorted(Path("d").rglob("*.csv")), {"d/", "d/*.csv/", "d/sub/", "d/sub/*.csv/"}),
    "glob": (lambda: glob.glob("d/*.csv"), {"d/*.csv/"}),
    "glob, from a folder": (lambda: glob.glob("*.csv", root_dir="d"), {"d/*.csv/"}),
    "glob, hidden ones too": (lambda: glob.glob("d/*.csv", include_hidden=True), {"d/*.csv/"}),
    "all names": (lambda: sorted(Path("d").glob("*")) + glob.glob("d/*"), {"d/"}),
    "a list": (lambda: [name for name in os.listdir("d") if name.endswith(".csv")], {"d/"}),
    "a set of names": (lambda: [each for each in Path("d").iterdir() if each.match("*.csv")], {"d/"}),
    "another case": (lambda: sorted(Path("d").glob("*.CSV", case_sensitive=False)) if _MODERN else os.listdir("d"), {"d/"}),
}


@pytest.mark.parametrize("look", LOOKS)
def test_of_a_folder_the_names_count_that_a_pattern_lets_through(find: Find, tmp_path: Path, look: str) -> None:
    """A note beside the tables is no reason to read them again."""
    for name in ("d/a.csv", "d/b.txt", "d/sub/c.csv", "d/.d.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    work, expected = LOOKS[look]
    parts, effects = find(work)
    assert ({name for kind, name in parts if name != "d (is there)"}, effects) == (expected, ())


@pytest.mark.parametrize("look", LOOKS)
def test_names_that_a_pattern_lets_through_count_by_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    """One more, one less, another one, or a folder of that name."""
    monkeypatch.chdir(tmp_path)
    for name in ("d/a.csv", "d/b.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    recording = Recorder(tmp_path).recording(print, frozenset(), 1)
    with recording:
        LOOKS[look][0]()
    (parts,) = [recording.trace().parts]

    def counts(*shell: str) -> bool:
        for line in shell:
            subprocess.run(line, shell=True, check=True)
        now = Now(tmp_path)
        return any(now.digest(part) != part.digest for part in parts)

    assert not counts()
    assert counts("mv d/a.csv d/a_csv", "touch d/acsv", "mv d/b.csv d/x")
    assert not counts("rm d/a?csv d/acsv d/x", "touch d/a.csv d/b.csv")
    assert counts("rm d/a.csv", "mkdir d/a.csv")
    assert not counts("rmdir d/a.csv", "touch d/a.csv")
    if look.startswith(("pathlib", "glob")) and "below" not in look:
        assert not counts("touch d/note.txt d/csv")


#: What looks for something that is not there yet, by a pattern, and what makes it.
MISSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: list(Path().glob("*/x.csv")), "e/x.csv"),
    (lambda: glob.glob("*/x.csv"), "e/x.csv"),
    (lambda: list(Path().glob("*/x.csv")), "new/x.csv"),
    (lambda: list(Path("none").glob("*.csv")), "none/x.csv"),
    (lambda: glob.glob("none/*.csv"), "none/x.csv"),
    (lambda: list(Path("none").glob("x.csv")), "none/x.csv"),
    (lambda: list(Path("e").glob("x.csv")), "e/x.csv"),
    (lambda: list(Path("e").glob("none/x.csv")), "e/none/x.csv"),
    (lambda: list(Path().glob("e/none/*.csv")), "e/none/x.csv"),
    (lambda: list(Path().glob("*/none/*.csv")), "e/none/x.csv"),
    (lambda: glob.glob("*/none/*.csv"), "e/none/x.csv"),
    (lambda: list(Path().glob("*/none/x.csv")), "e/none/x.csv"),
    (lambda: list(Path("none").rglob("*.csv")), "none/deep/x.csv"),
    (lambda: list(Path().rglob("x.csv")), "e/x.csv"),
    (lambda: list(Path().glob("**/none/*.csv")), "e/none/x.csv"),
    (lambda: glob.glob("**/none/x.csv", recursive=True), "e/none/x.csv"),
    (lambda: list(Path().glob("*.yml")) or list(Path().glob("*.yaml")), "a.yml"),
]


@pytest.mark.parametrize("number", range(len(MISSED)))
def test_what_a_pattern_has_not_found_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It may come: into a folder that was there, or with it."""
    monkeypatch.chdir(tmp_path)
    for name in ("d/x.csv", "e/y.csv", "a.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    look, comes = MISSED[number]
    recording = Recorder(tmp_path).recording(print, frozenset(), 1)
    with recording:
        look()
    parts = recording.trace().parts
    now = Now(tmp_path)
    assert all(now.digest(part) == part.digest for part in parts)
    (tmp_path / comes).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / comes).touch()
    now = Now(tmp_path)
    assert any(now.digest(part) != part.digest for part in parts)


def _packed(name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(), "w") as archive:
        archive.write(name)


def _tarred(name: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as archive:
        archive.add(name)


#: What of the standard library asks about files by itself, and what counts.
ASKS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "two files of other sizes": (lambda: filecmp.cmp("a", "longer"), {"a", "longer"}),
    "two files of one size": (lambda: filecmp.cmp("a", "b"), {"a", "b"}),
    "files of two folders": (lambda: filecmp.cmpfiles("d", "e", ["x", "y"]), {"d/x", "e/x", "d/y", "e/y"}),
    "two folders": (lambda: filecmp.dircmp("d", "e").diff_files, {"d/", "e/", "d/x", "e/x"}),
    "a file in a zip": (lambda: _packed("a"), {"a", "a (state)"}),
    "a file in a tar": (lambda: _tarred("a"), {"a", "a (state)"}),
}


@pytest.mark.parametrize("way", ASKS)
def test_what_the_standard_library_asks_of_files_for_a_step_counts(find: Find, tmp_path: Path, way: str) -> None:
    """Two files differ by their sizes before anybody reads them; an archive says when a file was changed."""
    for name, text in {"a": "1", "b": "2", "longer": "12", "d/x": "1", "e/x": "12", "e/z": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    work, expected = ASKS[way]
    parts, effects = find(work)
    assert ({name for _, name in parts}, effects) == (expected, ())


def test_what_the_step_made_itself_counts_as_it_was_left(find: Find, tmp_path: Path) -> None:
    """Not what it held before, nor what has another name each time; what was moved or removed counts as gone."""

    def work() -> None:
        Path("made").mkdir()
        Path("made/a").write_text("1")
        Path("made/a").rename("made/b")
        Path("made/b").read_text()
        Path("out.tmp").write_text("1")
        os.replace("out.tmp", "out")
        Path("out").read_text()
        os.listdir("made")
        Path("gone").write_text("1")
        Path("gone").unlink()
        Path(tempfile.mkdtemp(dir="."), "a").write_text("1")

    parts, effects = find(work)
    gone = {("file", f"{name} (is there)") for name in ("made/a", "out.tmp", "gone")}
    assert (parts, effects) == ({("file", "made/b"), ("file", "out")} | gone, ())


def test_a_file_that_is_appended_to_counts_and_makes_the_result_unique(find: Find, tmp_path: Path) -> None:
    """The next run would find more in it."""
    (tmp_path / "log").write_text("1")

    def work() -> None:
        with open("log", "a+") as file:
            file.write("2")

    parts, effects = find(work)
    assert parts == {("file", "log")}
    assert effects[0].startswith("appended to log")


def test_what_only_appends_says_so_and_what_to_do(find: Find, tmp_path: Path) -> None:
    """It has seen nothing of the file; but a reused result would not append again."""
    (tmp_path / "log").write_text("1")

    def work() -> None:
        with open("log", "a") as file:
            file.write("2")

    (effect,) = find(work)[1]
    assert effect.startswith("appended to log, which a reused result would not do")
    assert 'cache="forever"' in effect


@pytest.mark.parametrize(("query", "counts"), [("select datetime(0, 'unixepoch', 'localtime')", True), ("select 'local'", False)])
def test_the_time_zone_counts_where_a_query_names_it(find: Find, query: str, counts: bool) -> None:
    """SQLite asks the machine for it by itself."""
    code = f"import sqlite3\ndef ask():\n    base = sqlite3.connect(':memory:')\n    base.execute({query!r}).fetchall()\n    base.close()\n"
    names: dict[str, Any] = {}
    exec(code, names)
    parts, _ = find(names["ask"])
    assert (("variable", "TZ") in parts) is counts


def test_databases_count_with_the_log_beside_them(find: Find, tmp_path: Path) -> None:
    """A change may be in either."""
    sqlite3.connect(tmp_path / "a.db").close()
    parts, _ = find(lambda: (sqlite3.connect("a.db").close(), sqlite3.connect(f"file:{tmp_path}/a.db?mode=ro", uri=True).close()))
    assert parts == {("file", "a.db"), ("file", "a.db-wal")}


def test_variables_that_the_step_sets_itself_do_not_count(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it reads before do."""
    monkeypatch.setenv("A", "1")

    def work() -> None:
        os.environ["B"] = os.environ["A"]
        assert os.environ["B"] == "1"
        del os.environ["B"]

    assert find(work) == ({("variable", "A")}, ())


def test_what_the_standard_library_asks_for_itself_does_not_count(find: Find) -> None:
    """But what it passes on does."""
    parts, _ = find(lambda: (__import__("tempfile").gettempdir(), os.path.expanduser("~"), __import__("mimetypes").guess_type("a.csv")))
    assert parts == {("variable", "HOME")}


def test_a_search_for_a_program_counts_by_where_it_looks(find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it comes."""
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "tool").touch(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in ("one", "two", "three")))
    parts, _ = find(lambda: shutil.which("tool"))
    assert parts == {("variable", "PATH"), ("file", "one/tool (permissions)"), ("file", "two/tool (permissions)")}


def test_the_folder_from_which_a_run_is_begun_counts_where_the_step_can_tell(find: Find, tmp_path: Path) -> None:
    """By a relative path, or by asking."""
    here, path = (KeyPart(kind="variable", name=name, digest="") for name in ("(working folder)", "(path of the working folder)"))
    before = [(part.name, Now(tmp_path).digest(part)) for part in (here, path)]
    (tmp_path / "a").touch()
    asking = [lambda: os.getcwd(), lambda: os.path.abspath("a"), lambda: Path.cwd(), lambda: os.getcwdb()]
    # A path that is only opened may lead elsewhere tomorrow, if the project does too.
    for ask, expected in [*((ask, before[::-1]) for ask in (asking if _MODERN else asking[1:3])), (lambda: open("a").close(), before[:1])]:
        recording = Recorder(tmp_path).recording(ask, frozenset(), 1)
        with recording:
            ask()
        assert [(part.name, part.digest) for part in recording.trace().parts if part.kind == "variable"] == expected
    (tmp_path / "sub").mkdir()
    os.chdir(tmp_path / "sub")
    assert Now(tmp_path).digest(here) != before[0][1]
    assert Now(tmp_path / "sub").digest(here) == before[0][1]


def test_a_table_of_polars_that_is_shown_as_text_counts_with_the_variables_that_say_how(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its native code reads them by itself; those that the step sets are its own."""
    monkeypatch.setenv("POLARS_FMT_MAX_ROWS", "4")
    frame = pl.DataFrame({"a": range(9)})
    assert find(lambda: frame.sum()) == (set(), ())
    shown = find(lambda: str(frame))[0]
    assert {("variable", "POLARS_FMT_MAX_ROWS"), ("variable", "POLARS_TABLE_WIDTH")} < shown == find(lambda: repr(frame["a"]))[0]

    def show() -> str:
        pl.Config.set_tbl_rows(2)
        return str(frame)

    assert ("variable", "POLARS_FMT_MAX_ROWS") not in find(show)[0]


def test_going_through_all_variables_shows_none_of_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what differs between two shells does not count."""
    monkeypatch.setenv("RATE", "3")
    recording = Recorder(tmp_path).recording(print, frozenset(), 1)
    with recording:
        (lambda: dict(os.environ))()
    texts = {part.name: part.text for part in recording.trace().parts}
    assert texts["RATE"] == ""
    assert "SHLVL" not in texts


def test_bytes_of_the_environment_are_the_same_variables(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both views share what they hold."""
    monkeypatch.setenv("RATE", "3")
    assert find(lambda: os.environb[b"RATE"]) == ({("variable", "RATE")}, ())


def test_a_variable_that_looks_secret_shows_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is enough to notice a change."""
    monkeypatch.setenv("API_TOKEN", "abc")
    monkeypatch.setenv("RATE", "3")
    now = Now(tmp_path)
    assert now.text(KeyPart(kind="variable", name="API_TOKEN", digest="")) == ""
    assert now.text(KeyPart(kind="variable", name="RATE", digest="")) == "'3'"


def test_the_environment_is_itself_again_afterwards() -> None:
    """Also when the call fails."""
    kind = type(os.environ)
    recording = Recorder(Path.cwd()).recording(print, frozenset(), 1)
    with pytest.raises(KeyError), recording:
        os.environ["PLIMSOLL_SURELY_NOT_SET"]
    assert type(os.environ) is kind


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    """The time of the last change of its entry cannot be set back."""
    now, part, path = Now(tmp_path), KeyPart(kind="file", name="a", digest=""), tmp_path / "a"
    path.write_text("1")
    before, state = now.digest(part), path.stat()
    path.write_text("2")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert now.digest(part) != before


def test_a_change_within_one_tick_of_the_clock_is_noticed(find: Find, tmp_path: Path) -> None:
    """Files as young as that are read when they are opened, since nothing else would show the change."""
    (tmp_path / "a").write_text("1")

    def work() -> None:
        Path("a").read_text()
        state = os.stat("a")
        descriptor = os.open("a", os.O_WRONLY)
        os.write(descriptor, b"2")
        os.close(descriptor)
        os.utime("a", ns=(state.st_atime_ns, state.st_mtime_ns))

    assert "read and rewrote a" in find(work)[1]


def test_trouble_in_recording_leaves_the_step_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result stands and is not kept."""
    (tmp_path / "a").write_text("1")
    recording = Recorder(tmp_path).recording(print, frozenset(), 1)
    with recording:
        assert recording._found is not None
        monkeypatch.setattr(recording._found, "read", lambda path: 1 / 0)
        assert (tmp_path / "a").read_text() == "1"
    assert recording.trace().effects == ("could not be traced (ZeroDivisionError: division by zero)",)


def test_a_child_process_is_an_effect_but_not_what_libraries_ask_of_the_machine(find: Find) -> None:
    """``platform`` runs ``uname`` to know the processor."""
    platform = __import__("platform")
    assert find(lambda: subprocess.run(["true"], check=True))[1] == ("ran another program (true)",)
    assert find(platform.processor)[1] == ()


@pytest.mark.skipif(not _MODERN, reason="Python 3.11 does not see which code runs")
def test_code_that_static_reading_has_missed_counts_with_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here nothing but the call itself leads to it."""
    (tmp_path / "plug.py").write_text("RATE = 2\ndef rate():\n    return RATE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plug = __import__("plug")
    monkeypatch.delitem(sys.modules, "plug")
    monkeypatch.setitem(sys.modules, "plug", plug)
    held = {"rate": plug.rate}
    recording = Recorder(tmp_path).recording(print, frozenset(), 1)
    with recording:
        held["rate"]()
    (part,) = recording.trace().parts
    assert (part.kind, part.name) == ("module", "plug")
    assert Now(tmp_path).digest(part) == part.digest
    plug.RATE = 3
    assert Now(tmp_path).digest(part) != part.digest


def test_a_look_for_installed_packages_reads_nothing_of_the_users(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks have the working folder on their path by an empty name, which is looked through each time."""
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    parts, effects = find(lambda: metadata.version("polars"))
    assert parts == {("environment", "polars")}
    assert effects == ()


def test_what_runs_because_memory_is_collected_is_no_part_of_the_step(find: Find) -> None:
    """Test tools and monitors hang functions there; which step they run in is chance."""
    gc.callbacks.append(hung := lambda phase, info: attr.has(int))
    try:
        parts, _ = find(gc.collect)
    finally:
        gc.callbacks.remove(hung)
    assert parts == set()


def test_names_that_are_no_text_make_a_result_unfit_and_end_no_run(find: Find, tmp_path: Path) -> None:
    """A key is text."""
    name = os.fsdecode(b"a\xff")
    (tmp_path / name).write_text("1")
    parts, effects = find(lambda: Path(name).read_text())
    assert parts == set()
    assert len(effects) == 1
    assert "named a file by bytes that are no text" in effects[0]


def test_a_file_whose_name_ends_like_a_question_is_itself(find: Find, tmp_path: Path) -> None:
    """Not the file without that end."""
    for name in ("a (is there)", "a (size)", "a"):
        (tmp_path / name).write_text(name)
    parts, _ = find(lambda: [Path(name).read_text() for name in ("a (is there)", "a (size)")])
    assert parts == {("file", "a (is there) (content)"), ("file", "a (size) (content)")}


def test_zones_and_the_like_that_are_read_once_a_process_do_not_count(find: Find) -> None:
    """Else the first step that needs one would have another key than the second."""
    zoneinfo = __import__("zoneinfo")
    zoneinfo.ZoneInfo.clear_cache()
    assert find(lambda: zoneinfo.ZoneInfo("Europe/Lisbon"))[0] == set()


class _Dying:
    """Lets go of what it holds by code of an installed package."""

    def __del__(self) -> None:
        pytest.approx(1)
        Path("last").exists()


def test_the_last_acts_of_objects_do_not_count(find: Find) -> None:
    """They may be of an earlier step, whenever the collector comes to them."""

    def work() -> None:
        cycle = [_Dying()]
        cycle.append(cycle)  # type: ignore[arg-type]
        del cycle
        gc.collect()

    assert find(work) == (set(), ())


def test_what_a_library_runs_for_itself_in_threads_that_python_does_not_list_does_not_count(find: Find) -> None:
    """Such as a debugger's."""
    begun, asked, done, more = threading.Event(), threading.Event(), threading.Event(), threading.Event()
    beside = """
    def beside():
        begun.set()
        asked.wait(60)
        pytest.approx(1)
        threading.current_thread()  # from now on there is an object for it
        os.environ.get("BESIDE")
        done.set()
        more.wait(60)
    """
    named = {"begun": begun, "asked": asked, "done": done, "more": more, "pytest": pytest, "threading": threading, "os": os}
    exec(compile(dedent(beside), str(Path(pytest.__file__)), "exec"), named)
    _thread.start_new_thread(named["beside"], ())  # type: ignore[arg-type]
    assert begun.wait(60)

    def work() -> None:
        asked.set()
        assert done.wait(60)

    assert find(work) == (set(), ())
    more.set()


@pytest.mark.skipif(not _MODERN, reason="Python 3.11 cannot watch calls of C functions")
def test_a_file_whose_path_a_package_is_given_counts(find: Find, tmp_path: Path) -> None:
    """Its native code may read it without telling Python; text that could name no file is not looked for."""
    (tmp_path / "in.bin").write_bytes(b"0")
    (tmp_path / "plain").write_bytes(b"0")
    take = pl.col
    assert find(lambda: (take("in.bin"), take("plain"), take("gone.bin")))[0] == {("file", "in.bin")}


@pytest.mark.skipif(not _MODERN, reason="Python 3.11 cannot watch calls of C functions")
def test_a_place_that_always_gives_the_same_word_is_told_from_one_that_may_give_a_path(find: Find, tmp_path: Path) -> None:
    """The first need not be told of again."""
    (tmp_path / "in.bin").write_bytes(b"0")
    take = pl.col

    def work() -> None:
        for number in range(3):
            take("a_column")
            take("in.bin" if number else "a_column")

    assert find(work)[0] == {("file", "in.bin")}


@pytest.mark.skipif(_MODERN, reason="later Pythons watch each place once")
def test_only_code_that_may_lead_anywhere_is_watched_call_by_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is slow; the readers of libraries tell of themselves, however they came to the code that calls them."""
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("a\n1\n")

    def inside() -> None:
        import pandas

        pandas.read_csv("a.csv")

    def by_a_helper(reader: Any = pd.read_csv) -> None:
        from pandas import read_csv as read

        assert read("a.csv").equals(reader("a.csv"))

    def other(library: Any = pl) -> None:
        library.read_csv("a.csv")

    def renamed() -> None:
        from polars import read_csv as read

        read("a.csv")

    def by_name(name: str = "read_csv") -> None:
        getattr(pl, name)("a.csv")

    watched = []
    for work in (
        lambda: pd.read_csv("a.csv"),
        inside,
        by_a_helper,
        lambda: pl.read_csv("a.csv"),
        other,
        renamed,
        lambda: take("a.csv"),
        by_name,
    ):
        recording = Recorder(tmp_path).recording(work, {"pandas", "polars"}, 1)
        with recording:
            watched.append(sys.gettrace() is not None)
            work()
        assert ("file", "a.csv") in {(part.kind, part.name) for part in recording.trace().parts}
    assert watched == [False] * 7 + [True]
