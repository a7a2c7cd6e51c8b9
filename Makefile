# picolab: `make lab` does the main job, `make test` proves it. Neither needs anything installed by hand.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BUILD  := $(CURDIR)/build
IMAGES := $(BUILD)/images
BIN    := $(BUILD)/bin
FUZZ_SMOKE ?= 10000
FUZZ_EXECS     ?= 10000000
FUZZ_SEQUENCES ?= 1000000
KILLS    ?= 50
COUNT    ?= 6
export PICOLAB_IMAGES := $(IMAGES)

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## build labimage and hostctl into build/bin
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 go build -trimpath -o $(BIN)/ ./cmd/labimage ./cmd/hostctl

.PHONY: images
images: tools ## build the guest and host images into build/images
	@$(BIN)/labimage build guest -o $(IMAGES)/guest --refresh-stale
	@$(BIN)/labimage build host -o $(IMAGES)/host --refresh-stale

.PHONY: lab
lab: images ## the main job: images, guests, the quick catalogue, verdicts (SELECT='vnic.*' narrows it)
	@$(BIN)/hostctl run $(SELECT) --profile quick -o $(BUILD)/lab

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go') | tee /dev/stderr)"
	@go vet ./...
	@go tool staticcheck ./...

.PHONY: test
test: images lint ## every test, those that boot real guests included (one package at a time: guests share the CPUs)
	@go test -p 1 -timeout 30m ./...

.PHONY: bench
bench: images ## figures beside a peer's from the same run, as Go benchmark lines
	@go test -p 1 -run '^$$' -bench . -count $(COUNT) -timeout 60m ./... | tee $(BUILD)/bench.txt

# Executions are counted, not seconds: at the end of a time span Go before 1.27 can call a sound target failed (go.dev/issue/75804).
.PHONY: fuzz-smoke
fuzz-smoke: ## FUZZ_SMOKE executions of every fuzz target
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZ_SMOKE)x -fuzzminimizetime 1x $$p; done; done

# The walkers of rings, and message sequences: what a guest, a front-end or a peer writes.
FUZZ_RINGS := hostctl/vhostuser/virtq:FuzzWalk hostctl/vhostuser/virtq:FuzzPacked guestagent/load/memif:FuzzRing

.PHONY: fuzz
fuzz: ## FUZZ_EXECS executions over each ring walker, FUZZ_SEQUENCES hostile message sequences (hours, when as many as for a release)
	@for f in $(FUZZ_RINGS); do \
	  go test -run '^$$' -fuzz "^$${f#*:}\$$" -fuzztime $(FUZZ_EXECS)x -fuzzminimizetime 1x ./$${f%:*}; done
	@PICOLAB_HOSTILE=$(FUZZ_SEQUENCES) go test -count 1 -timeout 10h -v -run HostileSequences ./hostctl/vhostuser

.PHONY: repro
repro: images ## rebuild both images under another folder, umask, time zone and cold caches: identical bytes
	@$(BIN)/labimage verify $(IMAGES)/guest
	@$(BIN)/labimage verify $(IMAGES)/host

.PHONY: leak
leak: images ## kill -9 at KILLS random points of a run: nothing may stay
	@PICOLAB_KILLS=$(KILLS) go test -p 1 -count 1 -run 'Kill|Leak' -timeout 60m ./hostctl/...

.PHONY: nested
nested: images ## labs inside the host image as a VM: several minutes under TCG
	@PICOLAB_NESTED=1 go test -p 1 -count 1 -run 'Nested|HostPanics|DoctorVM|InterruptVM' -v -timeout 60m ./hostctl/internal/runs

.PHONY: nightly
nightly: images nested ## what takes too long for every test: the appliance boots itself inside itself
	@PICOLAB_NIGHTLY=1 go test -p 1 -count 1 -run Recursion -timeout 60m -v ./images/disk

.PHONY: clean
clean: ## remove build/ (the download store stays: see labimage build --help)
	@chmod -R u+w $(BUILD) 2>/dev/null || true
	@rm -rf $(BUILD)
