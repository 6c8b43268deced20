"""The command `signal-pipeline serve --workers N`: several processes on one port.

The supervisor is uvicorn's. The first process checks the settings, opens the database, and starts
the workers. It replaces a worker that dies, and ends all workers when it is told to stop. Three
limits hold for the server as a whole. The counters of the rate limit are in memory that the workers
share, or in Redis if that is set. The workers divide the connections and the room of the spool
between them. The limits that hold for each worker by itself are in docs/deploy.md.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from signal_pipeline.api.app import create_app
from signal_pipeline.api.connections import Limits, connection_limits
from signal_pipeline.api.identity.configuration import identification_from
from signal_pipeline.api.identity.shared_window import SharedWindow
from signal_pipeline.api.identity.tokens import KeysError
from signal_pipeline.api.server import (
    check_bind,
    listen,
    open_and_migrate,
    open_services,
    rate_limit_from,
    stop_on_sigterm,
    uvicorn_options,
    where_it_listens,
)
from signal_pipeline.errors import SignalError
from signal_pipeline.events.hashing import key_id
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.ingest.spool_folders import gather_spools, open_first_free
from signal_pipeline.keys import audit_key, ingest_secret
from signal_pipeline.postgres.database import (
    Database,
    DatabaseUnreachableError,
    open_database,
    safe_errors,
)
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import Settings, SettingsError
from signal_pipeline.system.child_environments import start_resource_tracker
from signal_pipeline.system.ending_signals import accept_signals, signals_held_back
from signal_pipeline.texts.printable import PrintableFormatter

logger = logging.getLogger(__name__)

# A worker that does not answer for this long is replaced. The time includes the worker's start,
# which alone can take over half a minute on a machine with two processors and a load of 30.
ANSWER_SECONDS = 120
TRY_AGAIN = 1  # The exit code of a worker that can start later.
# The workers' log lines look the same as those of the command.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": PrintableFormatter, "fmt": "%(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {"signal_pipeline": {"level": "INFO"}},
}


class WorkersError(SignalError):
    """A worker could not start, so the server has ended."""


def run_workers(
    settings: Settings,
    host: str,
    port: int,
    workers: int,
    *,
    gateway: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve with several processes until SIGTERM, SIGHUP or Ctrl-C.

    When this returns, every acknowledged event is committed or in the spool. Raises SignalError as
    `run_server` does, and WorkersError if a worker cannot start.
    """
    check_bind(settings, host, gateway)
    # Everything is tried here once, so that a mistake gives one line instead of one line from each
    # worker.
    identification_from(settings, gateway=gateway)
    audit_key(settings)
    window = SharedWindow()
    # Only here: a worker that later replaces another one serves even if Redis refuses it by then.
    rate_limit_from(settings, window).check_storage()
    if settings.spool_dir:
        gather_spools(settings.spool_dir, workers)
    database = open_and_migrate(settings, load_models())
    with database.connect():
        pass
    limits = connection_limits(settings)
    _check_shares(limits, workers)
    port_of_all = _Port(listen(host, port, limits.backlog))
    config = uvicorn.Config(
        partial(_open_worker, _Worker(settings, gateway, workers, window)),
        factory=True,
        workers=workers,
        timeout_worker_healthcheck=ANSWER_SECONDS,
        **{**uvicorn_options(settings, limits.of_each(workers)), "log_config": LOGGING},
    )
    # The supervisor says which of its workers died. In a worker this level is not set.
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    supervisor = _Supervisor(config, port_of_all, say)
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise WorkersError("a worker could not start, for the reason above: all have ended")


def _check_shares(limits: Limits, workers: int) -> None:
    if limits.per_peer < workers:
        raise SettingsError(
            f"SIGNAL_MAX_CONNECTIONS_PER_PEER must be at least {workers}, one for each worker"
        )


class _Port:
    """The port of all workers.

    When this object is sent to a worker, the worker gets a socket of its own on that port.

    The kernel deals new connections out to these sockets. With one shared socket, the worker that
    comes first would take every connection that waits, and one of two workers could get 62 of 64.
    """

    def __init__(self, listener: socket.socket) -> None:
        """Keep the port of `listener`, and close `listener`.

        `listener` listens already, which shows that nobody else listens on this port.
        """
        self.listens_at = where_it_listens(listener)
        self._arguments = (listener.family, listener.getsockname())
        listener.close()
        # This socket never listens. It keeps others from taking the port while no worker is there.
        self._reserved = _bind(*self._arguments)
        # If this socket, which does not listen, kept the option SO_REUSEADDR, another program on
        # Linux that sets it too could listen on the port. So the option is cleared here. Workers
        # can still bind by the other option (SO_REUSEPORT).
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def __reduce__(self) -> tuple[Callable[..., socket.socket], tuple[object, ...]]:
        return _bind, self._arguments


