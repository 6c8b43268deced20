"""The one way in: events are checked and stored, and what became of each is counted.

The command, the landing folder, the Dagster resource and the API all come through here. The module
needs neither Dagster nor the API, so that another Python service can embed it.

A batch takes these steps in order; steps 2 to 4 are taken line by line:

1. Read: `NdjsonReader` decompresses the stream and splits it into blocks of whole lines.
2. Size: `Acceptance.check_lines` drops a line that is too long.
3. Decode: `check_lines` turns a line's JSON into an `IncomingEvent`, with an aware time.
4. Check: `Acceptance._accept` takes the steps of requirement 3. These are the form of the fields,
   the event type, the app, the entity, the description, bots, the time, and last the hash. The
   first step that fails makes the event a `Drop`.
5. Lay out: `prepare` separates the events from drops and from repetitions within the batch, and
   encodes the events as rows of `COPY`.
6. Store: `EventWriter.write` does all that is left in one transaction. It locks the days, drops the
   events of purged ones, adds keys to the ledger, stores the events whose keys are new, counts
   every outcome in the books, and raises the versions of the days.
7. Tell: `Counts` adds up the outcomes for the caller. `log_drops` logs the drops by reason and
   event type; those of a stream are logged together, usually at its end.

The next batch goes through steps 1 to 5 while step 6 stores this one. An event of the API begins at
step 4, after which the API applies its rate limit. Step 4 is one function, because a function for
each of its parts made steps 2 to 4 about 2 % slower.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import BinaryIO

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.concurrency import run_while_preparing, short_switch_interval
from signal_pipeline.days.calendar import stored_start_date
from signal_pipeline.events import hashing
from signal_pipeline.events.acceptance import Acceptance
from signal_pipeline.events.event import AcceptedEvent, Drop, IncomingEvent
from signal_pipeline.events.user_agents import forget_past_days
from signal_pipeline.ingest.books import Outcome
from signal_pipeline.ingest.drop_log import DropKind, kinds_of_drops, log_drops
from signal_pipeline.ingest.ndjson import Block, NdjsonReader, StreamError, without_marks
from signal_pipeline.ingest.writer import Batch, EventWriter, prepare
from signal_pipeline.keys import ingest_secret
from signal_pipeline.postgres.database import Connection, Database, open_database
from signal_pipeline.settings import Settings

BATCH_BYTES = 8 * 1024 * 1024  # About 20,000 lines.
MOST_DROP_KINDS = 10_000  # A file can state a different unknown event type in each line.
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of the server's clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Counts:
    """The outcomes of a call: received = accepted + duplicate + the sum of `dropped`.

    `dropped` is by reason. `first_malformed` is the number of the first malformed line, counted
    from 1 at the point where reading began; it is None if there is none.
    """

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    first_malformed: int | None = None

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count the outcomes of one batch."""
        for (kind, reason), events in Counter(outcomes).items():
            self.received += events
            if kind == "accepted":
                self.accepted += events
            elif kind == "duplicate":
                self.duplicate += events
            else:
                self.dropped[reason or ""] += events

    def merge(self, other: Counts) -> None:
        """Add the counts of another call, but not its `first_malformed`."""
        self.received += other.received
        self.accepted += other.accepted
        self.duplicate += other.duplicate
        self.dropped.update(other.dropped)

    def as_dict(self) -> dict[str, object]:
        """Return the object that `ingest --json` prints."""
        return {
            "received": self.received,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "dropped": dict(sorted(self.dropped.items())),
        }


