# Every target sets itself up: Python 3.11+ and this file are all that is needed. `client` needs npm.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := .venv/bin/uv
BIN := .venv/bin
UV_VERSION := 0.13.8
EVENTS ?= 1000000
SEED ?= 1
CUTS ?= 200
PROCESSES ?= 4
AT_ONCE := -n $(PROCESSES) --dist loadfile
SETS ?= postgres postgres+valkey fleet
SUITES ?= tests/mission_critical tests/crash tests/faults tests/journeys tests/conformance/test_server_vectors.py

.PHONY: demo test test-tiers test-engines check fix serve bench bench-runs bench-delivery bench-tiers soak power-loss client storm cancel-storm fuzz clean
.DEFAULT_GOAL := check

demo: .venv/.ready  ## start the server, import a usage log, ask, watch, read the report
	@$(BIN)/tidings demo $(if $(DATA),--file "$(DATA)") $(if $(ASK),--ask "$(ASK)") $(if $(ONCE),--once)

test: .venv/.ready  ## every test, in some processes at once: most of the time they wait
	$(BIN)/pytest $(AT_ONCE) $(ARGS)

test-tiers: .venv/.ready  ## the suites that hold anywhere, on PostgreSQL, with Valkey, and in a fleet
	for tiers in $(SETS); do TIDINGS_TEST_TIERS=$$tiers $(BIN)/pytest $(AT_ONCE) $(SUITES) $(ARGS) || exit 1; done

test-engines: .venv/.ready  ## the stores' suites on PostgreSQL 15 to 17 and Redis, as far as they are installed: some 3 minutes each
	$(BIN)/python -m tests.engines $(AT_ONCE) $(ARGS)

check: .venv/.ready  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/.ready  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: .venv/.ready  ## a server on embedded defaults
	$(BIN)/tidings serve

bench: .venv/.ready  ## the product against its limit and its peers, as ratios in one run
	$(BIN)/python -m bench

bench-runs: .venv/.ready  ## one-tool runs beside other agent servers, each installed in .bench/: some 6 minutes
	$(BIN)/python -m bench runs

bench-delivery: .venv/.ready  ## delivery alone: rates against the push, latency, idle, returning
	$(BIN)/python -m bench delivery returning

bench-tiers: .venv/.ready  ## one server on each set of tiers, as real servers: some 4 minutes
	$(BIN)/python -m bench tiers

soak: .venv/.ready  ## a million critical events through cuts, stalls and kills: some 10 minutes
	@EVENTS=$(EVENTS) SEED=$(SEED) $(BIN)/python -m tests.soak

power-loss: .venv/.ready  ## the power is cut at many moments of a recording of real servers (strace): some 6 minutes
	@CUTS=$(CUTS) SEED=$(SEED) $(BIN)/python -m tests.power

client:  ## compile web/client and put it where the page has it
	cd web/client && npm ci --no-audit --no-fund && npm run build

cancel-storm: .venv/.ready  ## 100,000 cancelled units of work, 1,000 lost replies to commits: some 15 minutes
	$(BIN)/python -m tests.storage.cancels $(or $(CANCELS),100000)
	TIDINGS_TEST_COMMANDS=1000 $(BIN)/pytest -q --timeout 1200 tests/storage/test_postgres.py -k was_not_answered

storm: .venv/.ready  ## ten thousand runs with random faults: each ends once, in time
	$(BIN)/python -m tests.runs.storm $(or $(RUNS),10000) $(or $(SEED),1)

fuzz: .venv/.ready  ## a million mangled streams of providers: nothing crashes
	$(BIN)/python -m tests.models.fuzzing $(or $(STREAMS),1000000) $(or $(SEED),1)

clean:
	rm -rf .venv .bench

.venv/.ready: pyproject.toml uv.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(UV) || $(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(UV) sync --quiet --frozen --inexact
	@touch $@
