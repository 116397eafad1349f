"""What the platform remembers of searches: the verbs and their statements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, bindparam, select, update

from plimsoll import clock, codec
from plimsoll.errors import Conflict, Denied, InvalidInput, NotFound
from plimsoll.pipelines.cache import record_steps
from plimsoll.pipelines.search.goals import best_trials
from plimsoll.records.pipelines.search import (
    FinishSearch,
    GetSearch,
    ListSearches,
    RecordTrials,
    Search,
    SearchDetail,
    StartSearch,
    Trial,
)
from plimsoll.records.run import Run
from plimsoll.runs.lifecycle import start_run
from plimsoll.store.contracts import Context
from plimsoll.store.schema import searches, trials
from plimsoll.store.tables.statements import Statement, Upsert

_STANDING = Statement(select(searches.c.author, searches.c.holder, searches.c.state).where(searches.c.id == bindparam("id")))
_NEW_TRIALS = Upsert(trials, replacing=True)


def start_search(request: StartSearch, context: Context) -> Search:
    """Begin a search, or go on with one's own of the same key that has not ended."""
    own = searches.c.key == request.key, searches.c.state == "running", searches.c.author == context.actor.name
    row = context.tx.execute(select(searches).where(*own).order_by(searches.c.id.desc()).limit(1)).one_or_none()
    if row is not None:
        changed = {"holder": request.holder, "trials": request.trials}
        context.tx.execute(update(searches).where(searches.c.id == row.id).values(**changed))
        return replace(_search(row), trials=request.trials)
    search = Search(
        id=(id := clock.new_id()),
        name=request.name or f"search-{id[-6:]}",
        plan=request.plan,
        trials=request.trials,
        state="running",
        author=context.actor.name,
        created=clock.now(),
    )
    context.tx.execute(searches.insert().values(**codec.plain(search), key=request.key, holder=request.holder))
    return search


def record_trials(request: RecordTrials, context: Context) -> Run | None:
    """Record trials of a search that one's own process holds, end a run and begin one.

    Raises:
        NotFound: there is no such search, or no such run.
        Denied: it is another actor's.
        Conflict: another process has gone on with it, or it has ended; or the run has.
        Corrupt: some bytes of a step's output are not stored.
    """
    _held(context, request.search_id, request.holder)
    if request.ends is not None:
        record_steps(request.ends, context)
    kept = {trial.number: trial for trial in request.trials}
    run = None
    if request.run is not None and kept:
        run = start_run(request.run, context)
        last = request.trials[-1].number
        kept[last] = replace(kept[last], run_id=run.id)
    # Packed, since JSON has no infinity and no NaN.
    rows = [
        {"search_id": request.search_id, "number": each.number, "run_id": each.run_id, "state": each.state, "data": codec.to_msgpack(each)}
        for each in kept.values()
    ]
    _NEW_TRIALS.rows(context.tx, rows)
    return run


def finish_search(request: FinishSearch, context: Context) -> Search:
    """End a search; ending it again changes nothing.

    Raises:
        NotFound: there is no such search.
        Denied: it is another actor's.
        Conflict: another process has gone on with it.
    """
    search = _search(_row(context, request.id))
    if search.state == "finished":
        return search
    _held(context, request.id, request.holder)
    changed: dict[str, Any] = {"state": "finished", "ended": clock.now()}
    context.tx.execute(update(searches).where(searches.c.id == request.id).values(**changed))
    return _search(_row(context, request.id))


def get_search(request: GetSearch, context: Context) -> SearchDetail:
    """Return a search by id or by the unique beginning of its id.

    Raises:
        NotFound: there is no such search.
        InvalidInput: the id is too short, or several searches begin with it.
    """
    if len(request.id) < 6:
        raise InvalidInput(f"{request.id!r} is too short for a search's id.", "Give at least 6 digits.")
    rows = context.tx.execute(select(searches).where(searches.c.id.startswith(request.id, autoescape=True)).limit(2)).all()
    if not rows:
        raise _unknown(request.id)
    if len(rows) > 1:
        raise InvalidInput(f"Several searches begin with {request.id!r}.", "Give more digits of the id.")
    search = _search(rows[0])
    packed = context.tx.execute(select(trials.c.data).where(trials.c.search_id == search.id).order_by(trials.c.number)).scalars()
    found = tuple(codec.from_msgpack(data, Trial, "The stored trial") for data in packed)
    return SearchDetail(search=search, trials=found, best=best_trials(search.plan, found))


def list_searches(request: ListSearches, context: Context) -> tuple[Search, ...]:
    """Return a page of searches, newest first."""
    query = select(searches).order_by(searches.c.id.desc()).limit(request.limit)
    if request.before is not None:
        query = query.where(searches.c.id < request.before)
    return tuple(_search(row) for row in context.tx.execute(query))


def _held(context: Context, id: str, holder: str) -> None:
    row = _STANDING.one(context.tx, {"id": id})
    if row is None:
        raise _unknown(id)
    if row.author != context.actor.name:
        raise Denied(f"{context.actor.name} may not go on with the search {id}, which is {row.author}'s.", "Begin one of your own.")
    if row.holder != holder:
        raise Conflict(f"Another process has gone on with the search {id}.", "Let that one end; this one has stopped.")
    if row.state != "running":
        raise Conflict(f"The search {id} has ended.", "Begin a new one.")


def _row(context: Context, id: str) -> Row[Any]:
    row = context.tx.execute(select(searches).where(searches.c.id == id)).one_or_none()
    if row is None:
        raise _unknown(id)
    return row


def _unknown(id: str) -> NotFound:
    return NotFound(f"There is no search {id!r}.", "List searches with: plimsoll search list")


def _search(row: Row[Any]) -> Search:
    fields = {name: value for name, value in row._mapping.items() if name not in ("key", "holder")}
    return codec.convert(fields, Search, "The stored search")
