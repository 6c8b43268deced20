"""The command `migrate`: Alembic's migrations, then guards, roles, and the tables of the rollups.

It can run at any time and in several processes at once, because every change happens in a
transaction under a lock. Only the owner of the schema can change it. For any other user, such as
`signal_admin`, `migrate` only finds out whether the schema is up to date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

from psycopg import errors, sql
from psycopg.rows import scalar_row

from signal_pipeline.days.calendar import new_start_date, today_utc
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database, safe_errors
from signal_pipeline.postgres.locks import MIGRATE_LOCK, transaction_lock
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.distribution import distribute, refuse_copies, send_ddl
from signal_pipeline.schema.rollup_tables import keep_former_rollups, migrate_rollups
from signal_pipeline.settings import Settings

ROLES = ("signal_writer", "signal_builder", "signal_reader", "signal_api", "signal_admin")


class StartDateError(SignalError):
    """The start date would exclude days that hold data."""


class NewerSchemaError(SignalError):
    """A later version of Signal has migrated the schema."""


class NotOwnerError(SignalError):
    """The schema is not up to date, and this user is not allowed to change it."""


def migrate(database: Database, settings: Settings, models: Models) -> None:
    """Create or update the schema `signal`.

    Guards, roles and grants are made again each time, since a restore can lose them. Everything
    else that is up to date is left alone. For a user who does not own the schema it changes
    nothing; it raises NotOwnerError if a change is needed. With `SIGNAL_DISTRIBUTED` it also
    distributes the large tables that are not distributed yet. It raises DistributionError if that
    is not possible, for example because this user does not own the tables. With or without
    `SIGNAL_DISTRIBUTED`, it raises DistributionError if a shard of these tables has copies. Also
    raises NewerSchemaError, StartDateError, TableError and ReportingViewError.
    """
    with safe_errors():
        with database.connect() as connection, connection.transaction():
            is_done = _migrate(connection, settings, models, upgrade=None)
        if not is_done:
            # Imported here, because Alembic and SQLAlchemy take longer to import than the rest of
            # Signal, and a schema that has every migration needs neither.
            from signal_pipeline.schema.migrations.run import alembic_upgrade

            with alembic_upgrade(database) as (connection, upgrade):
                _migrate(connection, settings, models, upgrade)
    if settings.distributed:
        distribute(database, settings.shards)
    else:
        refuse_copies(database)


def missing_roles(database: Database) -> list[str]:
    """Return the least-privilege roles and memberships that the server lacks.

    They are missing if the user who migrated last had no right to make them. A membership is
    written as `signal_api in signal_reader`. Roles that exist have their grants.
    """
    with database.connect() as connection:
        scalar = connection.cursor(row_factory=scalar_row)
        roles: list[str] = scalar.execute(
            "select name from unnest(%s::text[]) as name where not exists (select from pg_roles"
            " where rolname = name)",
            [list(ROLES)],
        ).fetchall()
        memberships = connection.execute(query(__package__, "missing_memberships")).fetchall()
    return [*roles, *(f"{member} in {role}" for role, member in memberships)]


def _migrate(
    connection: Connection,
    settings: Settings,
    models: Models,
    upgrade: Callable[[], None] | None,
) -> bool:
    """Bring the schema up to date, and return True.

    `upgrade` runs the migrations. If it is None, and a migration is missing or the comment of the
    schema is not the wanted one, change nothing and return False.
    """
    transaction_lock(connection, MIGRATE_LOCK)
    # Only the two large tables are ever on the workers. Without this, Citus would make functions
    # and their grants there too, and an owner who is not a superuser has no right to do so.
    send_ddl(connection, to_workers=False)
    facts = connection.execute(query(__package__, "schema_facts")).fetchone()
    wanted = _schema_comment()
    if facts is not None and not facts[0]:
        _try_migration_as_other_user(connection, settings, models, facts[1] == wanted)
        return True
    stored, newest = _stored_revision(connection), _newest_revision()
    if stored is not None and stored > newest:
        raise NewerSchemaError(
            f"the schema has migration {stored}, and this version of Signal knows migrations up to"
            f" {newest}: use the version that migrated it, or a later one"
        )
    # The comment alone does not show that the tables are there: in a dump, the comment comes first.
    if upgrade is None and (facts is None or facts[1] != wanted or stored != newest):
        return False
    # Not `if not exists`: even where the schema exists, that needs the right to create one.
    if facts is None:
        connection.execute("create schema signal")
    if upgrade is not None:
        upgrade()
    _store_start_date(connection, settings)
    connection.execute(query(__package__, "guards"))
    connection.execute(query(__package__, "roles"))
    _grant_memberships(connection)
    migrate_rollups(connection, models)
    keep_former_rollups(connection, models)
    if facts is None or facts[1] != wanted:
        connection.execute(sql.SQL("comment on schema signal is {}").format(wanted))
    return True


def _grant_memberships(connection: Connection) -> None:
    """Make roles members of others; leave existing memberships alone.

    A grant needs the right to manage the role. This user can lack it, for example if another login
    made the roles for another database of the same server.
    """
    for role, member in connection.execute(query(__package__, "missing_memberships")).fetchall():
        statement = sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(member))
        # The caller learns of a missing right from `missing_roles`. A migration of another database
        # can have made the membership at the same moment.
        with (
            suppress(errors.InsufficientPrivilege, errors.UniqueViolation),
            connection.transaction(),
        ):
            connection.execute(statement)


def _schema_comment() -> str:
    """Return the comment of a schema that is up to date.

    It names the last migration, and a digest of guards and roles.
    """
    texts = (
        query(__package__, "guards")
        + query(__package__, "roles")
        + query(__package__, "missing_memberships")
    )
    digest = hashlib.sha256(texts.encode()).hexdigest()[:12]
    return f"Signal's schema: migration {_newest_revision()}, guards and roles {digest}"


def _stored_revision(connection: Connection) -> str | None:
    scalar = connection.cursor(row_factory=scalar_row)
    if scalar.execute("select to_regclass('signal.alembic_version')").fetchone() is None:
        return None
    return scalar.execute("select version_num from signal.alembic_version").fetchone()


def _newest_revision() -> str:
    """Return the newest revision: the name of each migration's file begins with its revision."""
    versions = Path(__file__).with_name("migrations") / "versions"
    return max(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))


