"""A lost partition is made again or purged, and a day that is ahead is no fault of an event."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Do what `0016_lost_partitions_and_clocks.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