def _bind(family: int, address: tuple[Any, ...]) -> socket.socket:
    """Bind a socket beside others. uvicorn makes it listen when the worker is ready."""
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(address)
    return bound


class _Supervisor(Multiprocess):
    """uvicorn's supervisor, without the signals that reload workers or change their number.

    `say` gets one line when all workers answer.
    """

    def __init__(self, config: uvicorn.Config, port: _Port, say: Callable[[str], None]) -> None:
        ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        # uvicorn only hands the list on.
        super().__init__(config, cast("list[socket.socket]", [port]))
        if ignores_hangup:  # As under nohup.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._say: Callable[[str], None] | None = say
        self._listens_at = port.listens_at

    def run(self) -> None:
        """Serve until a signal; after an error, such as a closed stderr, end the workers too."""
        try:
            super().run()
        except BaseException:
            self.terminate_all()
            self.join_all()
            raise

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died or hang, and say once that all answer."""
        with self._starting_workers():
            super().keep_subprocess_alive()
        if self._say is not None and all(each.is_ready() for each in self.processes):
            self._say(self._listens_at)
            self._say = None

    def init_processes(self) -> None:
        """Start the workers."""
        with self._starting_workers():
            super().init_processes()

    @contextmanager
    def _starting_workers(self) -> Iterator[None]:
        """Let workers start, and keep secrets from the helper process that starts with them.

        If a new worker is told to end, the signal waits until the worker can end in order.
        """
        start_resource_tracker()  # Before a new worker would start it.
        with signals_held_back():
            yield
        for process in self.processes:
            # The worker has this end of the pipe too. Once it is closed here, the pipe closes when
            # the worker dies, and nobody waits for the worker's answer.
            process.child_conn.close()

    def handle_hup(self) -> None:
        """Stop, as one process does."""
        self.handle_term()

    def handle_ttin(self) -> None:
        """Do nothing, because the limits are divided among a fixed number of workers."""

    def handle_ttou(self) -> None:
        """Do nothing, for the same reason as `handle_ttin`."""


@dataclass(frozen=True, slots=True)
class _Worker:
    """What the supervisor hands to each worker."""

    settings: Settings
    gateway: bool
    workers: int
    window: SharedWindow


def _open_worker(worker: _Worker) -> ASGIApp:
    """Open everything in a worker and return its application; end the process if that fails."""
    # A terminal that closes sends SIGHUP to every process. A worker ignores it, because the
    # supervisor ends the workers in order.
    signal.signal(signal.SIGHUP, lambda *_: None)
    # uvicorn handles SIGTERM by now. At its end it would raise the signal again, and no exit
    # handler would run: the embedded PostgreSQL could outlive its last user.
    handler: Any = signal.getsignal(signal.SIGTERM)  # Any: it is a method of uvicorn's server.
    stop_on_sigterm(handler.__self__)
    accept_signals()
    threading.Thread(target=_end_with_supervisor, name="signal-supervisor", daemon=True).start()
    try:
        with safe_errors():
            return _open_app(worker)
    except (DatabaseUnreachableError, KeysError) as error:
        # The other workers still serve, with their spools and the keys that they have.
        _give_up(TRY_AGAIN, f"a worker cannot start, and is tried again: {error}")
    except SignalError as error:
        _give_up(STARTUP_FAILURE, f"a worker cannot start: {error}")
    except OSError as error:  # A file or folder cannot be read or made.
        reason = ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
        _give_up(STARTUP_FAILURE, f"a worker cannot start: {reason}")


def _open_app(worker: _Worker) -> ASGIApp:
    """Open everything, keep it open until the process exits, and return the application."""
    settings, stack = worker.settings, ExitStack()
    identification = identification_from(settings, gateway=worker.gateway)
    database = open_database(settings)
    services = stack.enter_context(
        open_services(
            settings,
            database,
            load_models(),
            rate_limit_from(settings, worker.window),
            _own_spool(worker, database),
        )
    )
    atexit.register(stack.close)
    return create_app(settings, identification, services)


def _give_up(code: int, reason: str) -> NoReturn:
    logger.error("%s", reason)
    sys.exit(code)


def _own_spool(worker: _Worker, database: Database) -> AbstractContextManager[Spool | None]:
    settings = worker.settings
    if not settings.spool_dir:
        return nullcontext()

    def spool(folder: Path) -> Spool:
        return Spool(
            folder,
            database,
            key_id(ingest_secret(settings)),
            settings.retention_days,
            worker.workers,
        )

    return closing(open_first_free(settings.spool_dir, worker.workers, spool))


def _end_with_supervisor() -> None:
    """End this worker in order when the supervisor is gone, for example because it was killed."""
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
