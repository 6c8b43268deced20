"""A function that makes the partition of a day before the day comes."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Do what `0011_partitions_ahead.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
