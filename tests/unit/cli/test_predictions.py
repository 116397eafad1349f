"""``plimsoll predictions why``, on a real home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plimsoll.cli.nouns.predictions import why
from plimsoll.cli.output import Format
from plimsoll.records.monitor import AppendPredictions, PredictionColumns
from plimsoll.workspace import PLANE
from tests.unit.yard import open_yard


def test_a_request_sent_again_is_shown_with_its_answer_and_its_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yard = open_yard(tmp_path / "home")
    release = yard.live("one").id
    columns = PredictionColumns(
        request_id=("r",) * 3,
        row=(0,) * 3,
        at=(10, 20, 30),
        unit=("u",) * 3,
        track=("stable",) * 3,
        release_id=(release,) * 3,
        output=(float("nan"), float("nan"), 0.5),
        status=(503, 504, 200),
        latency=(900,) * 3,
        trace=("",) * 3,
        inputs={"a": (1.0,) * 3},
    )
    batch = AppendPredictions(plane="q", sequence=1, model="late", environment="production", rows=columns, counts=())
    yard.workspace.do(batch, PLANE)
    yard.workspace.close()
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    why("r")
    text = capsys.readouterr().out
    shown = [text.index(mark) for mark in ("row 0 (stable)", "status 200", "time 2", "status 503", "time 3", "status 504")]
    assert shown == sorted(shown)
    why("r", form=Format(json=True))
    assert [row["status"] for row in json.loads(capsys.readouterr().out)["rows"]] == [200, 503, 504]
