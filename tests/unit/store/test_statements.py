"""A statement that is made once does what SQLAlchemy would do with it, on both dialects."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from plimsoll.errors import Internal, InvalidInput
from plimsoll.store.contracts import Database
from plimsoll.store.schema import actors, key_parts
from plimsoll.store.tables.statements import Statement, Upsert, among
from plimsoll.store.tables.tracking import experiments, run_tags

_NEW = Statement(insert(experiments))
_NAMED = Statement(select(experiments).where(experiments.c.name == bindparam("name")))
_FROM = Statement(
    select(experiments.c.name).where(experiments.c.created >= bindparam("from")).order_by(experiments.c.name).limit(bindparam("most"))
)


def row(name: str, created: int = 1) -> dict[str, Any]:
    return {"id": f"id of {name}", "name": name, "created": created, "updated": created}


def test_rows_are_inserted_found_changed_and_deleted(database: Database) -> None:
    with database.write() as tx:
        assert _NEW.change(tx, row("a")) == 1
        _NEW.change_each(tx, [row("b", 2), row("c", 3)])
        _NEW.change_each(tx, [])
    with database.read() as tx:
        found = _NAMED.one(tx, {"name": "b"})
        assert (found.id, found.name, found.created, found.deleted) == ("id of b", "b", 2, None)
        assert found._fields == tuple(column.name for column in experiments.c)
        assert _NAMED.one(tx, {"name": "none"}) is None
        assert [each.name for each in _FROM.all(tx, {"from": 1, "most": 2})] == ["a", "b"]
        assert [each.name for each in _FROM.all(tx, {"from": 3, "most": 2})] == ["c"]
    with database.write() as tx:
        rename = Statement(update(experiments).where(experiments.c.created > bindparam("after")))
        assert rename.change(tx, {"after": 1, "updated": 9}) == 2
        assert Statement(delete(experiments).where(experiments.c.updated == bindparam("at"))).change(tx, {"at": 9}) == 2
        assert [each.name for each in _FROM.all(tx, {"from": 0, "most": 9})] == ["a"]


def test_a_list_of_any_length_is_one_parameter(database: Database) -> None:
    some = Statement(
        lambda dialect: select(experiments.c.name).where(among(experiments.c.name, "names", dialect)).order_by(experiments.c.name)
    )
    odd = ["it's", 'say "so"', "naïve\n", "a,b", "{}", "[1]", "50%", "\\"]
    with database.write() as tx:
        _NEW.change_each(tx, [row(name) for name in odd])
    with database.read() as tx:
        assert some.all(tx, {"names": []}) == []
        assert [each.name for each in some.all(tx, {"names": [*odd, *odd, "none"]})] == sorted(odd)
        assert [each.name for each in some.all(tx, {"names": [str(number) for number in range(40_000)] + odd[:1]})] == odd[:1]


def test_documents_bytes_and_truths_come_back_as_they_were_given(database: Database) -> None:
    actor = {"name": "ada", "roles": ["read", "write"], "person": True, "token_digest": None, "created": 1}
    parts = {"key": "k", "code": None, "data": b"\x00\xff"}
    with database.write() as tx:
        Statement(insert(actors)).change(tx, actor)
        Upsert(key_parts, replacing=False).rows(tx, [parts])
        assert Statement(select(actors)).one(tx, {})._asdict() == actor
        assert type(Statement(select(actors.c.person)).one(tx, {}).person) is bool
        assert Statement(select(key_parts)).one(tx, {})._asdict() == parts
        assert dict(tx.execute(select(actors)).one()._mapping) == actor


def test_a_row_that_is_there_is_replaced_or_stays_or_does_so_by_a_rule(database: Database) -> None:
    with database.write() as tx:
        Upsert(experiments, replacing=True).rows(tx, [row("a", 1)])
        assert Upsert(experiments, replacing=True).row(tx, row("a", 5))
        assert not Upsert(experiments, replacing=False).row(tx, row("a", 6))
        later = Upsert(experiments, replacing=lambda new: new.created > experiments.c.created)
        assert not later.row(tx, row("a", 4))
        assert later.row(tx, row("a", 7))
        assert _NAMED.one(tx, {"name": "a"}).created == 7


def test_what_is_refused_is_refused_as_by_sqlalchemy_and_leaves_nothing(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as tx:
        Statement(insert(run_tags)).change(tx, {"run_id": "none", "name": "a", "value": "b", "head": "b"})
    with pytest.raises(IntegrityError), database.write() as tx:
        _NEW.change_each(tx, [row("b"), row("b")])
    for wrong in (row("big", 2**63), row("lone \ud800")):
        with pytest.raises(InvalidInput, match="cannot hold a value"), database.write() as tx:
            _NEW.change(tx, wrong)
    with database.read() as tx:
        assert not _FROM.all(tx, {"from": 0, "most": 9})


def test_a_reading_transaction_cannot_write_by_it(database: Database) -> None:
    expected = Internal if database.dialect == "sqlite" else Exception
    with pytest.raises(expected), database.read() as tx:
        _NEW.change(tx, row("a"))


def test_a_parameter_without_a_value_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="from"), database.read() as tx:
        _FROM.all(tx, {"most": 1})
    with pytest.raises(Exception, match="updated"), database.write() as tx:
        _NEW.change_each(tx, [row("a"), {name: value for name, value in row("b").items() if name != "updated"}])
