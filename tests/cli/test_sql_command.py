"""The command `sql` on a server, where there is no terminal."""

from __future__ import annotations

import psycopg
import pytest
from conftest import Fill
from support.commands import Signal, last_json
from support.days import yesterday

pytestmark = pytest.mark.embedded_only


def test_sql_prints_the_readers_url_where_there_is_no_terminal(signal: Signal, fill: Fill) -> None:
    fill(yesterday())
    url = signal("sql").stdout.strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("select current_user").fetchone() == ("signal_reader",)
    assert last_json(signal("sql", "--json")) == {"url": url, "lives": "with its server"}
