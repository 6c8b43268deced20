# Signal's tasks. `make` lists them. Everything runs in .venv, which `make install` makes.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install client-types demo dev test check bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything pinned in requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Signal needs Python 3.11 or newer; set PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { echo "Python's venv module is missing (on Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

client-types: install ## Write client/src/events.ts from the catalogue
	@$(BIN)/signal-pipeline catalogue --typescript > client/src/events.ts.new
	@mv client/src/events.ts.new client/src/events.ts

demo: install ## Simulate, ingest, build, purge, and show the numbers
	@$(BIN)/signal-pipeline demo

dev: install ## The Dagster UI and daemon on loopback, port 3000
	@$(BIN)/signal-pipeline dev

test: install ## Run the tests
	@$(BIN)/python -m pytest -q

check: install ## Lint, types, formatting, and Dagster's definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@mkdir -p .venv/dagster && touch .venv/dagster/dagster.yaml  # Checking definitions needs no database.
	DAGSTER_HOME=$(CURDIR)/.venv/dagster $(BIN)/dg check defs

bench: install ## Measure, print one table, write bench/results.json (about ten minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[bench]' \
		|| echo "chdb cannot be installed here: its row will say so"
	@$(BIN)/python -m bench $(BENCH)

lock: ## Make requirements.lock anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml --output-file requirements.lock

clean: ## Remove .venv and caches; data in .signal stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
