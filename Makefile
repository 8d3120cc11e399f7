# Everything runs in .venv, which these targets make from hash-pinned locks. Needs Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help run test check install install-dev lock openapi bench clean

help:            ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

run: install     ## Gateway, sandbox and a demo tenant on this machine
	@$(BIN)/reelgate dev

test: check      ## Checks, then every test on SQLite and PostgreSQL
	@$(BIN)/python -m pytest -n 2

check: install-dev  ## Linter, formatter, types, imports
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

install: $(VENV)/.installed      ## The environment in .venv, with the reelgate command
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Reelgate needs Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing the development tools into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --upgrade \
	--extra sandbox --extra postgres --group build

lock: install-dev  ## Resolve both locks anew
	@$(LOCK) pyproject.toml -o requirements.lock
	@$(LOCK) --extra dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock

openapi: install  ## Write openapi.json
	@$(BIN)/reelgate openapi --output openapi.json

bench: install-dev  ## Measure status and submit beside a bare FastAPI route
	@$(BIN)/python -m bench

clean:           ## Remove the environment (not the data)
	@rm -rf $(VENV)
