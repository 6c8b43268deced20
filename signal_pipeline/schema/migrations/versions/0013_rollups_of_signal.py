"""`rollup_days` only shows tables of the schema `signal` as rollups."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Do what `0013_rollups_of_signal.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
