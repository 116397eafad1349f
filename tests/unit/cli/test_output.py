from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.cli.output import Format, Id, next_step, show_list, show_record, when

ROWS = [{"name": "one", "reason": "[money] fails: 1 | 2", "share": 0.123456789}, {"name": "two", "reason": "first\nsecond", "share": None}]


def test_a_list_for_a_program_is_json_with_nothing_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(ROWS, Format(json=True), "nothing")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == ROWS
    assert captured.err == ""


def test_an_empty_list_is_said_on_stderr_and_is_empty_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([], Format(), "No runs yet.")
    assert capsys.readouterr() == ("", "No runs yet.\n")
    show_list([], Format(json=True), "No runs yet.")
    assert capsys.readouterr() == ("[]\n", "")


def test_a_list_through_a_pipe_has_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(ROWS, Format(), "")
    assert capsys.readouterr().out.splitlines() == [
        "name  reason                share",
        "one   [money] fails: 1 | 2  0.123457",
        "two   first second          -",
    ]


def test_a_program_gets_an_id_whole_and_a_person_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": Id("0123456789abcdef" * 2)}]
    for form, shown in ((Format(json=True), '[{"id":"0123456789abcdef0123456789abcdef"}]\n'), (Format(csv=True), f"id\n{rows[0]['id']}\n")):
        show_list(rows, form, "")
        assert capsys.readouterr().out == shown
    show_list(rows, Format(), "")
    assert capsys.readouterr().out == "id\n0123456789abcdef\n"


def test_csv_and_markdown_escape_what_would_break_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([{"a": 'x,"y', "b": "1\n2"}], Format(csv=True), "")
    assert capsys.readouterr().out == 'a,b\n"x,""y","1\n2"\n'
    show_list([{"a": "x|y", "b": "1\n2"}], Format(md=True), "")
    assert capsys.readouterr().out == "| a | b |\n| --- | --- |\n| x\\|y | 1 2 |\n"


def test_a_terminal_shows_brackets_as_they_are(tmp_path: Path) -> None:
    script = tmp_path / "show.py"
    script.write_text(
        "from plimsoll.cli.output import Format, show_list\n"
        "show_list([{'check': '[money]', 'reason': '[/] [red]late[/red] :ship:'}], Format(), '')\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, str(script)], stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert "[money]" in shown
    assert "[/] [red]late[/red] :ship:" in shown


def test_a_record_is_indented_and_its_json_is_the_whole_record(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {"model": "late/1", "costs": {"missed": 3.0}, "grants": ["dana", "omar"], "alias": None, "live": True, "empty": ()}
    show_record({"whole": 1}, Format(), lines)
    assert capsys.readouterr().out.splitlines() == [
        "model   late/1",
        "costs",
        "  missed  3",
        "grants",
        "  dana",
        "  omar",
        "alias   -",
        "live    yes",
        "empty   -",
    ]
    show_record({"whole": 1}, Format(json=True), lines)
    assert json.loads(capsys.readouterr().out) == {"whole": 1}
    show_record({"whole": 1}, Format(csv=True), {"model": "late/1"})
    assert capsys.readouterr().out == "field,value\nmodel,late/1\n"


def test_times_are_utc_and_hints_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert (when(0), when(None)) == ("1970-01-01 00:00:00", "-")
    next_step("plimsoll up")
    assert capsys.readouterr() == ("", "next: plimsoll up\n")
