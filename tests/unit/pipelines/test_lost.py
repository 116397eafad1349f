"""A pipeline's run whose process is gone is seen as lost, and the next run with its key goes on with it."""

from __future__ import annotations

from sqlalchemy import update

from plimsoll.records.run import GetRun, StartRun
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.runs.described import SILENCE
from plimsoll.store.tables.tracking import runs
from tests.unit.pipelines.bench import Bench

FLOW = """
    from plimsoll.pipelines.step import pipeline, step

    @step
    def one():
        return 1

    @pipeline
    def flow():
        return one()
"""


def test_a_pipelines_run_whose_process_fell_silent_is_lost(bench: Bench) -> None:
    bench.write("pipe.py", FLOW)
    bench.run()
    (run,) = (detail.run for detail in bench.do(SearchRuns()).runs)
    with bench.workspace.stores.database.write() as tx:
        # As a process that is killed leaves it, a while later.
        later = update(runs).where(runs.c.id == run.id, runs.c.seen.is_not(None))
        assert tx.execute(later.values(state="running", ended=None, seen=runs.c.seen - 10 * SILENCE)).rowcount == 1
    assert [detail.run.state for detail in bench.do(SearchRuns()).runs] == ["lost"]


def test_a_run_that_was_lost_goes_on_under_its_key(bench: Bench) -> None:
    begun = bench.do(StartRun(key="again", beats=True))
    with bench.workspace.stores.database.write() as tx:
        tx.execute(update(runs).where(runs.c.id == begun.id).values(seen=runs.c.seen - 10 * SILENCE))
    assert bench.do(GetRun(id=begun.id)).run.state == "lost"
    assert bench.do(StartRun(key="again", beats=True)).state == "running"
