# Everything runs in .venv, which these targets make from hash-pinned locks. Needs Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help run dev example quick test test-all test-deep test-at costs check check-js vendor lint format types imports install install-dev lock openapi docs sbom bench release cut clean

help:            ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

run: install     ## Gateway, sandbox and a demo tenant on this machine
	@$(BIN)/reelgate dev

dev: install-dev ## The same, started anew whenever a file in app/ changes
	@$(BIN)/python -m tools.dev

# NAME: a folder of examples/. REELGATE_URL and REELGATE_KEY name another gateway and key than those of `make run`.
NAME ?=
example: install-dev ## An example against the gateway of `make run`: make example NAME=shell
	@test -x examples/$(or $(NAME),none)/run || { echo "NAME is one of:" $$(cd examples && ls -d */ | tr -d /); exit 1; }
	@REELGATE_URL="$${REELGATE_URL:-http://127.0.0.1:8700}" PYTHON="$(abspath $(BIN)/python)" \
		REELGATE_KEY="$${REELGATE_KEY:-$$($(BIN)/reelgate dev --show-key)}" examples/$(NAME)/run

# T: files or folders, K: a part of tests' names, N: how many run side by side: one more than two cores, since some wait.
T ?=
K ?=
N ?= 3
# Where compiled files are not kept, every process that a test starts compiles the whole application again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest -n $(N) --dist worksteal $(if $(K),-k '$(K)') $(T)

QUICK := not (postgresql or process or browser or campaign or deep)
# The dearest of these tests take eight tenths of their time: they are left out where no part is named (make costs).
quick: check     ## Checks, then the tests that need only this process: make quick T=tests/following K=cancel
	@$(PYTEST) -p no:schemathesis --hypothesis-profile=dev -m '$(QUICK)$(if $(T)$(K),, and not costly)'

test: check      ## Checks, then every guarantee once, on SQLite and PostgreSQL
	@$(PYTEST) -p no:schemathesis -m 'not deep'

test-all: check  ## Checks, then every test there is
	@$(PYTEST)

test-deep: install-dev  ## What CI runs beyond `test`: the rest of `test-all` but for what takes longest
	@$(PYTEST) -m 'deep and not rare'

# AT is in UTC. Days on which a suite likes to fail: 2026-12-31 23:50 (also a month's end), 2028-02-29 12:00,
# and the changes of Europe's clocks, 2027-03-28 00:55 and 2026-10-25 00:55. Needs a C compiler.
AT ?= 2028-02-29 12:00
test-at: install-dev  ## The tests of `make quick` on another day: make test-at AT='2026-12-31 23:50'
	@$(CC) -shared -fPIC -O2 -o $(VENV)/moved_clock.so tests/moved_clock.c -ldl
	@MOVED_CLOCK_S=$$(( $$(date -u -d '$(AT)' +%s) - $$(date +%s) )) LD_PRELOAD=$(CURDIR)/$(VENV)/moved_clock.so \
		$(PYTEST) -p no:schemathesis --hypothesis-profile=dev -m '$(QUICK)'

costs: install-dev  ## Measure anew which tests are too costly for `make quick` (tests/costly.txt)
	@$(BIN)/python -m tests.costs

check: install-dev  ## Linter, formatter, types, imports: side by side
	@$(MAKE) --no-print-directory -j4 lint format types imports

lint:
	@$(BIN)/ruff check --quiet

format:
	@$(BIN)/ruff format --check --quiet

types:  # on a busy machine its workers may start too late for it, which it ends with 2
	@$(BIN)/mypy --no-error-summary --num-workers 2 || { test $$? = 2 && $(BIN)/mypy --no-error-summary; }

imports:
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

check-js:        ## Types of the pages' JavaScript, and that client.js is what its source makes, where there is Node.js
	@if command -v npm >/dev/null; then \
		$(MAKE) --no-print-directory $(TSC) && $(TSC) --project tools/js && \
		$(MAKE) --no-print-directory CHECK=--check clients-js; \
	else echo "The JavaScript is not type-checked: there is no Node.js (npm) here."; fi

