"""What is wrong with a command line is told in the form of all errors, in words about the command."""

from __future__ import annotations

import pytest

from plimsoll.cli import app


@pytest.mark.parametrize(
    ("line", "fact", "help"),
    [
        ("cache why", "plimsoll cache why needs RUN.", "plimsoll cache why --help"),
        ("runs diff a", "plimsoll runs diff needs NEW.", "plimsoll runs diff --help"),
        ("search pipe.py:flow", "plimsoll search needs --trials.", "plimsoll search --help"),
        ("run --set", "--set needs a value.", "plimsoll run --help"),
        ("run --bisect a", "--bisect needs 2 values.", "plimsoll run --help"),
        ("run a b c", "plimsoll run does not take b c.", "plimsoll run --help"),
        ("run --nope", "Unknown option: --nope.", "plimsoll run --help"),
    ],
)
def test_a_wrong_command_line_says_what_it_needs(
    line: str, fact: str, help: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["plimsoll", *line.split()])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {fact}\nfix:   Run: {help}\n"
