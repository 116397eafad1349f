"""What the tests of the command line share: the table of commands, a filled home, and what a command said."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Seconds for which a command is waited for: what must end, ends on a slow machine, too.
LIMIT = 300.0

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
    "runs diff BEFORE AFTER",
    "experiments list",
    "experiments show Default",
    "cache show",
    "cache why AFTER begin",
    "search list",
    "search show SEARCH",
    "search best SEARCH",
    "search importances SEARCH",
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
    "jobs show JOB",
    "triggers list",
    "triggers history",
    "events list",
    "webhooks list",
)

#: Commands that change something in a home that is there.
CHANGES = (
    "runs delete RUN",
    "runs restore RUN",
    "experiments rename Default trials",
    "experiments delete Default",
    "experiments restore Default",
    "checks run late/1",
    "models trust late/2 --reason seen",
    "models pack late/3",
    "models alias late/3 best",
    "models tag late/3 seen=yes",
    "models rename late later",
    "models delete late/3",
    "releases create late/3",
    "releases reject PROPOSED --reason no",
    "releases roll APPROVED",
    "approve PROPOSED",
    "deployments rollback late --reason worse",
    "deployments kill late --reason fire",
    "deployments revive late --reason out",
    "alerts ack ALERT",
    "triggers set hourly --on schedule --cron '0 * * * *' --pipeline works.py:chain",
    "triggers fire nightly",
    "triggers remove nightly",
    "actors add nina read",
    "webhooks remove HOOK",
    "import mlflow mlruns",
)

#: Commands that need a home, and none of the above.
OTHERS = (
    "events verify",
    "webhooks try HOOK",
    "runs series RUN loss",
    "runs download RUN --to out",
    "cache verify",
    "cache prune --keep-last 1",
    "collect",
    "reproduce AFTER",
    "run --bisect BEFORE AFTER",
    "submit works.py:chain",
    "export out",
)

#: Commands that are done where the home is, by whoever can read it.
LOCAL = ("backup ../backup",)

#: Commands that make the home they need.
SEARCH = "search works.py:chain --trials 2 --space count=int(1,3) --maximize begin --executor in_process"
BEGINNERS = ("init", "run works.py:chain", SEARCH, "up --port 0 --serving-port 0")

#: Every command that asks the platform for something.
ASKING = (*LOOKS, *OTHERS, *CHANGES, "run works.py:chain", SEARCH)


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


def process(*words: str, folder: Path, **variables: str) -> Said:
    """Run a command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "plimsoll.cli.app", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
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
        # Its pages, those in the log included: texts of all rows take ten times as long.
        return hashlib.sha256(connection.serialize()).hexdigest()
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


def project(folder: Path) -> Path:
    """Write a project without a home."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "works.py").write_text(WORKS)
    (folder / "mlruns" / "7").mkdir(parents=True, exist_ok=True)
    (folder / "mlruns" / "7" / "meta.yaml").write_text("experiment_id: '7'\nlifecycle_stage: active\nname: moved\n")
    return folder
