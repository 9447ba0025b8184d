# What people and programs run. "make" alone lists it.

GO    ?= go
TOOLS := $(CURDIR)/.tools/bin

# What the linter remembers holds paths, so each checkout has a cache of its own.
export GOLANGCI_LINT_CACHE := $(CURDIR)/.tools/cache

# A checkout that git refuses to read still builds, without its revision.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: run
run: build ## build and start the server with the demo flow (needs only Go)
	@./bin/malote demo

.PHONY: build
build: ## bin/malote: static, no cgo, version from git
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags='-s -w' -o bin/malote ./cmd/malote

.PHONY: test
test: ## everything CI runs; installs what is missing
	@./scripts/test.sh

.PHONY: lint
lint: ## the linter alone
	@./scripts/tools.sh golangci-lint
	@$(TOOLS)/golangci-lint run ./...

.PHONY: format
format: ## format the code as the linter wants it
	@./scripts/tools.sh golangci-lint
	@$(TOOLS)/golangci-lint fmt ./...

.PHONY: bench
bench: build ## the published benchmark, with its references in the same run; writes docs/benchmarks.md
	@$(GO) run ./bench $(BENCH)

ROUNDS ?= 100

.PHONY: crash
crash: build ## kill the program at random moments under load and look for every event (ROUNDS=100)
	@$(GO) run ./crash -rounds $(ROUNDS) $(CRASH)

.PHONY: fuzz
fuzz: ## every fuzz target for a while (FUZZTIME=10s)
	@./scripts/fuzz.sh

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin
