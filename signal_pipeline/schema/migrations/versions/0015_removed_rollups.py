"""A rollup without a model is no longer missing on days that it was never built for."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Do what `0015_removed_rollups.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
