"""What docs/operations.md has for production: Dagster's parts as processes of their own, as the admin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import SECRET, START_DATE
from support.dagster import (
    YESTERDAY,
    answers,
    asker,
    built,
    dagster_processes,
    eventually,
    free_port,
    ingest,
    listens,
)
from support.traffic import traffic

from signal_pipeline.dagster.home import project_file
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.embedded import dagster_url, ensure_database
from signal_pipeline.settings import Settings

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(600)]

WORKSPACE = "load_from: [{grpc_server: {host: 127.0.0.1, port: PORT, location_name: signal}}]"
LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"


@pytest.fixture
def parts(server: str, admin_url: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Code location, daemon and web server as docs/operations.md starts them; gives a function that asks GraphQL."""
    name = f"dagster_parts_{os.getpid()}"
    ensure_database(server, name)
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
    code, web = free_port(), free_port()
    (home / "workspace.yaml").write_text(WORKSPACE.replace("PORT", str(code)))
    bare = {key: value for key, value in os.environ.items() if not key.startswith(("SIGNAL", "DAGSTER"))}
    every = {**bare, "DAGSTER_HOME": str(home), "SIGNAL_DAGSTER_DATABASE_URL": dagster_url(server, name)}
    ours = {
        "SIGNAL_ENV": "production",
        "SIGNAL_DATABASE_URL": admin_url,
        "SIGNAL_HOME": str(tmp_path / "home"),
        "SIGNAL_START_DATE": START_DATE.isoformat(),
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_AUDIT_KEY": "an-audit-key-for-tests-of-more-than-32-bytes",
    }
    location = ["dagster", *f"code-server start -h 127.0.0.1 -p {code} -m signal_pipeline.definitions".split()]
    others = [
        ["dagster-daemon", "run", "-w", "workspace.yaml"],
        ["dagster-webserver", "-h", "127.0.0.1", "-p", str(web), "-w", "workspace.yaml"],
    ]
    ask = asker(web)
    with dagster_processes(home) as start:
        start(location, {**every, **ours})
        eventually(lambda: listens(code), "the code location listens")
        for command in others:
            start(command, every)
        eventually(lambda: answers(ask), "the UI answers")
        yield ask
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def test_the_parts_of_production_run_apart_as_the_admin(
    parts: Callable[..., Any], environment: Settings, connection: Connection
) -> None:
    (entry,) = parts(LOADED)["workspaceOrError"]["locationEntries"]
    assert entry == {"name": "signal", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
    ingest(traffic(YESTERDAY, 40))
    eventually(lambda: built(connection, YESTERDAY) == 40, "yesterday is built")
