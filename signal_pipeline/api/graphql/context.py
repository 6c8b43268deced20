"""The context of resolvers: one request, and the services that all requests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.identity.callers import Authenticated, Caller
from signal_pipeline.api.identity.rate_limit import RateLimit
from signal_pipeline.api.spooling_ingest import Answer
from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.models import Models


@dataclass(frozen=True, slots=True)
class Services:
    """The services of the process, which all requests share."""

    ingest: Ingest
    commits: GroupCommit
    rate_limit: RateLimit
    database: Database  # For reads and their audit, with a statement timeout.
    models: Models
    catalogue: Catalogue
    readers: Executor
    actor: Callable[[str], bytes]  # Returns the digest of a user for the audit log.


@dataclass(slots=True)
class RequestContext:
    """One request, as resolvers see it.

    The address lives only as long as the request. The user agent can stay longer, in the cache of
    user agents. Only acceptance reads the address and the user agent.
    """

    services: Services
    caller: Caller
    address: str | None = field(repr=False)
    host: str | None
    user_agent: str | None = field(repr=False)
    answers: list[Answer] = field(default_factory=list)
    events_sent: int = 0
    stats_answered: bool = False

    @property
    def is_admin(self) -> bool:
        """Return whether the caller may see raw events and hashes."""
        return isinstance(self.caller, Authenticated) and "admin" in self.caller.roles

    def outcomes(self) -> dict[str, object]:
        """Return `extensions.signal`: what became of each event of the request, in order.

        For a request with a single event, its outcome and reason are at the top level too.
        """
        events = [{"outcome": answer.kind, "reason": answer.reason} for answer in self.answers]
        if len(events) == 1:
            return {**events[0], "counts": {self.answers[0].kind: 1}, "events": events}
        return {"counts": dict(Counter(answer.kind for answer in self.answers)), "events": events}
