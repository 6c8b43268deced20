"""`rollup_freshness` no longer waits for days without a row from before the installation."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Do what `0012_gaps_since_installation.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse, like the other migrations."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
