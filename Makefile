# Signal's tasks. `make` lists them. Everything runs in .venv, which `make install` makes.

PYTHON ?= python3
BIN := .venv/bin
# `make install INSTALLER=pip` goes without uv.
INSTALLER ?= uv
# Processes that run the tests: more than the usual two cores, as each waits half of the time.
WORKERS ?= 5
STAMP := .venv/.installed
COMPILED := .venv/.compiled
# Under the Lesser GPL, which allows to use a library unchanged.
LGPL := psycopg psycopg-binary psycopg2-binary

.DEFAULT_GOAL := help
.PHONY: help install client-types demo dev test check check-bi check-dbt docs audit bench faults lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything pinned in requirements.lock

$(STAMP): requirements.lock pyproject.toml uv.requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Signal needs Python 3.11 or newer; set PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { echo "Python's venv module is missing (on Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python tools/install.py --installer $(INSTALLER) requirements.lock
	@touch $(STAMP)

# Python compiles what it imports once, unless it may not keep the result: then each of the many
# processes of these targets would do so again.
$(COMPILED): $(STAMP)
	@[ -z "$$PYTHONDONTWRITEBYTECODE" ] || $(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $(COMPILED)

client-types: install ## Write client/src/events.ts from the catalogue
	@$(BIN)/signal-pipeline catalogue --typescript > client/src/events.ts.new
	@mv client/src/events.ts.new client/src/events.ts

demo: install ## Simulate, ingest, build, purge, and show the numbers
	@$(BIN)/signal-pipeline demo

dev: install $(COMPILED) ## The Dagster UI and daemon on loopback, port 3000
	@$(BIN)/signal-pipeline dev

# The tests start some hundreds of processes, which would all compile the project where Python may
# not keep its bytecode. So would pytest's workers the tests, which a collection keeps for them.
test: install $(COMPILED) ## Run the tests
	@$(BIN)/python -m compileall -q signal_pipeline bench faults
	@[ -z "$$PYTHONDONTWRITEBYTECODE" ] \
		|| PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only --quiet >/dev/null || true
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope --durations 20

check: install ## Lint, types, formatting, and Dagster's definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@mkdir -p .venv/dagster && touch .venv/dagster/dagster.yaml  # Checking definitions needs no database.
	DAGSTER_HOME=$(CURDIR)/.venv/dagster $(BIN)/dg check defs
	@echo "lock: every package pinned by hash"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --dry-run --no-deps --require-hashes -r requirements.lock
	@! git ls-files "*requirements*.lock" | xargs grep -LE "^    --hash=sha256:" | grep .
	@echo "secrets: none in the files of the project"
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --exclude-files '^(tests/|.*requirements.*\.lock|\.env\.example)'
	@echo "licences of the dependencies: none that would bind this project"
	@$(BIN)/pip-licenses --summary --partial-match --fail-on "Affero;GPL-2.0;GPL-3.0-only;GPLv2;GPLv3" --ignore-packages $(LGPL)
	@$(MAKE) --no-print-directory audit

check-bi: install ## Superset, in a venv of its own, on Signal's views (needs a network)
	@$(PYTHON) -m venv .venv/bi
	@.venv/bi/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r bi/requirements.lock
	SIGNAL_TEST_SUPERSET=$(CURDIR)/.venv/bi/bin $(BIN)/python -m pytest -q tests/bi

.venv-dbt/.installed: examples/dbt_weekly/requirements.lock pyproject.toml
	@$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r examples/dbt_weekly/requirements.lock
	.venv-dbt/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	@touch $@

check-dbt: .venv-dbt/.installed ## Run examples/dbt_weekly in dbt and dagster-dbt, in a venv of their own
	.venv-dbt/bin/python -m pytest -q tests/test_dbt_weekly.py

.venv-docs/.installed: docs/requirements.lock
	@$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r docs/requirements.lock
	@touch $@

docs: .venv-docs/.installed ## The documentation as a site in site/; a broken link fails
	@.venv-docs/bin/python tools/docs_site.py site

audit: install ## Known vulnerabilities of what is pinned (needs a network)
	@$(BIN)/pip-audit --require-hashes --disable-pip --progress-spinner off -r requirements.lock \
		>.venv/audit.log 2>&1; code=$$?; \
	if [ $$code -ne 0 ] && grep -qE "GHSA-|PYSEC-|CVE-" .venv/audit.log; then \
		cat .venv/audit.log; exit $$code; \
	elif [ $$code -ne 0 ] || grep -q "could not be audited" .venv/audit.log; then \
		echo "audit: SKIPPED in whole or part, not every package could be looked up: see .venv/audit.log"; \
	else echo "audit: no known vulnerability"; fi

faults: install $(COMPILED) ## Kill, flood, soak and search Signal, for a long time; prints the seed
	@$(BIN)/python -m faults

bench: install $(COMPILED) ## Measure, print one table (about twenty minutes); BENCH="--against REV" compares
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r bench/requirements.lock || echo "chdb cannot be installed here: its row will say so"
	@$(BIN)/python -m bench $(BENCH)

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
# What both need is as requirements.lock has it.
SHARED := numpy pandas pyarrow python-dateutil six tzdata

# dbt-core takes an older pathspec than mypy, which has no place beside dbt.
lock: ## Make the files *requirements*.lock anew: from pyproject.toml, and the tools' from their own lists
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r uv.requirements.lock
	$(COMPILE) --extra dev pyproject.toml --output-file requirements.lock
	$(COMPILE) -c requirements.lock --extra all pyproject.toml --output-file requirements.production.lock
	$(COMPILE) -c requirements.lock $(addprefix --no-emit-package ,$(SHARED)) bench/requirements.in \
		--output-file bench/requirements.lock
	$(COMPILE) -c requirements.lock build.requirements.in --output-file build.requirements.lock
	$(COMPILE) uv.requirements.in --output-file uv.requirements.lock
	$(COMPILE) bi/requirements.in --output-file bi/requirements.lock
	$(COMPILE) docs/requirements.in --output-file docs/requirements.lock
	sed -n 's/^\([a-z0-9].*[^ \\]\) *\\*$$/\1/p' requirements.lock | grep -v '^pathspec=' >.venv/pins.txt
	$(COMPILE) -c .venv/pins.txt --extra all pyproject.toml examples/dbt_weekly/requirements.in \
		--output-file examples/dbt_weekly/requirements.lock

clean: ## Remove .venv and caches; data in .signal stays
	rm -rf .venv .venv-against .venv-dbt .venv-docs site .mypy_cache .ruff_cache .pytest_cache .hypothesis
