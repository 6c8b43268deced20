"""Importing a module does nothing else."""

from __future__ import annotations

import subprocess
import sys

from support.commands import environment_with

# psycopg's connections are made in C, where Python's audit hooks do not see them.
PROGRAM = """
import importlib, pkgutil, sys, threading
import dagster, dagster_postgres, psycopg, signal_pipeline  # Dagster itself starts a process.

def refuse(*arguments, **options):
    raise SystemExit(f"importing {module.name} connects to a database")

def watch(event, arguments):
    if event in ("socket.connect", "subprocess.Popen", "os.fork"):
        raise SystemExit(f"importing {module.name}: {event}")

psycopg.connect = psycopg.Connection.connect = refuse
sys.addaudithook(watch)
threads = threading.active_count()
for module in pkgutil.walk_packages(signal_pipeline.__path__, "signal_pipeline."):
    if ".migrations." not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
    if threading.active_count() != threads:
        raise SystemExit(f"importing {module.name} starts a thread")
print("done")
"""


def test_importing_any_module_starts_nothing() -> None:
    """Importing opens no connection and starts no thread or process.

    No start date is set, so a module that made partitions would ask the database for one.
    """
    environment = environment_with({"SIGNAL_DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"})
    environment.pop("SIGNAL_START_DATE", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_definitions_load_without_the_libraries_of_dagsters_storage() -> None:
    """Loading them takes longer than loading all that is Signal's, in each process of Dagster's."""
    program = (
        "import sys; from signal_pipeline.definitions import defs; defs();"
        " print({'sqlalchemy', 'alembic', 'duckdb', 'vl_convert'} & set(sys.modules))"
    )
    environment = environment_with({"SIGNAL_ENV": "development", "SIGNAL_START_DATE": "2026-01-01"})
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