def _try_migration_as_other_user(
    connection: Connection, settings: Settings, models: Models, current: bool
) -> None:
    """Raise NotOwnerError if a migration by the owner would change anything.

    The comment of the schema says whether migrations, guards and roles are up to date (`current`).
    It does not show whether somebody has taken one of them away since. For the start date and the
    tables of the rollups, the changes are tried.
    """
    if current:
        with suppress(errors.InsufficientPrivilege):
            _store_start_date(connection, settings)
            # A grant that this user may not give is no error: PostgreSQL only warns of it.
            if not migrate_rollups(connection, models):
                return
    raise NotOwnerError(
        "the schema is not up to date, or not visible to this user, who does not own it:"
        " run `signal-pipeline migrate` as its owner, with the same settings"
    )


def _store_start_date(connection: Connection, settings: Settings) -> None:
    stored = _start_date(connection)
    wanted = settings.start_date
    if stored is None:
        first = wanted or new_start_date(today_utc(), settings.retention_days)
        connection.execute("insert into signal.instance (start_date) values (%s)", [first])
    elif wanted is not None and wanted != stored:
        if wanted > stored and _has_days_before(connection, wanted):
            raise StartDateError(
                f"SIGNAL_START_DATE {wanted} is later than days that hold data (start date"
                f" {stored})"
            )
        connection.execute("update signal.instance set start_date = %s", [wanted])


def _start_date(connection: Connection) -> date | None:
    scalar = connection.cursor(row_factory=scalar_row)
    return scalar.execute("select start_date from signal.instance").fetchone()


def _has_days_before(connection: Connection, day: date) -> bool:
    return (
        connection.execute("select from signal.days where day < %s limit 1", [day]).fetchone()
        is not None
    )
