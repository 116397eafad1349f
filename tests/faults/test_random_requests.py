"""Requests that Schemathesis makes up from the OpenAPI page, valid and invalid ones: the server never fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import verbs
from plimsoll.records.access import ListEvents, VerifyEvents
from plimsoll.sdk.http import HttpDoor
from tests.faults.command_line import Filled, project
from tests.faults.conftest import fill
from tests.faults.served import Served
from tests.repeats import repeats

#: About so many requests.
REQUESTS = repeats(300, 10_000)

#: Seconds.
LIMIT = 40 + REQUESTS / 5


def _known(door: HttpDoor, filled: Filled) -> dict[str, list[str]]:
    """Return names by the fields of requests in which they stand."""
    events = door.do(ListEvents(limit=1000))
    subjects = sorted({event.subject for event in events if ":" in event.subject})
    ids = sorted({subject.partition(":")[2] for subject in subjects} | set(filled.names.values()))
    runs = [filled.names[name] for name in ("RUN", "BEFORE", "AFTER")]
    models, experiments = ["late", "late/1", "late@production", "nightly", "loss"], ["Default", "chain"]
    return {
        "id": ids,
        "digest": [id for id in ids if len(id) == 64] or ids,
        **dict.fromkeys(("run_id", "before", "after", "left", "right"), runs),
        **dict.fromkeys(("model", "name", "ref"), models),
        **dict.fromkeys(("experiment", "experiments"), experiments),
        "environment": ["production", "dev"],
        "subject": subjects,
        "release_id": [filled.names["LIVE"], filled.names["APPROVED"]],
        "search_id": [filled.names["SEARCH"]],
        "request_id": [filled.names["REQUEST"]],
        "pipeline": ["works.py:chain"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_no_request_makes_the_server_fail(
    dialect: str,
    unset: None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    database: str = request.getfixturevalue("sqlite_url" if dialect == "sqlite" else "postgres_url")
    monkeypatch.setenv("PLIMSOLL_DATABASE", database)
    filled = fill(project(tmp_path))
    served = Served(filled.folder / ".plimsoll", database)
    door = HttpDoor(served.url, served.token)
    try:
        cases, found = _run(served, _known(door, filled), tmp_path)
        defects = [line for line in capfd.readouterr().out.splitlines() if line.startswith("defect ")]
        assert (found.returncode, defects) == (0, []), found.stdout[-5000:]
        assert cases >= REQUESTS * 0.9
        assert door.do(VerifyEvents()).broken_at is None
    finally:
        door.close()
        served.close()


def _run(served: Served, known: dict[str, list[str]], folder: Path) -> tuple[int, subprocess.CompletedProcess[str]]:
    """Return how many requests were answered, and how the command ended."""
    # Many requests: those at the edges of what the page allows, too, some 8,000 by themselves.
    phases = "coverage,fuzzing" if REQUESTS > 1000 else "fuzzing"
    each = max(1, round(REQUESTS / (len(verbs.VERBS) + 8)))
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json", "-H", f"Authorization: Bearer {served.token}"]
    command += ["--checks", "not_a_server_error", "--phases", phases, "-n", str(each), "--seed", "20130501", "--continue-on-failure"]
    command += [
        "--suppress-health-check",
        "all",
        "--warnings",
        "off",
        "--no-shrink",
        "--report",
        "ndjson",
        "--report-ndjson-path",
        str(folder / "report"),
    ]
    hooks = Path(__file__).with_name("known_names.py")
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(hooks), "PLIMSOLL_KNOWN": json.dumps(known)}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    return (folder / "report").read_text().count('"status_code"'), done
