"""The command `sql` on a server, where there is no terminal."""

from __future__ import annotations

import base64

import psycopg
import pytest
from conftest import Fill
from support.commands import Signal, last_json
from support.days import yesterday

from signal_pipeline.postgres.urls import write_url
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_sql_prints_the_readers_url_where_there_is_no_terminal(signal: Signal, fill: Fill) -> None:
    fill(yesterday())
    url = signal("sql").stdout.strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("select current_user").fetchone() == ("signal_reader",)
    assert last_json(signal("sql", "--json")) == {"url": url, "lives": "with its server"}


def test_the_url_has_no_secret_of_the_owners(signal: Signal, environment: Settings) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(environment.database_url or "")
    secrets = {"password": "PASS-OF-OWNER", "sslkey": "/a-key", "sslpassword": "PASS-OF-KEY"}
    if any(each.keyword == b"scram_client_key" for each in psycopg.pq.Conninfo.get_defaults()):
        secrets["scram_client_key"] = base64.b64encode(b"PASS-OF-SCRAM" + bytes(19)).decode()
    done = signal("sql", "--json", SIGNAL_DATABASE_URL=write_url({**parts, **secrets}))
    assert "a-key" in str(last_json(done)["url"])
    assert "PASS-OF" not in done.stdout + done.stderr
    assert "scram" not in done.stdout
    assert "the URL lacks sslpassword" in done.stderr