class CutShortError(StreamError):
    """The error for a stream that could not be read to its end.

    The events before that point are stored and counted.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}: what could be read of it is stored")


class Ingest:
    """Checks events, and stores them over one connection.

    One thread can check while another stores. Two threads must not check at once, nor store at
    once.
    """

    def __init__(self, acceptance: Acceptance, writer: EventWriter, clock: Clock = utc_now) -> None:
        self.acceptance = acceptance
        self._writer = writer
        self._clock = clock
        self._today = date.min

    @classmethod
    def from_settings(
        cls, settings: Settings, database: Database | None = None, clock: Clock = utc_now
    ) -> Ingest:
        """Make an ingest for the configured database, catalogue and secret.

        Raises SignalError for a missing or weak secret, a broken catalogue, or a database without
        the schema.
        """
        secret = ingest_secret(settings)
        catalogue = load_catalogue(settings.catalogue)
        database = database or open_database(settings)
        with database.connect() as connection:
            start_date = stored_start_date(connection)
        acceptance = Acceptance(catalogue, secret, start_date, settings.retention_days)
        return cls(acceptance, EventWriter(database, hashing.key_id(secret)), clock)

    def close(self) -> None:
        """Close the connection to the database."""
        self._writer.close()

    def check(self, event: IncomingEvent) -> AcceptedEvent | Drop:
        """Decide what becomes of one event, before it is stored."""
        return self.acceptance.check(event, self._now_and_forget_past_days())

    def store(
        self,
        checked: Batch | Sequence[AcceptedEvent | Drop],
        within: Callable[[Connection], None] | None = None,
        drops: Counter[DropKind] | None = None,
    ) -> list[Outcome]:
        """Store checked events and count drops in one transaction, and return each outcome.

        `checked` is either a prepared batch or a list that is prepared here. `within` is called in
        the same transaction. The drops are added to `drops`, which the caller logs; if `drops` is
        None, they are logged here. Raises DatabaseError; then nothing is stored or counted, with
        the one exception that `EventWriter.write` names.
        """
        batch = checked if isinstance(checked, Batch) else prepare(checked)
        outcomes = self._writer.write(batch, within, self._clock().date())
        kinds = kinds_of_drops(zip(batch.checked, outcomes, strict=True))
        if drops is None:
            log_drops(kinds)
        else:
            drops.update(kinds)
            if len(drops) > MOST_DROP_KINDS:
                log_drops(drops)
                drops.clear()
        return outcomes

    def ingest_stream(
        self,
        stream: BinaryIO,
        *,
        start: int = 0,
        counts: Counts | None = None,
        progress: Callable[[int], None] | None = None,
        committed: Callable[[Connection, int], None] | None = None,
    ) -> Counts:
        """Ingest NDJSON from a binary stream, plain or compressed, in one transaction per batch.

        `start` is the offset where an earlier call stopped; a plain stream must be able to seek to
        it. Each batch is added to `counts`, which is also returned. So after an error, `counts`
        says what is stored. `progress` is called with the number of bytes of each committed batch.
        `committed` is called inside each batch's transaction with the offset after the batch, in
        decompressed bytes. The next batch is checked and laid out while the last one is being
        stored. The drops are logged at the end, also after an error. If they are of very many
        kinds, some are logged earlier.

        Raises FormError, before anything is stored, for a form other than NDJSON. Raises
        CutShortError for a stream that cannot be read to its end: compressed data that is cut short
        or damaged, or an error of the system. What could be read of it is then stored. Raises
        DatabaseError; the batches before the failed one are stored.
        """
        counts = Counts() if counts is None else counts
        reader = NdjsonReader(stream, BATCH_BYTES, start)
        drops: Counter[DropKind] = Counter()
        try:
            with (
                short_switch_interval(),
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="signal-writer") as pool,
            ):
                storing = (self._prepare(block, committed, drops) for block in reader)
                for block, outcomes in run_while_preparing(pool, storing):
                    _count(block, outcomes, counts)
                    if progress is not None:
                        progress(block.bytes)
        finally:
            log_drops(drops)
        if reader.fault:
            raise CutShortError(reader.fault)
        return counts

    def ingest_lines(self, lines: Iterable[bytes]) -> Counts:
        """Ingest NDJSON lines that are already in memory, in one transaction."""
        counts = Counts()
        counts.add(self.store(self._check_lines([without_marks(line) for line in lines])))
        return counts

    def seconds_to_midnight(self) -> float:
        """Return the seconds until the next midnight UTC by the server's clock."""
        now = self._clock()
        return (datetime.combine(now.date() + timedelta(days=1), time(), UTC) - now).total_seconds()

    def forget_past_days(self) -> None:
        """Forget the user agents of a day that is over (requirement 2.8).

        A server that keeps an idle ingest open calls this at midnight UTC.
        """
        self._now_and_forget_past_days()

    def _prepare(
        self,
        block: Block,
        committed: Callable[[Connection, int], None] | None,
        drops: Counter[DropKind],
    ) -> Callable[[], tuple[Block, list[Outcome]]]:
        """Check the lines of a block and lay them out; return the call that stores them."""
        batch = prepare(self._check_lines(block.lines))
        within = committed and partial(_call_with_offset, committed, block.end_offset)
        return lambda: (block, self.store(batch, within, drops))

    def _check_lines(self, lines: Iterable[bytes]) -> list[AcceptedEvent | Drop]:
        return self.acceptance.check_lines(lines, self._now_and_forget_past_days())

    def _now_and_forget_past_days(self) -> datetime:
        now = self._clock()
        if now.date() != self._today:  # No user agent is remembered past its day.
            forget_past_days(now.date())
            self._today = now.date()
        return now


def _call_with_offset(
    committed: Callable[[Connection, int], None], offset: int, connection: Connection
) -> None:
    committed(connection, offset)


def _count(block: Block, outcomes: Sequence[Outcome], counts: Counts) -> None:
    counts.add(outcomes)
    if counts.first_malformed is None and counts.dropped["malformed"]:
        counts.first_malformed = _first_malformed(block, outcomes)


def _first_malformed(block: Block, outcomes: Sequence[Outcome]) -> int:
    numbers = (
        n for n, line in enumerate(block.lines, block.first_line) if line and not line.isspace()
    )
    return next(
        n for n, outcome in zip(numbers, outcomes, strict=True) if outcome.reason == "malformed"
    )
