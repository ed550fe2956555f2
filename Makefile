# Each target sets up what it needs in .venv; a second call finds it ready.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
PURE := wire agreement learning
TESTING := $(STAMPS)/dev $(STAMPS)/bench $(STAMPS)/federated
FLOWER := $(VENV)/flower

# Tests start hundreds of processes: what one has compiled, the next loads.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench gpu device up

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMPS)/federated ## Clients learn, prove and elect who leads, on a chain of this machine
	$(BIN)/zkpot demo

# The tests of what is pure: statements, messages, agreement. `make test` runs them too, with all others.
check: $(TESTING) ## Style, types, import contracts and the quick tests of what is pure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/arch tests/unit/prover/wire tests/unit/prover/model $(PURE:%=tests/unit/consensus/%) \
	  -m "not slow and not gpu" -n auto

test: $(TESTING) $(STAMPS)/cubins $(STAMPS)/flower ## Every test that needs no GPU; those of the page want Chromium
	$(PYTEST) tests -m "not gpu and not soak" -n auto -rs --durations=15

soak: $(TESTING) ## The long sweeps, whole: thousands of seeds, mutations, kills, chains (an hour or more)
	$(PYTEST) tests -m "soak and not gpu" -n auto -rs --durations=15 --timeout 7200
	$(PYTEST) tests/consensus/test_simulator.py --seeds 2000 -n auto
	$(PYTEST) tests/consensus/test_aggregation_rounds.py --seeds 1000 -n auto

bench: $(STAMPS)/bench $(STAMPS)/federated ## Every benchmark suite; tables, and JSON in bench/out
	$(BIN)/zkpot bench all

# Where the device cannot be opened its tests are skipped, so `info` comes first. test_repeats.py,
# among them, does the same work 50 times: a check for races. memcheck is told to look at accesses
# alone: numba-cuda asks the driver for functions that it may lack (cuGetProcAddress), which is no
# fault, and a call that fails for us is a DeviceError in a test.
gpu: device $(STAMPS)/dev $(STAMPS)/gpu ## Tests and benchmarks on a CUDA device; stops at once if there is none
	$(BIN)/zkpot info --backend cuda
	$(PYTEST) tests/conformance -m gpu
	@if command -v compute-sanitizer >/dev/null; then \
	  for tool in "memcheck --report-api-errors no" racecheck; do \
	    compute-sanitizer --tool $$tool --error-exitcode 1 $(PYTEST) tests/conformance \
	      -m "gpu and not bulk and not at_length" -k "not test_repeats" --timeout 3600 || exit 1; \
	  done; \
	else \
	  echo "compute-sanitizer is not installed: accesses to memory are not checked"; \
	fi
	$(BIN)/zkpot bench cuda

# Before the packages of a CUDA device, which are gigabytes.
device:
	@nvidia-smi -L 2>/dev/null || \
	  { echo "make gpu needs a CUDA device: nvidia-smi finds none here"; exit 1; }
$(STAMPS)/gpu: | device

up: $(STAMPS)/base ## Serve the HTTP API and its page on this machine
	$(BIN)/zkpot up

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "zkpot needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(STAMPS)/base: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev $(STAMPS)/bench $(STAMPS)/federated $(STAMPS)/cubins $(STAMPS)/gpu: $(STAMPS)/%: $(STAMPS)/base
	$(PIP) install --quiet --editable '.[$*]'
	@touch $@

# Flower pins other versions of what the service is built on: an environment of its own.
$(STAMPS)/flower: integrations/flower/pyproject.toml | $(BIN)/python
	"$(PYTHON)" -m venv $(FLOWER)
	$(FLOWER)/bin/python -m pip --disable-pip-version-check install --quiet --editable integrations/flower
	@mkdir -p $(STAMPS) && touch $@
