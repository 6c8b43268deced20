"""The leak test: everything runs with marked inputs, and then every store is searched.

Errors are provoked on purpose. These places are searched: dumps of both databases, the data files
and WAL, PostgreSQL's log, the spool while events wait in it, the output of every process, Dagster's
GraphQL if its UI ran, and every other file below `SIGNAL_HOME`, temporary ones included.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
from pydantic import SecretStr

from faults.leak_inputs import (
    AGENT,
    ALERTS,
    API_KEY,
    BROKEN,
    EMAIL,
    ENTITY,
    GATEWAY_SECRET,
    HOST,
    IPV4,
    NOWHERE,
    SECRET,
    SESSION,
    SPOOLED,
    STORED,
    STORED_ONLY,
    TODAY,
    TOKEN,
    USER_HASH,
    USER_ID,
    YESTERDAY,
    all_kinds,
    create,
    event,
    marked,
    reads,
    requests,
)
from faults.marks import hits, hits_in_files, needles
from faults.wire import Client, Gateway, free_port, wait_until_up
from faults.world import PATIENCE_SECONDS, FaultFoundError, StuckError
from signal_pipeline.dagster.home import DAGSTER_DATABASE
from signal_pipeline.ingest.spool_files import waiting_files
from signal_pipeline.postgres.embedded import (
    DATABASE,
    data_folder,
    running_url,
    start_embedded,
    wheel_program,
)
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.settings import Settings

COMMAND = [sys.executable, "-c", "from signal_pipeline.cli import main; main()"]
# Compressed or packed values could hide a mark.
SPREAD_OUT = """
do $$
declare c record;
begin
    for c in
        select a.attrelid::regclass as t, a.attname from pg_attribute as a join pg_class as r on r.oid = a.attrelid
        where r.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and a.attstorage = 'x'
            and r.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    loop
        execute format('alter table %s alter column %I set storage external', c.t, c.attname);
    end loop;
