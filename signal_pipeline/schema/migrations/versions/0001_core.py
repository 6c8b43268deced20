"""The core tables: events, ledger, days, books, builds, receipts, audit."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create what `0001_core.sql` describes."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse: going back would delete events."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
