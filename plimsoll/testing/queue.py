"""What every :class:`~plimsoll.store.contracts.Queue` must do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from plimsoll import clock
from plimsoll.errors import InvalidInput, NotFound, to_wire
from plimsoll.records.access import AddActor, Job, WhoAmI
from plimsoll.store.contracts import Database, Queue

_LONG = 3600.0


class QueueSuite:
    """Derive from it and override :meth:`database` and :meth:`queue`."""

    @pytest.fixture
    def database(self) -> Database:
        """Return a fresh database."""
        raise NotImplementedError("Override the fixture 'database'.")

    @pytest.fixture
    def queue(self) -> Queue:
        """Return the queue."""
        raise NotImplementedError("Override the fixture 'queue'.")

    def test_a_request_goes_through_the_queue_whole(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            put = queue.put(tx, AddActor(name="dana", roles=("read", "write")), actor="admin")
        assert (put.state, put.attempts, put.verb) == ("waiting", 0, "AddActor")
        assert put.payload == {"name": "dana", "roles": ["read", "write"], "person": True}
        with database.write() as tx:
            claimed = queue.claim(tx, "w1", _LONG)
        assert claimed is not None
        assert (claimed.id, claimed.state, claimed.attempts, claimed.payload) == (put.id, "working", 1, put.payload)
        with database.write() as tx:
            assert queue.beat(tx, put.id, "w1", _LONG, "half")
            assert queue.beat(tx, put.id, "w1", _LONG, None)
            assert queue.get(tx, put.id).progress == "half"
            assert queue.finish(tx, put.id, "w1", {"ok": 1}, None)
        with database.read() as tx:
            done = queue.get(tx, put.id)
            assert queue.list(tx, "done", 10) == (done,)
            assert queue.list(tx, "waiting", 10) == ()
        assert (done.state, done.result, done.error) == ("done", {"ok": 1}, None)

    def test_an_error_fails_the_job_and_is_kept(self, database: Database, queue: Queue) -> None:
        error = to_wire(InvalidInput("No.", "Do.", field="x"))
        with database.write() as tx:
            job = queue.put(tx, WhoAmI(), actor="a")
            queue.claim(tx, "w1", _LONG)
            assert queue.finish(tx, job.id, "w1", None, error)
            assert queue.get(tx, job.id).error == error
            assert queue.get(tx, job.id).state == "failed"
            assert queue.claim(tx, "w1", _LONG) is None

    def test_the_oldest_due_job_comes_first_and_none_before_its_time(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            later = queue.put(tx, WhoAmI(), actor="a", due=clock.now() - 10_000_000)
            first = queue.put(tx, WhoAmI(), actor="a", due=clock.now() - 20_000_000)
            queue.put(tx, WhoAmI(), actor="a", due=clock.now() + 3600 * 1_000_000)
            assert queue.due(tx)
            claimed = [queue.claim(tx, "w1", _LONG) for _ in range(3)]
            assert not queue.due(tx)
        assert [job and job.id for job in claimed] == [first.id, later.id, None]

    def test_a_job_whose_lease_ran_out_goes_to_another_worker(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            job = queue.put(tx, WhoAmI(), actor="a")
            queue.claim(tx, "dead", 0)
        with database.read() as tx:
            assert queue.due(tx)
        with database.write() as tx:
            taken = queue.claim(tx, "alive", _LONG)
            assert taken is not None
            assert (taken.id, taken.attempts) == (job.id, 2)
            assert not queue.beat(tx, job.id, "dead", _LONG, "still here")
            assert not queue.finish(tx, job.id, "dead", {"from": "dead"}, None)
            assert queue.get(tx, job.id).state == "working"
            assert queue.finish(tx, job.id, "alive", {"from": "alive"}, None)
            assert queue.get(tx, job.id).result == {"from": "alive"}

    def test_a_clock_that_is_set_back_a_year_holds_no_job_up(
        self, database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with database.write() as tx:
            taken, waiting = queue.put(tx, WhoAmI(), actor="a"), queue.put(tx, WhoAmI(), actor="b")
            later = queue.put(tx, WhoAmI(), actor="c", due=clock.now() + 3_600_000_000)
            assert queue.claim(tx, "w1", _LONG) is not None
        before = clock.now() - 365 * 86_400_000_000
        monkeypatch.setattr("plimsoll.clock.now", lambda: before)
        with database.write() as tx:
            assert queue.due(tx)
            claimed = [queue.claim(tx, "w2", _LONG) for _ in range(3)]
        assert {job.id for job in claimed if job is not None} == {taken.id, waiting.id}
        assert claimed[2] is None
        with database.read() as tx:
            assert queue.get(tx, later.id).state == "waiting"

    def test_a_beat_keeps_the_lease(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            job = queue.put(tx, WhoAmI(), actor="a")
            queue.claim(tx, "w1", 0)
            assert queue.beat(tx, job.id, "w1", _LONG, "")
        with database.write() as tx:
            assert queue.claim(tx, "w2", _LONG) is None

    def test_a_worker_that_was_not_replaced_may_finish_late(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            job = queue.put(tx, WhoAmI(), actor="a")
            queue.claim(tx, "slow", 0)
        with database.write() as tx:
            assert queue.finish(tx, job.id, "slow", 1, None)
            assert not queue.finish(tx, job.id, "slow", 2, None)
            assert queue.get(tx, job.id).result == 1

    def test_a_job_that_keeps_killing_its_workers_fails(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            job = queue.put(tx, WhoAmI(), actor="a")
            following = queue.put(tx, WhoAmI(), actor="a", due=clock.now() + 1)
        attempts = 0
        while True:
            with database.write() as tx:
                claimed = queue.claim(tx, f"w{attempts}", 0 if attempts < 20 else _LONG)
            if claimed is None or claimed.id == following.id:
                break
            attempts += 1
            assert attempts < 20
        with database.read() as tx:
            failed = queue.get(tx, job.id)
        assert failed.state == "failed"
        assert failed.error["code"] == "unavailable"
        assert failed.attempts == attempts > 1

    def test_one_key_is_one_job_until_it_ends(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            first = queue.put(tx, WhoAmI(), actor="a", key="k")
            assert queue.put(tx, WhoAmI(), actor="a", key="k").id == first.id
            assert queue.put(tx, WhoAmI(), actor="a", key="other").id != first.id
            queue.claim(tx, "w1", _LONG)
            assert queue.put(tx, WhoAmI(), actor="a", key="k").id == first.id
            queue.finish(tx, first.id, "w1", None, None)
            assert queue.put(tx, WhoAmI(), actor="a", key="k").id != first.id

    def test_no_two_workers_get_the_same_job(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            jobs = {queue.put(tx, WhoAmI(), actor="a").id for _ in range(20)}

        def claim(number: int) -> Job | None:
            with database.write() as tx:
                return queue.claim(tx, f"w{number}", _LONG)

        with ThreadPoolExecutor(4) as pool:
            claimed = [job.id for job in pool.map(claim, range(24)) if job is not None]
        assert sorted(claimed) == sorted(jobs)

    def test_a_worker_may_ask_for_some_verbs_only(self, database: Database, queue: Queue) -> None:
        with database.write() as tx:
            older = queue.put(tx, WhoAmI(), actor="a")
            job = queue.put(tx, AddActor(name="dana"), actor="a", due=clock.now() + 1)
        while clock.now() <= job.due:
            pass
        with database.write() as tx:
            assert not queue.due(tx, ("ListJobs",))
            assert queue.claim(tx, "w1", _LONG, ("ListJobs",)) is None
            assert queue.due(tx, ("ListJobs", "AddActor"))
            claimed = queue.claim(tx, "w1", _LONG, ("ListJobs", "AddActor"))
            assert claimed is not None
            assert claimed.id == job.id
            assert not queue.due(tx, ("AddActor",))
            assert queue.get(tx, older.id).state == "waiting"

    def test_an_unknown_job_is_not_found(self, database: Database, queue: Queue) -> None:
        with database.read() as tx, pytest.raises(NotFound):
            queue.get(tx, "none")

    def test_a_job_is_there_exactly_when_its_transaction_is(self, database: Database, queue: Queue) -> None:
        def fail() -> None:
            with database.write() as tx:
                queue.put(tx, WhoAmI(), actor="a")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with database.read() as tx:
            assert queue.list(tx, None, 10) == ()
