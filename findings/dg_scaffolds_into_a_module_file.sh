#!/usr/bin/env bash
# `dg scaffold defs` takes a module file for the folder of definitions, and ends in a traceback.
#
# Versions: dagster-dg-cli 1.13.27, dagster 1.13.27, Python 3.11.
#
# A project names the module of its definitions in `code_location_target_module`, and that module is a
# file, `team/definitions.py`; there is no folder `team/defs`. `dg check defs` and `dg list defs` load
# it. `dg scaffold defs` takes the file for the folder that holds definitions, and tries to make a file
# below it: NotADirectoryError, where a message could name the folder that it wants.
#
# Seen on 2026-11-28:
#   check: 0
#   scaffold: 1 NotADirectoryError
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check dagster==1.13.27 dagster-dg-cli==1.13.27 setuptools==80.9.0

mkdir team home
touch team/__init__.py home/dagster.yaml
cat >team/definitions.py <<'PY'
import dagster as dg

defs = dg.Definitions()
PY
cat >pyproject.toml <<'TOML'
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "team"
version = "1.0"

[tool.setuptools]
packages = ["team"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "team"
code_location_target_module = "team.definitions"
TOML
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

export DAGSTER_HOME="$folder/home" PATH="$folder/.venv/bin:$PATH" VIRTUAL_ENV="$folder/.venv"
code=0; dg check defs >check.log 2>&1 || code=$?
echo "check: $code" | tee seen
code=0; dg scaffold defs dagster.asset extra.py >scaffold.log 2>&1 || code=$?
echo "scaffold: $code $(grep -o 'NotADirectoryError' scaffold.log | head -1)" | tee -a seen

diff - seen <<'TXT' || { echo "CHANGED: not what it was"; exit 1; }
check: 0
scaffold: 1 NotADirectoryError
TXT
echo "unchanged"
