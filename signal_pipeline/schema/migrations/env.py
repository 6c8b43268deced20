"""Alembic's entry point: runs the migrations on the connection from `schema/migrate.py`."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="signal",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
