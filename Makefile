# The only words to remember: setup · demo · test · check · bench · soak.
# Each does all set-up that it needs, from a fresh clone with only Python >= 3.11, make and git.

PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.complete
JOBS   ?= 2
PYTEST := $(BIN)/pytest -q -n $(JOBS) --dist loadgroup --durations=15 --durations-min=5

.DEFAULT_GOAL := help
.PHONY: help setup tools demo test check bench soak lock format

help:
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(STAMP)  ## a virtual environment with everything that the other words need

$(STAMP): requirements.lock pyproject.toml audit/pyproject.toml sdk/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; set PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e audit -e sdk -e .
	@touch $@

tools: $(STAMP)
	@deploy/tools/setup.sh

demo: setup  ## the main job on a fresh machine, then keep serving
	$(BIN)/consent demo $(DEMO)

test: setup tools  ## all tests; the last line counts them
	$(PYTEST) -m "not soak" $(TESTS)

check: setup tools  ## format, lint, types, import contracts, policies; then the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	deploy/tools/check-policies.sh
	$(BIN)/python tests/check_tree.py
	@$(MAKE) --no-print-directory test

bench: setup tools  ## benchmarks as ratios against baselines of the same run; writes bench.json
	$(BIN)/python -m tests.bench

soak: setup tools  ## the long tests
	$(PYTEST) -m soak

lock: setup  ## renew requirements.lock
	$(BIN)/pip-compile -q --upgrade --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links --no-header --strip-extras -o requirements.lock requirements.in

format: setup  ## rewrite the sources in the one format
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
