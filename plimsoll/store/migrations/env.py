"""What Alembic runs: the revisions, on the connection and in the transaction that :mod:`.revisions` hands over."""

from __future__ import annotations

from alembic import context

from plimsoll.store.tables.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter a table in place; Alembic copies it instead.
    render_as_batch=True,
)
context.run_migrations()
