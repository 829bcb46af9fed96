# Quorate. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
NODE_MODULES := node_modules/.package-lock.json
DIST := dist/.built
SOURCES := $(shell find raft storage src test bench examples -name '*.ts' -not -path 'bench/peers/*' 2>/dev/null) tsconfig.json package.json

SEEDS ?= 1..300
PROFILE ?=
FAULTS_MS ?=
JOBS ?=
CYCLES ?= 300
KILLS ?= 20
SECONDS_OF_CHAOS ?= 60
CHAOS_SEED ?=
HISTORY ?=
BASE ?= HEAD
LOAD ?= submit
# On a terminal Node's own pictures, which end with what failed; else TAP, and what failed once more behind it.
REPORTERS = $$([ -t 2 ] && echo --test-reporter=spec || echo --test-reporter=tap --test-reporter-destination=stdout \
	--test-reporter=./dist/test/failures.js --test-reporter-destination=stderr)

.PHONY: help setup build demo test verify fix sim sim-10k model mutants chaos kill-storage bench bench-submit bench-lifecycle bench-failover bench-backlog bench-raft-step bench-apply bench-cpu bench-versus clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(NODE_MODULES): package.json package-lock.json
	@command -v npm >/dev/null || { echo 'error: npm is not installed; Quorate needs Node.js 20.19 or newer with npm' >&2; exit 1; }
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

setup: $(NODE_MODULES) ## install the locked dependencies

$(DIST): $(NODE_MODULES) $(SOURCES)
	rm -rf dist
	npx --no-install tsc
	@touch $@

build: $(DIST) ## compile to dist/

demo: build ## the main job: a cluster works through node_modules while its leader and a worker are killed
	node dist/bench/demo/demo.js

# tap would give a file 30 s, which a slow machine may need for what takes a fast one three.
test: build ## every test; under 10 minutes on two cores
	TAP_TIMEOUT=400 node --test --test-concurrency=2 --test-timeout=420000 $(REPORTERS) $$(find dist/test -name '*.test.js' | sort)

verify: build ## compile, lint, structure (arrows, cycles, pure folders); changes no source
	npx --no-install biome ci --error-on-warnings
	node --test dist/test/structure.test.js

fix: $(NODE_MODULES) ## format and mend what the linter can
	npx --no-install biome check --write

sim: build ## simulate SEEDS=1..300 (PROFILE=storm to pick one, FAULTS_MS=500 for short ones, JOBS=processes): whole clusters under virtual time and faults
	node dist/test/sim/main.js --seeds $(SEEDS) $(if $(PROFILE),--profile $(PROFILE)) $(if $(FAULTS_MS),--faults-ms $(FAULTS_MS)) $(if $(JOBS),--jobs $(JOBS))

sim-10k: build ## simulate 10,000 short seeds and write bench/results/sim.json: some 10 minutes on two cores
	node dist/test/sim/main.js --seeds 1..10000 --faults-ms 500 --keep-going --write $(if $(JOBS),--jobs $(JOBS))

model: build ## explore the production Raft core breadth-first, every order of messages, crashes and syncs: millions of states in a minute; STATES=100000000 for an hour
	node dist/test/model/main.js $(if $(STATES),--long --write --states $(STATES)) $(if $(MINUTES),--minutes $(MINUTES))

mutants: build ## put known bugs back one at a time; each must be killed by a checker it names
	node dist/test/mutants/main.js --write

chaos: build ## kill, cut off and freeze real managers under clients for SECONDS_OF_CHAOS=60 seconds, and judge what the clients were told
	node dist/test/chaos/history.js --seconds $(SECONDS_OF_CHAOS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED)) $(if $(HISTORY),--history $(HISTORY))

kill-storage: build ## kill a writing process CYCLES=300 times and reopen its storage each time
	CYCLES=$(CYCLES) node dist/test/chaos/storage-kill.js

bench: bench-submit bench-lifecycle bench-failover ## every bench, side by side with etcd and BullMQ where they are installed

bench/peers/node_modules/.package-lock.json: bench/peers/package.json bench/peers/package-lock.json
	cd bench/peers && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

bench-submit: build bench/peers/node_modules/.package-lock.json ## durable submits, single and in arrays, against etcd and BullMQ
	node dist/bench/submit.js

bench-lifecycle: build bench/peers/node_modules/.package-lock.json ## submit to accepted completion, against BullMQ
	node dist/bench/lifecycle.js

bench-failover: build ## SIGKILL the leader until the next acknowledged submit, against etcd
	node dist/bench/failover.js

bench-backlog: build ## a million pending tasks: memory, submit latency, restart
	node dist/bench/backlog.js

bench-raft-step: build ## the bare Raft core: microseconds a step, clone and encode
	node dist/bench/raft-step.js

bench-apply: build ## the bare state machine and scheduler: microseconds a command, bytes a pending task
	node --expose-gc dist/bench/apply.js 1000000

bench-versus: build ## this build beside the one of BASE=revision, in interleaved windows (LOAD=submit, single, arrays or lifecycle)
	@git rev-parse --verify --quiet '$(BASE)^{commit}' >/dev/null || { echo 'error: BASE is no revision of this repository: make bench-versus BASE=HEAD~1' >&2; exit 2; }
	rm -rf .out/base && mkdir -p .out/base
	git archive $(BASE) | tar -x -C .out/base
	cd .out/base && npm ci --no-audit --no-fund --loglevel=error && npx --no-install tsc
	node dist/bench/versus.js --base .out/base --load $(LOAD)
	rm -rf .out/base

bench-cpu: build ## CPU microseconds an operation, by process (PROFILE_DIR=folder for V8 profiles)
	node dist/bench/cpu.js $(if $(PROFILE_DIR),--profile $(PROFILE_DIR))

clean: ## remove what was built
	rm -rf dist .out
