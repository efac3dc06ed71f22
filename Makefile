# Every target makes .venv from the hash-checked lock first; nothing but python3 (3.11+) and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 2

.PHONY: help demo test test-long check bench bench-batching fmt lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: $(STAMP) ## train three small models on real data, precompute their predictions, and judge them
	$(BIN)/python run_pipeline.py demo

test: $(STAMP) ## all behaviour, minutes
	$(BIN)/python -m pytest -q -n $(WORKERS)

test-long: $(STAMP) ## stress, fuzz, kills, simulations
	$(BIN)/python -m pytest -q -m long

check: $(STAMP) ## lint, types, import contracts, README and docs examples
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/test_docs.py

bench: $(STAMP) ## throughput against the hand-written loop and the rivals
	$(BIN)/python -m benchmarks.run

bench-batching: $(STAMP) ## cost of batching, and how well automatic batch sizes choose
	$(BIN)/python -m benchmarks.batch_scheduler
	$(BIN)/python -m benchmarks.auto_batch_size

fmt: $(STAMP) ## format, and mend what the linter can
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --fix --quiet

lock: $(STAMP) ## resolve requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock
	@$(MAKE) --no-print-directory $(STAMP)

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
