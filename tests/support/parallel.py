"""How `make test` spreads the tests over its workers.

Each file goes to one worker, and slow files go first. So a thing that a file shares, such as a
server of its fixtures, is made once. Each worker has its own PostgreSQL servers, so names of
databases and roles cannot clash. A file that runs on both servers is two parts, because they share
nothing.
"""

from __future__ import annotations

import re

import pytest
from xdist.scheduler import LoadScopeScheduling

# The longest come first, because a long file that starts last keeps one worker busy while the
# others wait. Files that are not in this list follow.
SLOW_FIRST = (
    "tests/dagster/test_shared.py",
    "tests/dagster/test_tutorial.py",
    "tests/faults/test_false_clock.py",
    "tests/api/test_connection_limits.py",
    "tests/api/test_slow_clients.py",
    "tests/api/test_unread_answers.py",
    "tests/api/test_request_bounds.py",
    "tests/api/test_ending_workers.py",
    "tests/test_deploy.py",
    "tests/faults/test_suppression.py",
    "tests/faults/test_year.py",
    "tests/reports/test_small_cells.py",
    "tests/cli/test_completion.py",
    "tests/cli/test_commands.py",
    "tests/cli/test_ingest_command.py",
    "tests/client/",
    "tests/cli/test_data_subjects.py",
    "tests/cli/test_what_is_not_found.py",
    "tests/dagster/test_checks.py",
    "tests/faults/test_leaks.py",
    "tests/reports/test_reports.py",
    "tests/reports/test_labels.py",
    "tests/dagster/test_nightly_runs.py",
    "tests/dagster/test_purged_day_runs.py",
    "tests/dagster/test_rollup_runs.py",
    "tests/api/test_outage.py",
    "tests/dagster/test_races.py",
    "tests/api/test_server.py",
    "tests/faults/test_kills.py",
    "tests/dagster/test_pruning.py",
    "tests/api/test_development.py",
)
# Parts of several files. The tests of the client build the same npm package in its folder. The files
# of the two lanes start whole deployments of Dagster, of ten processes each: with more than two at
# a time on two cores, these would miss the heartbeats of each other.
CLIENT = ("tests/client/",)
LANES = (
    (
        "tests/dagster/test_shared.py",
        "tests/dagster/test_production.py",
        "tests/dagster/test_dev_stop.py",
        "tests/dagster/test_neighbours.py",
        "tests/dagster/test_proxy.py",
        "tests/cli/test_child_environments.py",
    ),
    (
        "tests/dagster/test_tutorial.py",
        "tests/dagster/test_two_machines.py",
        "tests/dagster/test_dev.py",
        "tests/faults/test_neighbours.py",
        "tests/cli/test_demo.py",
        "tests/test_wheel.py",
    ),
)
TOGETHER = {path: together[0] for together in (CLIENT, *LANES) for path in together}


def part(nodeid: str) -> str:
    """The name of the part that a test belongs to; one worker runs it whole."""
    file, _, test = nodeid.partition("::")
    for path, first in TOGETHER.items():
        if file.startswith(path):
            return first
    on_installed = re.search(r"\[(.*-)?installed(-.*)?\]$", test)
    return f"{file} installed" if on_installed else file


def slow_first(items: list[pytest.Item]) -> None:
    """Put the parts in the order in which workers take them.

    The order of the tests within a part stays.
    """
    rank = {name: number for number, name in enumerate(SLOW_FIRST)}
    items.sort(key=lambda item: rank.get(part(item.nodeid), len(rank)))


class ByPart(LoadScopeScheduling):
    """Gives a free worker the next part."""

    def _split_scope(self, nodeid: str) -> str:
        return part(nodeid)
