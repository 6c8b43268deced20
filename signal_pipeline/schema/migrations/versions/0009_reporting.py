"""The schema `signal_reporting`, which people and BI tools read."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Do what `0009_reporting.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
