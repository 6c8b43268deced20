"""Alembic's migrations: one pair of files per version, Python for the order, SQL for the
content.
"""
