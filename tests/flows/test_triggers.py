"""The way of a trigger: from what happens to a run of its own, through a real server and its worker."""

from __future__ import annotations

import httpx
import polars as pl
import pytest

from plimsoll.data.values import save
from plimsoll.records.access import AddActor
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.pipelines.trigger import Firing, ListFirings, ListTriggers
from plimsoll.records.run import GetRun, Run
from plimsoll.records.tracking.find import SearchRuns
from tests.flows.real_platform import PATIENCE, Platform, until

pytestmark = pytest.mark.slow

DATABASES = ("postgresql",)


def command(platform: Platform, *words: str) -> str:
    done = platform.command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fired(platform: Platform, trigger: str) -> list[Firing]:
    """Return a trigger's firings whose job has ended, oldest first."""
    found = platform.author.do(ListFirings(trigger=trigger))
    return [firing for firing in reversed(found) if firing.job_state in ("done", "failed")]


def run_of(platform: Platform, firing: Firing) -> Run:
    assert firing.run_id is not None
    found = platform.author.do(GetRun(id=firing.run_id)).run
    assert (found.cause.kind, found.cause.id) == ("trigger", firing.id)
    return found


def test_a_program_with_a_token_of_its_own_fires_over_http_and_the_same_key_fires_once(platform: Platform) -> None:
    command(platform, "triggers", "set", "hook", "--on", "call", "--pipeline", "chain.py:chain", "--param", "count=3")
    token = platform.author.do(AddActor(name="hook", roles=("read", "write"), person=False)).token
    for _ in range(2):
        answer = httpx.post(
            f"{platform.url}/api/v1/FireTrigger",
            json={"name": "hook", "key": "delivery-7", "params": {"count": 4}},
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
    (firing,) = until(lambda: fired(platform, "hook"), "the job has ended")
    found = run_of(platform, firing)
    assert (found.state, found.author, found.params["count"]) == ("finished", "hook", 4)
    refused = httpx.post(f"{platform.url}/api/v1/FireTrigger", json={"name": "hook"}, trust_env=False, timeout=PATIENCE)
    assert refused.status_code == 401


def test_a_new_snapshot_starts_a_run_also_when_the_worker_was_killed_before_it_saw_it(platform: Platform) -> None:
    command(platform, "triggers", "set", "arrived", "--on", "snapshot", "--dataset", "parcels", "--pipeline", "chain.py:chain")
    platform.kill()
    platform.start()
    output = save(pl.DataFrame({"x": [1, 2]}), platform.author.blobs, platform.project)
    platform.author.do(RegisterSnapshot(name="parcels", digest=output.digest))
    (firing,) = until(lambda: fired(platform, "arrived"), "the job has ended")
    assert firing.values["snapshot"] == output.digest
    assert run_of(platform, firing).state == "finished"


def test_a_table_of_the_project_is_applied_when_it_is_served_and_a_schedule_has_its_next_time(platform: Platform) -> None:
    table = platform.project / "pyproject.toml"
    before = table.read_text()
    rule = '\n[tool.plimsoll.triggers.nightly]\non = "schedule"\ncron = "0 3 * * *"\nzone = "Europe/Berlin"\npipeline = "chain.py:chain"\n'
    table.write_text(before + rule)
    platform.kill()
    platform.start()
    found = {trigger.name: trigger for trigger in platform.author.do(ListTriggers())}
    assert found["nightly"].declared
    assert found["nightly"].next is not None
    table.write_text(before)
    platform.kill()
    platform.start()
    assert "nightly" not in [trigger.name for trigger in platform.author.do(ListTriggers())]


def test_a_submitted_run_is_followed_to_its_end(platform: Platform) -> None:
    id = command(platform, "submit", "chain.py:chain", "--set", "count=5", "--wait").strip()
    found = platform.author.do(GetRun(id=id)).run
    assert (found.state, found.params["count"]) == ("finished", 5)
    missing = platform.command("submit", "chain.py:nothing", "--wait")
    assert (missing.returncode, missing.stdout) == (4, "")
    assert len([listed for listed in platform.author.do(SearchRuns()).runs if listed.run.params.get("count") == 5]) == 1
