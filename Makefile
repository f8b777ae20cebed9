# One command each; `make` alone says which. Everything needed is set up on first use in .venv.
SHELL := /bin/bash
PY := .venv/bin/python
BIN := .venv/bin
SEEDS ?= 500
SECONDS ?= 60
STEPS ?= 1000000
MINUTES ?= 10
ARGS ?=
CODE := $(wildcard src tests examples benchmarks)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help ping test check format bench sim sim-day play fuzz chaos proto lock clean

help: ## Say what can be done
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

.venv/.base: requirements.lock pyproject.toml scripts/bootstrap.sh
	@scripts/bootstrap.sh base

.venv/.dev: requirements-dev.lock pyproject.toml scripts/bootstrap.sh
	@scripts/bootstrap.sh dev

ping: .venv/.base ## Run ten tasks on an engine of their own: the shortest proof that Flame works here
	@$(BIN)/flmping $(ARGS)

test: .venv/.dev ## Run the tests, three files at a time (ARGS="-n0 tests/core" for one)
	@$(PY) -m pytest -n 3 --dist loadfile $(ARGS)

check: .venv/.dev ## Format, lint, types and import contracts
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.dev ## Format and fix what can be fixed
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

bench: .venv/.dev ## Measure Flame beside the standard library (and Ray, Dask when installed)
	@$(PY) benchmarks/run.py $(ARGS)

sim: .venv/.dev ## Simulate SEEDS=500 clusters with faults and check every promise
	@$(PY) -m flame.sim --seeds $(SEEDS) $(ARGS)

sim-day: .venv/.dev ## Play a simulated day of sessions and workloads (ARGS="--nodes 40 --seed 2"); table and day.png
	@$(PY) -c "import matplotlib" 2>/dev/null || $(BIN)/uv pip install -q --python $(PY) "matplotlib>=3.8,<4"
	@$(PY) -m flame.sim.daily --plot day.png $(ARGS)

play: .venv/.dev ## Place, evict and end at random for STEPS=1000000 and check every promise of the scheduler
	@PYTHONPATH=src:tests $(PY) -m core.play --steps $(STEPS) $(ARGS)

fuzz: .venv/.dev ## Throw bytes at everything that reads bytes, SECONDS=60 for each target
	@$(PY) -c "import atheris" 2>/dev/null || $(BIN)/uv pip install -q --python $(PY) "atheris>=2.3,<4"
	@PYTHONPATH=src:tests $(PY) -m fuzz $(SECONDS)

chaos: .venv/.dev ## Break a real cluster for MINUTES=10 and check every promise
	@PYTHONPATH=src:tests $(PY) -m chaos --minutes $(MINUTES) $(ARGS)

proto: .venv/.dev ## Generate the Python code of proto/
	@scripts/protoc.sh

lock: .venv/.dev ## Resolve the hashed locks again
	@scripts/lock.sh

clean: ## Remove what was built
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis examples/*/bin examples/*/target
