#!/usr/bin/env bash
# duckdb 2.0.0 (PyPI) and gc.freeze of Python's standard library, which pre-fork servers call after
# loading: if duckdb is loaded at that time, the process prints some 50 lines "nanobind: leaked ..." on
# stderr when it ends, although nothing leaked. It exits with 0, and its answers are right.
# Seen, lines on stderr (and the first of them):
#   duckdb alone                        0
#   frozen before duckdb is imported    0
#   frozen after duckdb is imported     48   nanobind: leaked 27 instances!
#   frozen, unfrozen before the exit    0
# Exits non-zero when a release behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys

QUERY = "assert duckdb.connect().execute('SELECT 1').fetchone() == (1,)"
CASES = {
    "duckdb alone": (f"import duckdb; {QUERY}", False),
    "frozen before duckdb is imported": (f"import gc; gc.freeze(); import duckdb; {QUERY}", False),
    "frozen after duckdb is imported": (f"import gc, duckdb; gc.freeze(); {QUERY}", True),
    "frozen, unfrozen before the exit": (
        f"import gc, duckdb; gc.freeze(); {QUERY}; gc.unfreeze()",
        False,
    ),
}
changed = False
for name, (program, warns) in CASES.items():
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    print(f"{name:35} {len(lines):3}   {lines[0] if lines else ''}")
    changed |= any(line.startswith("nanobind: leaked") for line in lines) != warns
raise SystemExit(changed)
PYTHON
