"""Who acted in the audit, purged days that stay purged, and the drop of a partition by a role that
does not own it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

from signal_pipeline.schema.migrations.files import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Do what `0002_privacy.sql` says."""
    run_file(op.get_bind(), Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse: going back would forget who acted."""
    raise NotImplementedError("Signal's migrations only go forward; restore a backup instead")