end $$"""


class LeakTest:
    """A `SIGNAL_HOME` of its own, with every temporary file and every output below it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.answers = b""  # The answers of Dagster's UI.
        for name in ("tmpdir", "outputs", "landing"):
            (home / name).mkdir(parents=True)
        (home / "tmpdir").chmod(0o777)
        clean = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("SIGNAL", "DAGSTER"))
        }
        self.environment = clean | {
            "SIGNAL_HOME": str(home),
            "SIGNAL_ENV": "development",
            "SIGNALS_SALT_SECRET": SECRET,
            "SIGNAL_HMAC_SECRET": GATEWAY_SECRET,
            "SIGNAL_API_KEYS": f"marked:{hashlib.sha256(API_KEY.encode()).hexdigest()}",
            "SIGNAL_SPOOL_DIR": str(home / "spool"),
            # Nobody listens at this address, because a failure tells more than a success.
            "SIGNAL_ALERT_URLS": f"json://{ALERTS}:{ALERTS}@127.0.0.1:1/{ALERTS}?+X-Token={ALERTS}",
            "TMPDIR": str(home / "tmpdir"),
        }

    def by_command(self) -> None:
        """Run the commands on marked inputs.

        They are good and bad lines, requests of data subjects, and a failing and a good backfill.
        """
        self.connect().close()  # This process keeps the server up between the commands.
        self._run(0, "migrate")
        with self.connect() as connection:
            connection.execute(SPREAD_OUT)
            connection.execute("alter system set log_min_messages = 'info'")
            connection.execute("select pg_reload_conf()")
        self._run(0, "ingest", "-", "--json", lines=all_kinds())
        person = f"{HOST}\n{IPV4} {EMAIL}\n{AGENT}\n".encode()
        self._run(1, "subject", "--day", YESTERDAY, lines=[person, TOKEN.encode()])
        with self.broken("events", "route <> '/broken'"):
            self._run(1, "ingest", "-", lines=[marked(route="/broken"), *all_kinds()])
        with self.broken("books", "false"):
            self._run(1, "ingest", "-", lines=all_kinds())
        with self.broken("builds", "false"):
            self._run(1, "backfill", "--from", YESTERDAY, "--to", YESTERDAY)
        with self.connect(DAGSTER_DATABASE) as connection:
            connection.execute(SPREAD_OUT)
        self._run(0, "backfill", "--from", YESTERDAY, "--to", YESTERDAY)
        self._run(0, "report", "app", "--from", YESTERDAY, "--to", TODAY)
        self._run(1, "alert-test")

    def by_api(self) -> None:
        """Send good and bad requests, and provoke errors of the database.

        Events wait in the spool while the database is away.
        """
        with self._serve() as port:
            settings = Settings(
                _env_file=None, home=self.home, hmac_secret=SecretStr(GATEWAY_SECRET)
            )  # type: ignore[call-arg]
            people, admins = (
                Gateway(settings, USER_ID),
                Gateway(settings, f"{USER_ID}-boss", admin=True),
            )
            with closing(Client(port, people)) as client:
                for request in [*requests(people), *reads(admins)]:
                    _demand(
                        client.post(request.body, request.headers).status in request.statuses,
                        "the API answers as it should",
                    )
                with self.broken("events", "route <> '/broken'"):
                    request = create(people, event(route="/broken"), statuses=BROKEN)
                    _demand(
                        client.post(request.body, request.headers).status in request.statuses,
                        "a broken table is an error",
                    )
                self._spool(client, people, admins)

    def _spool(self, client: Client, people: Gateway, admins: Gateway) -> None:
        self.stop_postgres()
        request = create(people, event(clientEventId=SPOOLED, sessionId=SESSION))
        _demand(
            client.post(request.body, request.headers).outcomes == [("spooled", None)],
            "events go to the spool",
        )
        for request in reads(admins):
            client.post(request.body, request.headers)
        shutil.copytree(self.home / "spool", self.home / "spool-as-it-was")
        self.connect().close()
        until("the spool is drained", lambda: not waiting_files(self.home / "spool"))

    def search(self) -> str:
        """Search before and after erasures; return figures. Raises FaultFoundError."""
        person = f"{HOST}\n{IPV4}\n{AGENT}\n".encode()
        subject = self._run(0, "subject", "--day", YESTERDAY, lines=[person])
        _demand(USER_HASH.hex() in subject.read_text(), "the subject is found")
        # The search must find what is there: the ids of the stored events, in the dump and in the
        # data files.
        with self.connect() as connection:
            connection.execute("checkpoint")
        kept = {"event id": STORED, "spooled event id": SPOOLED}
        _demand(kept.keys() <= hits(needles(kept), self._dump(DATABASE)), "the dump is searched")
        ledger = needles({"ledger": bytes.fromhex(STORED.replace("-", ""))})
        _demand(
            bool(hits_in_files(ledger, (data_folder(self.home) / "base").rglob("*"))),
            "the data files are searched",
        )
        self._run(0, "erase", "--user-hash", USER_HASH.hex(), "--day", YESTERDAY, "--json")
        self._run(0, "erase", "--entity", "journey", ENTITY, "--json")
        with self.connect() as connection:
            connection.execute("checkpoint")
        dumps = {name: self._dump(name) for name in (DATABASE, DAGSTER_DATABASE)}
        files = [path for path in self.home.rglob("*") if path.is_file()]
        logs = [path for path in files if path != subject and _is_log(path)]
        nowhere, stored_only = needles(NOWHERE), needles(STORED_ONLY)
        everywhere = {**nowhere, **stored_only}
        found = {
            "dump": hits(nowhere, dumps[DATABASE]),
            "dump after the erasures": hits(
                needles({"hash": USER_HASH.hex(), "entity": ENTITY}), dumps[DATABASE]
            ),
            "dump of Dagster's storage": hits(everywhere, dumps[DAGSTER_DATABASE]),
            "answers of Dagster's UI": hits(everywhere, self.answers),
            **hits_in_files(everywhere, logs),
            **hits_in_files(nowhere, {*files} - {*logs}),
        }
        if leaks := {place: labels for place, labels in found.items() if labels}:
            raise FaultFoundError(f"private values at rest: {leaks}")
        megabytes = sum(path.stat().st_size for path in files if path.exists()) >> 20
        return (
            f"{len(NOWHERE)} marks that must be nowhere and {len(STORED_ONLY)} that no log may"
            f" tell, in {len(everywhere)} forms, in {len(files):,} files of {megabytes} MB,"
            f" {len(logs)} of them logs, and {len(dumps)} dumps: no hit"
        )

    def connect(self, database: str = DATABASE) -> psycopg.Connection[tuple[object, ...]]:
        """Connect to the home's server, and start it if necessary."""
        return psycopg.connect(self._url(database), autocommit=True)

    def stop_postgres(self) -> None:
        """Stop PostgreSQL at once."""
        os.kill(
            int((data_folder(self.home) / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT
        )
        until("PostgreSQL is gone", lambda: running_url(self.home) is None)

    @contextmanager
    def broken(self, table: str, condition: str) -> Iterator[None]:
        """Make new rows of a table fail unless they fulfil the condition.

        The detail of the error would show the whole row.
        """
        with self.connect() as connection:
            connection.execute(
                f"alter table signal.{table} add constraint broken check ({condition}) not valid"
            )  # type: ignore[arg-type]
            yield
            connection.execute(f"alter table signal.{table} drop constraint broken")  # type: ignore[arg-type]

    @contextmanager
    def process(self, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command until it is told to stop, with its output below the home."""
        with (self.home / "outputs" / str(arguments[0])).open("ab") as output:
            process = subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                env=self.environment | environment,
                cwd=self.home,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()

    @contextmanager
    def _serve(self) -> Iterator[int]:
        """Run a server that cannot start PostgreSQL again."""
        port = free_port()
        with self.process("serve", "--port", port, SIGNAL_DATABASE_URL=self._url(DATABASE)):
            _demand(wait_until_up(port, PATIENCE_SECONDS), "the API starts")
            yield port

    def _run(self, code: int, *arguments: object, lines: list[bytes] | None = None) -> Path:
        """Run a command that must end with this code; return the file with its output."""
        path = (
            self.home
            / "outputs"
            / f"{len(list((self.home / 'outputs').iterdir())):02}-{arguments[0]}"
        )
        with path.open("wb") as output:
            done = subprocess.run(
                [*COMMAND, *map(str, arguments)],
                env=self.environment,
                cwd=self.home,
                input=b"\n".join(lines or []),
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        _demand(done.returncode == code, f"{path.name} ends with {code}, not {done.returncode}")
        return path

    def _url(self, database: str) -> str:
        url = running_url(self.home) or start_embedded(self.home)
        return with_database(url, database)

    def _dump(self, database: str) -> bytes:
        program = wheel_program("pg_dump")
        _demand(program is not None, "the wheel has pg_dump")
        return subprocess.run(
            [str(program), "--dbname", self._url(database)], capture_output=True, check=True
        ).stdout


def _is_log(path: Path) -> bool:
    return path.suffix == ".log" or path.name == "log" or "outputs" in path.parts


def _demand(true: bool, what: str) -> None:
    if not true:
        raise FaultFoundError(f"not so: {what}")


def until(what: str, true: Callable[[], bool]) -> None:
    """Wait until the condition is true; an error counts as not yet."""
    give_up = time.monotonic() + 2 * PATIENCE_SECONDS
    while time.monotonic() < give_up:
        with suppress(OSError, psycopg.Error, ValueError):
            if true():
                return
        time.sleep(0.2)
    raise StuckError(f"never: {what}")
