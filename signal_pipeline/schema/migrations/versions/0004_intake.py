"""The counts that the checks of drops and bots read: intake by day of receipt, bots by bucket."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Do what `0004_intake.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
