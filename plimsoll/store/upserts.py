"""Statements that insert rows of which some may be there, for both dialects; each is made once, which takes longer than to run it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.sql.dml import Insert

#: From the columns of the new row to whether it takes the place of the one that is there.
Rule = Callable[[Any], ColumnElement[bool]]


class Upsert:
    """Inserts rows; where a row of their primary key is there it is replaced, or stays.

    Args:
        table: where to.
        replacing: whether the new row counts; or the rule by which it does.
    """

    def __init__(self, table: Table, *, replacing: bool | Rule) -> None:
        self._table, self._replacing = table, replacing

    def rows(self, tx: Connection, rows: list[dict[str, Any]]) -> None:
        """Insert rows with different primary keys.

        Args:
            tx: an open writing transaction.
            rows: any number, all with the same columns.
        """
        if rows:
            tx.execute(_statement(tx.dialect.name, self._table, self._replacing), rows)

    def row(self, tx: Connection, row: dict[str, Any]) -> bool:
        """Insert a row and return whether it is what is stored now.

        Args:
            tx: an open writing transaction.
            row: its columns.
        """
        made = tx.execute(_statement(tx.dialect.name, self._table, self._replacing), row, execution_options={"preserve_rowcount": True})
        return made.rowcount == 1


@functools.cache
def _statement(dialect: str, table: Table, replacing: bool | Rule) -> Insert:
    # The other dialect takes long to import, and each process needs one of them.
    statement: Any = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    keys = [column.name for column in table.primary_key]
    new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    rule = replacing(statement.excluded) if callable(replacing) else None
    made: Insert = (
        statement.on_conflict_do_update(index_elements=keys, set_=new, where=rule)
        if replacing
        else statement.on_conflict_do_nothing(index_elements=keys)
    )
    return made
