"""Alembic's migrations: a pair of files per version, Python for the order, SQL for the content."""
