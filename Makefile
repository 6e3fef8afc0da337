# The one recipe file: people, hooks and CI all call it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS_VENV := .venv-peers
PEERS_INSTALLED := $(PEERS_VENV)/.installed
# One process a core, and a file in one process. Reordered, files of few tests would come last, and
# among those are the longest.
TESTS := $(BIN)/pytest -m "not acceptance" -n auto --maxprocesses 4 \
	--dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo run check test acceptance format lock bench-rows bench-streams bench-peers \
	bench-promotion bench-search

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## set up .venv from the hash-pinned lock (the others do this by themselves)

demo: $(INSTALLED) ## the main job on real data, in three to four minutes
	$(BIN)/retuned demo

run: $(INSTALLED) ## run the daemon with configs/retuned.env
	$(BIN)/retuned serve --env-file configs/retuned.env

check: $(INSTALLED) ## format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTS)

test: $(INSTALLED) ## tests without acceptance
	$(TESTS)

acceptance: $(INSTALLED) ## tests with real daemons, redis-server, systemd and a browser
	$(BIN)/pytest -m acceptance

format: $(INSTALLED) ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-streams: $(if $(PEERS),$(PEERS_INSTALLED),$(INSTALLED)) ## measure on a folder of streams: STREAMS=folder, see docs/reference/yardstick.md
	@test -n '$(STREAMS)' || { \
		echo 'Name a folder that holds <name>.parquet: make bench-streams STREAMS=folder' >&2; \
		echo 'docs/reference/yardstick.md tells what is measured, and what else can be set.' >&2; \
		exit 1; }
	$(if $(PEERS),$(PEERS_VENV),$(VENV))/bin/python -m tests.benchmarks.streams '$(STREAMS)' \
		$(if $(ONLY),--only '$(ONLY)') $(if $(PEERS),--peers '$(PEERS)') \
		$(if $(OUT),--out '$(OUT)') $(if $(AGAIN),--again '$(AGAIN)') \
		$(if $(WORKERS),--workers '$(WORKERS)') $(addprefix --policy ,$(POLICY))

bench-search: $(PEERS_INSTALLED) ## what a search finds in some seconds: STREAMS=folder, see docs/reference/search-bench.md
	@test -n '$(STREAMS)' || { \
		echo 'Name a folder that holds <name>.parquet: make bench-search STREAMS=folder' >&2; \
		echo 'docs/reference/search-bench.md tells what is measured, and what can be set.' >&2; \
		exit 1; }
	$(PEERS_VENV)/bin/python -m tests.benchmarks.search '$(STREAMS)' \
		$(if $(ONLY),--only '$(ONLY)') $(if $(RIVALS),--rivals '$(RIVALS)') \
		$(if $(SECONDS),--seconds '$(SECONDS)') $(if $(SEEDS),--seeds '$(SEEDS)') \
		$(if $(OUT),--out '$(OUT)') $(if $(AGAIN),--again '$(AGAIN)') $(addprefix --policy ,$(POLICY))

bench-rows: $(INSTALLED) ## measure what rows cost: MOST=rows of the largest log, see docs/reference/rows-cost.md
	$(BIN)/python -m tests.benchmarks.rows $(if $(MOST),--rows '$(MOST)')

bench-promotion: $(INSTALLED) ## how often a model is promoted or rolled back by luck, see docs/reference/promotion.md
	$(BIN)/python -m tests.benchmarks.promotion

bench-peers: $(PEERS_INSTALLED) ## set up .venv-peers: all of .venv, and the peers of bench-streams

lock: $(INSTALLED) ## pin all dependencies anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --group dev pyproject.toml -o requirements.lock
	@# xgboost asks for NCCL, which is for several GPUs, and large; on CPUs it does without.
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-package nvidia-nccl-cu12 \
		--group pyproject.toml:peers -c requirements.lock -o requirements-peers.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'retuned needs Python 3.11 or later. Name one: make install PYTHON=python3.12' >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { \
		echo 'LightGBM needs libgomp.so.1. Install it: apt-get install libgomp1 (Debian,' >&2; \
		echo 'Ubuntu), dnf install libgomp (Fedora), apk add libgomp (Alpine).' >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo '$(PYTHON) cannot make $(VENV). On Debian and Ubuntu: apt-get install python3-venv' >&2; \
		exit 1; }
	@echo 'Installing into $(VENV) ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS_INSTALLED): $(INSTALLED) requirements-peers.lock
	@$(PYTHON) -m venv $(PEERS_VENV)
	@echo 'Installing into $(PEERS_VENV) ...'
	@$(PEERS_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements.lock -r requirements-peers.lock
	@$(PEERS_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@touch $@
