# Each target sets up what it needs in .venv; a second call finds it ready.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
TESTING := $(STAMPS)/dev $(STAMPS)/bench $(STAMPS)/federated

.DEFAULT_GOAL := help
.PHONY: help demo test check bench gpu up

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMPS)/federated ## Train, commit, prove and verify a network on real digits
	$(BIN)/zkpot demo

check: $(TESTING) ## Style, types, import contracts and the quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/unit tests/arch -m "not slow and not gpu" -n auto

test: $(TESTING) ## Every test that needs no GPU; those of the page want Chromium
	$(PYTEST) tests -m "not gpu" -n auto -rs --durations=15

bench: $(STAMPS)/bench $(STAMPS)/federated ## Every benchmark suite; tables, and JSON in bench/out
	$(BIN)/zkpot bench all

gpu: $(STAMPS)/dev $(STAMPS)/gpu ## Tests and benchmarks on a CUDA device
	$(PYTEST) tests -m gpu
	$(BIN)/zkpot bench cuda

up: $(STAMPS)/base ## Serve the HTTP API and its page on this machine
	$(BIN)/zkpot up

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "zkpot needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(STAMPS)/base: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev $(STAMPS)/bench $(STAMPS)/federated $(STAMPS)/gpu: $(STAMPS)/%: $(STAMPS)/base
	$(PIP) install --quiet --editable '.[$*]'
	@touch $@
