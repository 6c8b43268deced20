"""An audited read has an actor and a possible count, and no view shows a time to come."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Do what `0014_senseless_times_and_entries.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
