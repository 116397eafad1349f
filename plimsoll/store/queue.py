"""Requests that wait for a worker, with leases: a worker that dies gives its job up by saying nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from plimsoll import clock, codec
from plimsoll.errors import NotFound, Unavailable, to_wire
from plimsoll.records.access import Job
from plimsoll.records.request import Json, Request
from plimsoll.store import schema

#: How often a job is begun before it counts as one that kills its workers.
ATTEMPTS = 5

#: Seconds; a lease that would last longer was given by a clock that has been set back since.
LONGEST_LEASE = 86_400.0

_FIELDS = ("id", "verb", "payload", "actor", "state", "due", "attempts", "created", "key", "progress", "result", "error")


class SqlQueue:
    """The queue in the table ``jobs``. At least once: a verb that is queued must bear being done twice."""

    def put(self, tx: Connection, request: Request[Any], actor: str, due: int = 0, key: str | None = None) -> Job:
        """Add a request; with a ``key`` that a waiting or working job has, return that job instead.

        Args:
            tx: an open writing transaction.
            request: the verb to do.
            actor: name of the actor for whom the worker acts.
            due: not before this time, UTC microseconds; 0 for at once.
            key: what makes two requests the same; None when every one counts.
        """
        table = schema.jobs
        if key is not None:
            same = select(table).where(table.c.key == key, table.c.state.in_(("waiting", "working"))).limit(1)
            found = tx.execute(same).first()
            if found is not None:
                return _job(found)
        now = clock.now()
        job = Job(
            id=clock.new_id(),
            verb=type(request).__name__,
            payload=codec.from_json(codec.to_json(request), object),
            actor=actor,
            state="waiting",
            due=due or now,
            attempts=0,
            created=now,
            key=key,
        )
        tx.execute(insert(table).values({name: getattr(job, name) for name in _FIELDS}))
        return job

    def claim(self, tx: Connection, worker: str, lease: float, verbs: Sequence[str] | None = None) -> Job | None:
        """Return the oldest due job that nobody works on, now leased to ``worker``; None when there is none.

        A job whose lease ran out :data:`ATTEMPTS` times is failed instead: it would kill the next worker too.

        Args:
            tx: an open writing transaction.
            worker: name of the worker, its own for each process.
            lease: seconds until another worker may take the job over.
            verbs: names of the verbs to look at; None for all.
        """
        table = schema.jobs
        now = clock.now()
        oldest = select(table).where(_free(now, verbs)).order_by(table.c.due, table.c.id).limit(1).with_for_update(skip_locked=True)
        while (row := tx.execute(oldest).first()) is not None:
            change: dict[str, Any]
            if row.attempts >= ATTEMPTS:
                change = {"state": "failed", "error": _given_up(row.attempts), "worker": None, "lease_until": None}
            else:
                change = {"state": "working", "worker": worker, "attempts": row.attempts + 1, "lease_until": now + _micros(lease)}
            tx.execute(update(table).where(table.c.id == row.id).values(**change))
            if change["state"] == "working":
                return self.get(tx, row.id)
        return None

    def due(self, tx: Connection, verbs: Sequence[str] | None = None) -> bool:
        """Return whether :meth:`claim` has something to do now; a reading transaction is enough.

        Args:
            tx: an open transaction.
            verbs: as for :meth:`claim`.
        """
        return tx.execute(select(schema.jobs.c.id).where(_free(clock.now(), verbs)).limit(1)).first() is not None

    def beat(self, tx: Connection, id: str, worker: str, lease: float, progress: str | None) -> bool:
        """Renew a lease and, unless None, say how far the work is; False when the job has ended or was given to another worker.

        Args:
            tx: an open writing transaction.
            id: the job's id.
            worker: the name that claimed it.
            lease: seconds from now.
            progress: one line, or None to leave it as it is.
        """
        said = {} if progress is None else {"progress": progress}
        return self._change(tx, id, worker, lease_until=clock.now() + _micros(lease), **said)

    def finish(self, tx: Connection, id: str, worker: str, result: Json, error: Json) -> bool:
        """End a job; False (and nothing changes) when it has ended or was given to another worker.

        Args:
            tx: an open writing transaction.
            id: the job's id.
            worker: the name that claimed it.
            result: the verb's result as JSON.
            error: None when it was done; else the error as :func:`plimsoll.errors.to_wire` gives it.
        """
        state = "done" if error is None else "failed"
        return self._change(tx, id, worker, state=state, result=result, error=error, lease_until=None)

    def get(self, tx: Connection, id: str) -> Job:
        """Return a job.

        Args:
            tx: an open transaction.
            id: the job's id.

        Raises:
            NotFound: there is no such job.
        """
        row = tx.execute(select(schema.jobs).where(schema.jobs.c.id == id)).first()
        if row is None:
            raise NotFound(f"There is no job {id!r}.", "Correct the id; it was shown when the job was asked for.")
        return _job(row)

    def list(self, tx: Connection, state: str | None, limit: int) -> tuple[Job, ...]:
        """Return jobs, newest first.

        Args:
            tx: an open transaction.
            state: only jobs in this state; None for all.
            limit: at most so many jobs.
        """
        query = select(schema.jobs).order_by(schema.jobs.c.created.desc(), schema.jobs.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(schema.jobs.c.state == state)
        return tuple(_job(row) for row in tx.execute(query))

    def _change(self, tx: Connection, id: str, worker: str, **values: Any) -> bool:
        table = schema.jobs
        mine = (table.c.id == id, table.c.worker == worker, table.c.state == "working")
        return tx.execute(update(table).where(*mine).values(**values)).rowcount == 1


def _free(now: int, verbs: Sequence[str] | None) -> ColumnElement[bool]:
    table = schema.jobs
    # Whatever the clock says since: a job that was due when it was made is due, and nobody has a lease of more than a day.
    free = or_(
        and_(table.c.state == "waiting", or_(table.c.due <= now, table.c.due <= table.c.created)),
        and_(table.c.state == "working", or_(table.c.lease_until <= now, table.c.lease_until > now + _micros(LONGEST_LEASE))),
    )
    return free if verbs is None else and_(free, table.c.verb.in_(verbs))


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def _given_up(attempts: int) -> Json:
    fact = f"The job was begun {attempts} times and each time its worker stopped."
    return to_wire(Unavailable(fact, "Look at the worker's log, then ask again."))


def _job(row: Row[Any]) -> Job:
    return Job(**{name: row._mapping[name] for name in _FIELDS})
