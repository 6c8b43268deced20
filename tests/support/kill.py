"""What a server does after a client was killed."""

from __future__ import annotations

import time

from support.waits import PATIENCE_SECONDS

from signal_pipeline.postgres.database import Database

OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'signal' and pid <> pg_backend_pid()
"""


def wait_for_no_other_session(database: Database) -> None:
    """Wait until the server has ended the sessions of killed clients, and undone their work."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    with database.connect() as connection:
        while connection.execute(OTHERS).fetchone() != (0,):
            assert time.monotonic() < give_up
            time.sleep(0.05)