TSC := tools/js/node_modules/.bin/tsc
$(TSC): tools/js/package-lock.json
	@npm ci --prefix tools/js --silent
	@touch $@

TS := clients/typescript
.PHONY: clients-js test-clients-js pack-clients-js
clients-js: $(TSC)  ## Write client.js and the types of the API from clients/typescript, openapi.json and the catalogue
	@rm -rf $(TS)/build
	@$(TSC) --project $(TS)/tsconfig.core.json --noCheck && node $(TS)/tools/documents.mjs $(TS)/build $(CHECK)
	@$(TSC) --project $(TS)/tsconfig.core.json
	@$(TSC) --project $(TS)/tsconfig.core.json --removeComments --declaration false --outDir $(TS)/build/plain
	@node $(TS)/tools/client.mjs $(TS)/build $(CHECK)

test-clients-js: ## Tests of the TypeScript library and its package, where there is Node.js
	@if command -v npm >/dev/null; then \
		$(MAKE) --no-print-directory $(TS)/node_modules/.installed && cd $(TS) && npm test --silent; \
	else echo "The TypeScript library is NOT tested: there is no Node.js (npm) here."; fi

$(TS)/node_modules/.installed: $(TS)/package-lock.json
	@npm ci --prefix $(TS) --silent
	@touch $@

pack-clients-js: $(TS)/node_modules/.installed  ## The TypeScript library as a package, clients/typescript/reelgate-*.tgz
	@cd $(TS) && rm -rf dist && npm pack --silent

examples/%/node_modules/.installed: examples/%/package-lock.json $(wildcard $(TS)/src/*.ts)
	@command -v npm >/dev/null || { echo "This example needs Node.js (npm)."; exit 1; }
	@$(MAKE) --no-print-directory $(TS)/node_modules/.installed
	@cd $(TS) && rm -rf dist && node_modules/.bin/tsc
	@npm ci --prefix examples/$* --silent
	@touch $@

vendor:          ## The one bundle of others' scripts that the console and the portal use; needs Node.js
	@npm ci --prefix tools/pages --silent && node tools/pages/build.mjs

install: $(VENV)/.installed      ## The environment in .venv, with the reelgate command
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Reelgate needs Python 3.11 or newer."; exit 1; }
	@echo "Making an environment in $(VENV); this is done once, and takes a minute or two."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing what Reelgate needs into $(VENV):"
	@$(BIN)/python tools/install.py requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock clients/python/pyproject.toml $(VENV)/.installed
	@echo "Installing the development tools into $(VENV):"
	@$(BIN)/python tools/install.py requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable clients/python
	@touch $@

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --upgrade \
	--extra oidc --extra otel --extra sandbox --extra postgres --group build

lock: install-dev  ## Resolve the locks of Python packages anew
	@$(LOCK) pyproject.toml -o requirements.lock
	@$(LOCK) --extra dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
		tools/clients/requirements.in -o tools/clients/requirements.lock

openapi: install-dev  ## Write openapi.json, openapi-admin.json and the types of the client libraries
	@$(BIN)/reelgate openapi --output openapi.json
	@$(BIN)/reelgate openapi --admin --output openapi-admin.json
	@$(BIN)/python -m tools.client_types
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory clients-js; \
	else echo "The types in TypeScript are NOT written: there is no Node.js (npm) here."; fi

docs: install-dev ## Write the tables of the docs that are made from the code
	@$(BIN)/python -m tools.docs

sbom: install    ## List every package of the image, as CycloneDX: make sbom > sbom.json
	@$(BIN)/python -m tools.sbom

bench: install-dev  ## Measure status and submit beside a bare FastAPI route
	@$(BIN)/python -m bench

release: install-dev  ## Build wheel and sdist of this commit, and check what a release needs; it publishes nothing
	@$(BIN)/python -m tools.release

cut: install-dev ## Cut the release of the version in pyproject.toml: heading, commit, checks, tag. DRY=1: in a clone alone
	@$(BIN)/python -m tools.cut $(if $(DRY),--dry)

clean:           ## Remove the environment (not the data)
	@rm -rf $(VENV)
