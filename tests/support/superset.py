"""A real Apache Superset, with its metadata in SQLite, and its REST API."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from faults.wire import free_port

PASSWORD = "only-for-this-test"
CONFIG = """
SECRET_KEY = {key!r}
SQLALCHEMY_DATABASE_URI = "sqlite:///{home}/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
FAB_ADD_SECURITY_API = True
"""


def superset_program() -> str:
    """The program `superset`; skips the test where there is none."""
    folder = os.environ.get("SIGNAL_TEST_SUPERSET")
    found = str(Path(folder) / "superset") if folder else shutil.which("superset")
    if found is None:
        pytest.skip("no Superset: `make check-bi` installs one and runs this test")
    return found


class Superset:
    """The REST API of a running Superset, as one of its users."""

    def __init__(self, url: str, user: str = "admin") -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=300)
        login = {"username": user, "password": PASSWORD, "provider": "db"}
        token = self._answer("post", "/security/login", json=login)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        self.url = url

    def get(self, path: str) -> Any:
        """Ask for something."""
        return self._answer("get", path)

    def post(self, path: str, **body: Any) -> Any:
        """Make something."""
        return self._answer("post", path, json=body)

    def delete_all(self, *kinds: str) -> None:
        """Delete everything of some kinds, such as `chart`."""
        for kind in kinds:
            for each in self.get(f"/{kind}/?q=(page_size:100)")["result"]:
                self._answer("delete", f"/{kind}/{each['id']}")

    def add_database(self, name: str, url: str) -> int:
        """Connect to a database; returns its id."""
        return int(self.post("/database/", database_name=name, sqlalchemy_uri=url)["id"])

    def try_dataset(self, database: int, schema: str, table: str) -> httpx.Response:
        """Ask for a dataset with the defaults of Superset."""
        body = {"database": database, "schema": schema, "table_name": table}
        return self._client.post("/dataset/", json=body)

    def add_dataset(self, database: int, schema: str, table: str) -> int:
        """Make such a dataset; returns its id."""
        made = self.try_dataset(database, schema, table)
        assert made.status_code == 201, made.text[:500]
        return int(made.json()["id"])

    def query(self, dataset: int, column: str, groups: list[str]) -> httpx.Response:
        """Ask for what a chart shows after somebody chose SUM of a column, and dimensions."""
        metric = {
            "expressionType": "SIMPLE",
            "aggregate": "SUM",
            "column": {"column_name": column},
            "label": f"SUM({column})",
        }
        query = {"columns": groups, "metrics": [metric], "row_limit": 50000}
        body = {"datasource": {"id": dataset, "type": "table"}, "queries": [query]}
        return self._client.post("/chart/data", json=body)

    def import_dashboard(self, folder: Path, database_url: str) -> None:
        """Import an unpacked export, whose connection is replaced by another."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(folder.rglob("*.yaml")):
                lines = path.read_text().splitlines(keepends=True)
                text = "".join(
                    f"sqlalchemy_uri: {database_url}\n"
                    if line.startswith("sqlalchemy_uri:")
                    else line
                    for line in lines
                )
                archive.writestr(f"{folder.name}/{path.relative_to(folder)}", text)
        files = {"formData": ("signal.zip", packed.getvalue(), "application/zip")}
        self._answer("post", "/dashboard/import/", files=files, data={"overwrite": "true"})

    def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._client.request(method, path, **arguments)
        assert answer.status_code < 300, (path, answer.status_code, answer.text[:500])
        return answer.json()


@contextmanager
def running_superset(home: Path) -> Iterator[Superset]:
    """Start a Superset of one's own; it ends with the block."""
    program = superset_program()
    config = home / "superset_config.py"
    config.write_text(CONFIG.format(key=secrets.token_hex(32), home=home))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SIGNAL")},
        "SUPERSET_CONFIG_PATH": str(config),
        "SUPERSET_HOME": str(home),
        "FLASK_APP": "superset",
    }
    admin = ["--firstname", "A", "--lastname", "B", "--email", "admin@example.org"]
    for arguments in (
        ["db", "upgrade"],
        ["init"],
        ["fab", "create-admin", "--username", "admin", "--password", PASSWORD, *admin],
    ):
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    port = free_port()
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [program, "run", "-h", "127.0.0.1", "-p", str(port), "--with-threads"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        while not _answers(url):
            assert server.poll() is None, (home / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield Superset(url)
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False
