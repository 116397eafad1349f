"""What the tables are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, MetaData, Text, TypeDecorator

from plimsoll import codec


class Json(TypeDecorator[Any]):
    """A JSON document in a text column, encoded by :mod:`plimsoll.codec`; SQL never looks inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return ``value`` as JSON text for any ``dialect``."""
        return None if value is None else codec.to_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return what ``value``, a JSON text, holds; the same for any ``dialect``."""
        return None if value is None else codec.from_json(value, object)


#: A text that search compares: by its code points on every dialect, whatever the language of the database.
EXACT = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def id_column() -> Column[str]:
    """Return a primary key that holds an id."""
    return Column("id", Text, primary_key=True)


def at_column(name: str = "created") -> Column[int]:
    """Return a column that holds a time.

    Args:
        name: the column's; it holds UTC microseconds.
    """
    return Column(name, BigInteger, nullable=False)
