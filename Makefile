# The two commands a newcomer needs: `make run` and `make test`. Python >= 3.11 and make are all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements.lock tools.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Oneiro needs Python 3.11 or newer; say which one with: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@ONEIRO_SKIP_UI=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(READY)  ## Make the environment.

ui: $(READY)  ## Build the pages, if something of theirs has changed.
	@$(BIN)/python ui/build.py

dev: $(READY)  ## Serve the pages as they are being changed, beside a running `make run`.
	@exec $(BIN)/python ui/build.py dev

run: ui  ## Run everything here (PORT=8400): database, interpreters, API, and without a key the engine.
	@exec $(BIN)/oneiro up $(if $(PORT),--port $(PORT))

talk: $(READY)  ## Tell Carl a dream in the terminal (INTERPRETER=lakshmi for Lakshmi).
	@exec $(BIN)/oneiro talk $(or $(INTERPRETER),carl)

test: ui  ## Run the whole test suite.
	$(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

soak: ui  ## Run the long tests.
	$(BIN)/pytest -q -m soak $(ARGS)

bench: $(READY)  ## Print our figures, in one run on this machine.
	@for program in bench/ingest.py bench/starts.py bench/events.py bench/interpreters.py bench/relay.py bench/traces.py bench/analytics.py; do $(BIN)/python $$program || exit 1; done

pictures: ui  ## Take the pictures of the README from the running product.
	@$(BIN)/python docs/pictures/make.py

check: ui  ## Lint, types (also of the pages, when they are built), import directions.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lock:  ## Resolve the dependencies anew.
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --all-extras pyproject.toml -o requirements.lock

.PHONY: help setup ui dev run talk test soak bench pictures check lock
