"""The leak test: everything runs with marked inputs, and then every store is searched.

Errors are provoked on purpose. These places are searched: dumps of both databases, the data files
and WAL, PostgreSQL's log, the spool while events wait in it, the output of every process, Dagster's
GraphQL if its UI ran, and every other file below `SIGNAL_HOME`, temporary ones included.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from faults.leak_home import LeakHome, demand, until
from faults.leak_inputs import (
    AGENT,
    BROKEN,
    EMAIL,
    ENTITY,
    GATEWAY_SECRET,
    HOST,
    IPV4,
    SESSION,
    SPOOLED,
    STORED,
    TOKEN,
    USER_ID,
    all_kinds,
    create,
    event,
    marked,
    nowhere,
    reads,
    requests,
    stored_only,
    user_hash,
)
from faults.marks import hits, hits_in_files, needles
from faults.wire import Client, Gateway
from faults.world import FaultFoundError
from signal_pipeline.dagster.home import DAGSTER_DATABASE
from signal_pipeline.ingest.spool_files import waiting_files
from signal_pipeline.postgres.embedded import DATABASE
from signal_pipeline.postgres.embedded_folders import data_folder
from signal_pipeline.settings import Settings

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


class LeakTest(LeakHome):
    """The steps of the test, in their order, and the search."""

    answers = b""  # The answers of Dagster's UI.

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.today = datetime.now(UTC).date()
        self.yesterday = self.today - timedelta(days=1)

    def by_command(self) -> None:
        """Run the commands on marked inputs.

        They ingest good and bad lines, look up data subjects, backfill a day (the first try fails),
        print a report, and send a test alert.
        """
        self.connect().close()  # This process keeps the server up between the commands.
        self.run(0, "migrate")
        with self.connect() as connection:
            connection.execute(SPREAD_OUT)
            connection.execute("alter system set log_min_messages = 'info'")
            connection.execute("select pg_reload_conf()")
        self.run(0, "ingest", "-", "--json", lines=all_kinds(self.yesterday))
        person = f"{HOST}\n{IPV4} {EMAIL}\n{AGENT}\n".encode()
        self.run(1, "subject", "--day", self.yesterday, lines=[person, TOKEN.encode()])
        with self.broken("events", "route <> '/broken'"):
            self.run(
                1,
                "ingest",
                "-",
                lines=[marked(self.yesterday, route="/broken"), *all_kinds(self.yesterday)],
            )
        with self.broken("books", "false"):
            self.run(1, "ingest", "-", lines=all_kinds(self.yesterday))
        with self.broken("builds", "false"):
            self.run(1, "backfill", "--from", self.yesterday, "--to", self.yesterday)
        with self.connect(DAGSTER_DATABASE) as connection:
            connection.execute(SPREAD_OUT)
        self.run(0, "backfill", "--from", self.yesterday, "--to", self.yesterday)
        self.run(0, "report", "app", "--from", self.yesterday, "--to", self.today)
        self.run(1, "alert-test")

    def by_api(self) -> None:
        """Send good and bad requests, and provoke errors of the database.

        Events wait in the spool while the database is away.
        """
        with self.serve() as port:
            settings = Settings(
                _env_file=None, home=self.home, hmac_secret=SecretStr(GATEWAY_SECRET)
            )  # type: ignore[call-arg]
            people, admins = (
                Gateway(settings, USER_ID),
                Gateway(settings, f"{USER_ID}-boss", admin=True),
            )
            with closing(Client(port, people)) as client:
                for request in [*requests(people), *reads(admins, self.today)]:
                    demand(
                        client.post(request.body, request.headers).status in request.statuses,
                        "the API answers as it should",
                    )
                with self.broken("events", "route <> '/broken'"):
                    request = create(people, event(route="/broken"), statuses=BROKEN)
                    demand(
                        client.post(request.body, request.headers).status in request.statuses,
                        "a broken table is an error",
                    )
                self._spool(client, people, admins)

    def _spool(self, client: Client, people: Gateway, admins: Gateway) -> None:
        self.stop_postgres()
        request = create(people, event(clientEventId=SPOOLED, sessionId=SESSION))
        demand(
            client.post(request.body, request.headers).outcomes == [("spooled", None)],
            "events go to the spool",
        )
        for request in reads(admins, self.today):
            client.post(request.body, request.headers)
        shutil.copytree(self.home / "spool", self.home / "spool-as-it-was")
        self.connect().close()
        until("the spool is drained", lambda: not waiting_files(self.home / "spool"))

    def search(self) -> str:
        """Search before and after erasures; return figures. Raises FaultFoundError."""
        person = f"{HOST}\n{IPV4}\n{AGENT}\n".encode()
        person_hash = user_hash(self.yesterday).hex()
        subject = self.run(0, "subject", "--day", self.yesterday, lines=[person])
        demand(person_hash in subject.read_text(), "the subject is found")
        # The search must find what is there: the ids of the stored events, in the dump and in the
        # data files.
        with self.connect() as connection:
            connection.execute("checkpoint")
        kept = {"event id": STORED, "spooled event id": SPOOLED}
        demand(kept.keys() <= hits(needles(kept), self.dump(DATABASE)), "the dump is searched")
        ledger = needles({"ledger": bytes.fromhex(STORED.replace("-", ""))})
        demand(
            bool(hits_in_files(ledger, (data_folder(self.home) / "base").rglob("*"))),
            "the data files are searched",
        )
        self.run(0, "erase", "--user-hash", person_hash, "--day", self.yesterday, "--json")
        self.run(0, "erase", "--entity", "journey", ENTITY, "--json")
        with self.connect() as connection:
            connection.execute("checkpoint")
        dumps = {name: self.dump(name) for name in (DATABASE, DAGSTER_DATABASE)}
        files = [path for path in self.home.rglob("*") if path.is_file()]
        logs = [path for path in files if path != subject and _is_log(path)]
        private, not_in_logs = nowhere(self.today), stored_only(self.yesterday)
        forbidden = needles(private)
        everywhere = {**forbidden, **needles(not_in_logs)}
        found = {
            "dump": hits(forbidden, dumps[DATABASE]),
            "dump after the erasures": hits(
                needles({"hash": person_hash, "entity": ENTITY}), dumps[DATABASE]
            ),
            "dump of Dagster's storage": hits(everywhere, dumps[DAGSTER_DATABASE]),
            "answers of Dagster's UI": hits(everywhere, self.answers),
            **hits_in_files(everywhere, logs),
            **hits_in_files(forbidden, {*files} - {*logs}),
        }
        if leaks := {place: labels for place, labels in found.items() if labels}:
            raise FaultFoundError(f"private values at rest: {leaks}")
        megabytes = sum(path.stat().st_size for path in files if path.exists()) >> 20
        return (
            f"{len(private)} marks that must be nowhere and {len(not_in_logs)} that no log may"
            f" tell, in {len(everywhere)} forms, in {len(files):,} files of {megabytes} MB,"
            f" {len(logs)} of them logs, and {len(dumps)} dumps: no hit"
        )


def _is_log(path: Path) -> bool:
    return path.suffix == ".log" or path.name == "log" or "outputs" in path.parts
