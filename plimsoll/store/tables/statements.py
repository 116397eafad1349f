"""Statements that are made once, for what is asked so often that to make a statement, or to hand it on, is most of its time.

SQLAlchemy takes four times as long as SQLite to run a statement of a single row. So on SQLite it is asked once for the text, for how
values are written and for how they are read; then the driver is asked directly, on the connection of the same transaction. On
PostgreSQL, where the answer takes longer than that, SQLAlchemy runs each of them.
"""

from __future__ import annotations

import functools
import importlib
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ARRAY, ColumnElement, Connection, LargeBinary, Select, Table, Text, any_, bindparam, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from plimsoll.store.tables.columns import Json

#: From the columns of the new row to whether it takes the place of the one that is there.
Rule = Callable[[Any], ColumnElement[bool]]

#: How a value is written or read; None as it is.
_Changed = Callable[[Any], Any] | None


class Statement:
    """A statement of which only the values of its parameters differ; one that is a list belongs to :func:`among`.

    Args:
        made: the statement, or what makes it for a dialect, ``sqlite`` or ``postgresql``.
    """

    def __init__(self, made: Executable | Callable[[str], Executable]) -> None:
        self._made = made

    def all(self, tx: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return every row that a query finds, each a named tuple.

        Args:
            tx: an open transaction.
            values: parameter -> value.
        """
        if tx.dialect.name != "sqlite":
            return tx.execute(_for(self, tx.dialect.name), values).all()
        way = _prepared(self, tuple(values))
        rows = _driver(tx, way, way.written(values)).fetchall()
        return [way.read(row) for row in rows]

    def plain(self, tx: Connection, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Return every row that a query finds as a plain tuple, which a page of thousands of rows is read by in half the time.

        Args:
            tx: an open transaction.
            values: parameter -> value. The columns are texts, numbers and bytes; a truth may be 0 or 1.
        """
        if tx.dialect.name != "sqlite":
            return [tuple(row) for row in self.all(tx, values)]
        way = _prepared(self, tuple(values))
        return _driver(tx, way, way.written(values)).fetchall()

    def one(self, tx: Connection, values: Mapping[str, Any]) -> Any | None:
        """Return the first row that a query finds, a named tuple, or None.

        Args:
            tx: an open transaction.
            values: parameter -> value.
        """
        rows = self.all(tx, values)
        return rows[0] if rows else None

    def change(self, tx: Connection, values: Mapping[str, Any]) -> int:
        """Insert, update or delete, and return how many rows it were.

        Args:
            tx: an open writing transaction.
            values: parameter, or column of a new row -> value.
        """
        if tx.dialect.name != "sqlite":
            return tx.execute(_for(self, tx.dialect.name), values, execution_options={"preserve_rowcount": True}).rowcount
        way = _prepared(self, tuple(values))
        return _driver(tx, way, way.written(values)).rowcount

    def change_each(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do the same for each of several rows.

        Args:
            tx: an open writing transaction.
            rows: any number, all with the same parameters or columns.
        """
        if not rows:
            return
        if tx.dialect.name != "sqlite":
            tx.execute(_for(self, tx.dialect.name), rows)
            return
        way = _prepared(self, tuple(rows[0]))
        _driver(tx, way, [way.written(row) for row in rows], many=True)


class Upsert(Statement):
    """Inserts rows; where a row of their primary key is there it is replaced, or stays.

    Args:
        table: where to.
        replacing: whether the new row counts; or the rule by which it does.
    """

    def __init__(self, table: Table, *, replacing: bool | Rule) -> None:
        super().__init__(functools.partial(_upsert, table=table, replacing=replacing))

    def rows(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows with different primary keys.

        Args:
            tx: an open writing transaction.
            rows: any number, all with the same columns.
        """
        self.change_each(tx, rows)

    def row(self, tx: Connection, row: Mapping[str, Any]) -> bool:
        """Insert a row and return whether it is what is stored now.

        Args:
            tx: an open writing transaction.
            row: its columns.
        """
        return self.change(tx, row) == 1


def among(column: ColumnElement[str], name: str, dialect: str) -> ColumnElement[bool]:
    """Return whether a text is one of a list, which is a single parameter however many texts it has.

    Args:
        column: of texts without a null character, such as ids.
        name: the parameter's.
        dialect: ``sqlite`` or ``postgresql``.
    """
    if dialect == "sqlite":
        each = func.json_each(bindparam(name, type_=Json)).table_valued("value")
        return column.in_(select(each.c.value))
    return column == any_(bindparam(name, type_=ARRAY(Text)))


@functools.cache
def _for(statement: Statement, dialect: str) -> Executable:
    made = statement._made
    return made(dialect) if callable(made) else made


def _upsert(dialect: str, table: Table, replacing: bool | Rule) -> Executable:
    # The other dialect takes long to import, and each process needs one of them.
    statement: Any = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    keys = [column.name for column in table.primary_key]
    new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    rule = replacing(statement.excluded) if callable(replacing) else None
    made: Executable = (
        statement.on_conflict_do_update(index_elements=keys, set_=new, where=rule)
        if replacing
        else statement.on_conflict_do_nothing(index_elements=keys)
    )
    return made


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement as SQLite's driver takes it."""

    text: str
    #: In the order of the question marks: parameter, and how it is written.
    parameters: tuple[tuple[str, _Changed], ...]
    #: Values that the statement has itself.
    own: Mapping[str, Any]
    #: Makes a named tuple of a row.
    row: Callable[..., Any]
    #: In the order of the columns; empty when all are read as they are.
    readers: tuple[_Changed, ...]

    def written(self, values: Mapping[str, Any]) -> list[Any]:
        known = {**self.own, **values} if self.own else values
        return [known[name] if write is None else write(known[name]) for name, write in self.parameters]

    def read(self, row: tuple[Any, ...]) -> Any:
        if not self.readers:
            return self.row(row)
        return self.row(value if read is None else read(value) for value, read in zip(row, self.readers, strict=True))


@functools.cache
def _prepared(statement: Statement, given: tuple[str, ...]) -> _Prepared:
    dialect = importlib.import_module("sqlalchemy.dialects.sqlite.pysqlite").dialect()
    made: Any = _for(statement, "sqlite")
    # Which columns a new row has is known from its values.
    compiled = made.compile(dialect=dialect, column_keys=None if isinstance(made, Select) else list(given))
    types = {name: parameter.type.dialect_impl(dialect) for name, parameter in compiled.binds.items()}
    own = compiled.construct_params(dict.fromkeys(given))
    columns = dict(made.selected_columns.items()) if isinstance(made, Select) else {}
    # Which columns there are is known only now, so it is no class that a type checker could see.
    record: Any = namedtuple
    # Bytes come as bytes.
    readers = tuple(
        None if isinstance(column.type, LargeBinary) else column.type.dialect_impl(dialect).result_processor(dialect, None)
        for column in columns.values()
    )
    return _Prepared(
        text=str(compiled),
        parameters=tuple((name, types[name].bind_processor(dialect)) for name in compiled.positiontup or ()),
        own={name: value for name, value in own.items() if name not in given},
        row=record("Row", list(columns), rename=True)._make,
        readers=readers if any(readers) else (),
    )


def _driver(tx: Connection, way: _Prepared, values: list[Any], many: bool = False) -> sqlite3.Cursor:
    driver = cast(sqlite3.Connection, tx.connection.driver_connection)
    try:
        return driver.executemany(way.text, values) if many else driver.execute(way.text, values)
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        meaning = tx.info["meaning"](error)
        # What has no meaning of ours is what SQLAlchemy makes of it, on both dialects.
        raise meaning or DBAPIError.instance(way.text, values, error, sqlite3.Error, dialect=tx.dialect) from error
