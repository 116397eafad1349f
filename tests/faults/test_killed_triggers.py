"""A process that fires triggers, killed again and again: no time is lost, none is fired twice, and every firing has its job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.records.access import Actor, ListJobs
from plimsoll.records.pipelines.trigger import ListFirings, ListTriggers, SetTrigger, TriggerRule
from plimsoll.workspace import WORKER, open_workspace

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWNER = Actor(name="dana", roles=("admin",))
MINUTE = 60_000_000
KILLS = 20

#: For each line on stdin, a forked process (which spares its imports) that looks at the triggers as the worker does, with a clock
#: that is told by a file and goes twenty seconds a look.
LOOKS = """
import os, sys
from pathlib import Path

from plimsoll import clock, verbs
from plimsoll.records.pipelines.trigger import FireDue, ListTriggers
from plimsoll.workspace import WORKER, open_workspace

home, told = Path(sys.argv[1]), Path(sys.argv[2])
verbs.load_all()
for _ in sys.stdin:
    if pid := os.fork():
        os.waitpid(pid, 0)
        print("ended", flush=True)
        continue
    time = int(told.read_text())
    clock.now = lambda: time
    workspace = open_workspace(home)
    print(os.getpid(), flush=True)
    while True:
        time += 20_000_000
        if any(trigger.due for trigger in workspace.do(ListTriggers(), WORKER)):
            workspace.do(FireDue(), WORKER)
        draft = told.with_suffix(".new")
        draft.write_text(str(time))
        draft.replace(told)
"""


def test_killed_at_any_point_every_minute_is_fired_once_and_has_one_job(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = clock.from_iso("2026-03-02")
    told = tmp_path / "time"
    told.write_text(str(start))
    workspace = open_workspace(tmp_path / "home", owner="dana", database=database_url)
    (tmp_path / "p.py").write_text("f = None\n")
    rule = TriggerRule(on="schedule", cron="* * * * *", pipeline="p.py:f", catch_up="all", catch_up_limit=1000, concurrency=100)
    with monkeypatch.context() as patched:
        patched.setattr("plimsoll.clock.now", lambda: start)
        workspace.do(SetTrigger(name="often", rule=rule), OWNER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PLIMSOLL_DATABASE": database_url}
    random = clock.generator(7)
    kills = 0
    command = [sys.executable, "-c", LOOKS, str(tmp_path / "home"), str(told)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # On a busy machine a process comes to fire little before it dies: the later ones live longer.
        while kills < KILLS or (kills < 10 * KILLS and len(workspace.do(ListFirings(limit=1000), WORKER)) <= 10):
            kills += 1
            process.stdin.write("\n")
            process.stdin.flush()
            looking = int(process.stdout.readline())
            clock.sleep(random.random() * 0.15 * max(1, kills / KILLS) ** 2)
            os.kill(looking, signal.SIGKILL)
            assert process.stdout.readline() == "ended\n"
    fired = workspace.do(ListFirings(limit=1000), WORKER)
    jobs = workspace.do(ListJobs(limit=1000), WORKER)
    last = max(int(firing.key.partition("/")[2]) for firing in fired)
    (trigger,) = workspace.do(ListTriggers(), WORKER)
    workspace.close()
    assert len(fired) > 10
    assert sorted(firing.key for firing in fired) == sorted(f"schedule/{at}" for at in range(start + MINUTE, last + 1, MINUTE))
    assert trigger.next == last + MINUTE
    started = {firing.job_id: firing.id for firing in fired if firing.state == "started"}
    assert {job.id: job.key for job in jobs} == {job_id: f"firing/{id}" for job_id, id in started.items()}
    assert len(started) == min(100, len(fired))
    assert {firing.state for firing in fired if firing.job_id is None} <= {"held", "skipped"}
