from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from plimsoll.cli.output import Format, Id, next_step, show_answer, show_list, show_record, when
from plimsoll.records.run import SeriesSummary

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


def test_columns_stand_below_each_other_whatever_script_they_are_in(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["plain", "日本語", "한글 x", "😀", "👨\u200d👩\u200d👧 ok", "e\u0301te\u0301", "\U0001f1e9\U0001f1ea"]
    show_list([{"name": name, "auc": 0.5} for name in names], Format(), "")
    lines = capsys.readouterr().out.splitlines()
    assert {cell_len(line[: line.index("auc" if number == 0 else "0.5")]) for number, line in enumerate(lines)} == {8}
    show_record({}, Format(), {"名前": "a", "id": "b", "tags": {"色": "c", "long name": "d"}})
    assert capsys.readouterr().out.splitlines() == ["名前  a", "id    b", "tags", "  色         c", "  long name  d"]


def test_a_program_gets_an_id_whole_and_a_person_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": Id("0123456789abcdef" * 2)}]
    for form, shown in ((Format(json=True), '[{"id":"0123456789abcdef0123456789abcdef"}]\n'), (Format(csv=True), f"id\n{rows[0]['id']}\n")):
        show_list(rows, form, "")
        assert capsys.readouterr().out == shown
    show_list(rows, Format(), "")
    assert capsys.readouterr().out == "id\n0123456789abcdef\n"


def test_a_program_gets_a_time_exactly_and_with_its_zone_and_a_person_its_second(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"at": when(1_763_713_019_000_001), "ended": when(None)}]
    show_list(rows, Format(json=True), "")
    assert capsys.readouterr().out == '[{"at":"2025-11-21T08:16:59.000001Z","ended":null}]\n'
    show_list(rows, Format(csv=True), "")
    assert capsys.readouterr().out == "at,ended\n2025-11-21T08:16:59.000001Z,\n"
    show_list(rows, Format(), "")
    assert capsys.readouterr().out == "at                   ended\n2025-11-21 08:16:59  -\n"
    show_list(rows, Format(md=True), "")
    assert capsys.readouterr().out.splitlines()[-1] == "| 2025-11-21 08:16:59 | - |"


def test_a_program_gets_every_digit_and_nothing_for_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{"auc": 0.1 + 0.2, "loss": None, "all": {"x": 1 / 3}}, {"auc": math.nan, "loss": 5e-324, "all": {}}]
    show_list(rows, Format(csv=True), "")
    assert capsys.readouterr().out == "auc,loss,all\n0.30000000000000004,,x=0.3333333333333333\nnan,5e-324,\n"
    show_list(rows[:1], Format(), "")
    assert capsys.readouterr().out == "auc  loss  all\n0.3  -     x=0.333333\n"


def test_json_tells_nan_and_infinities_from_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"nan": math.nan, "most": math.inf, "least": -math.inf, "zero": -0.0, "none": None, "text": "null"}
    shown = '{"nan":"nan","most":"inf","least":"-inf","zero":-0.0,"none":null,"text":"null"}'
    show_list([values], Format(json=True), "")
    assert capsys.readouterr().out == f"[{shown}]\n"
    show_record({"deep": [values, {1: math.nan}]}, Format(json=True), {})
    assert capsys.readouterr().out == f'{{"deep":[{shown},{{"1":"nan"}}]}}\n'
    show_answer(SeriesSummary(name="a", count=1, last=math.nan, min=0.5, max=0.5, last_step=0, last_time=0), Format(json=True), [], [])
    assert capsys.readouterr().out.startswith('{"name":"a","count":1,"last":"nan","min":0.5,')


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


def test_what_a_terminal_would_obey_is_shown_and_what_is_long_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([{"name": "a\x1b]0;owned\x07\x00b\x9b2J", "path": "ünï\tx"}], Format(), "")
    assert capsys.readouterr().out == "name                          path\na\\x1b]0;owned\\x07\\x00b\\x9b2J  ünï\tx\n"
    record = {"params": {"long": "x" * 100_000}, "error": "e" * 5000}
    show_record(record, Format(), record)
    long, error = capsys.readouterr().out.splitlines()[1:]
    assert long == f"  long  {'x' * 2000} … 100,000 characters; --json has all"
    assert error.endswith("e" * 5000)


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
