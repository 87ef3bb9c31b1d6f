# Every target is a thin name over a command that can be run by itself.

GO          ?= go
GOTESTFLAGS ?=
FUZZTIME    ?= 10s
KEEP        ?=
# The runtime erases what derivations of keys leave behind (docs/decisions/015): on top of what the program does itself.
EXPERIMENT  ?= runtimesecret
UPDATE      ?=
PART        ?= proxy residual models units

.PHONY: build demo test check race fuzz bench bench-proxy bench-residual bench-models bench-units install clean

build: ## the program, in bin/
	GOEXPERIMENT=$(EXPERIMENT) $(GO) build -trimpath -o bin/latchkey .

demo: ## two users, one table, as each sees it; KEEP=1 stays up and prints DSNs
	.ci/install server
	GOEXPERIMENT=$(EXPERIMENT) $(GO) build -trimpath -o bin/latchkey .
	./bin/latchkey demo $(if $(KEEP),--keep)

install: ## what the tests need and this machine lacks
	.ci/install server drivers

test: install ## every test, against private MariaDB servers
	$(GO) test $(GOTESTFLAGS) ./...

check: ## formatting and static checks; needs no server
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "gofmt these files:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

race: install ## every test under the race detector
	$(GO) test -race $(GOTESTFLAGS) ./...

fuzz: install ## every fuzz target for FUZZTIME
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
	  done; \
	done

bench: ## all of PART: proxy residual models units; UPDATE=1 writes docs/performance.md and the examples' figures and plots
	.ci/install server bench
	$(MAKE) $(addprefix bench-,$(PART))

bench-proxy: # direct, HAProxy and Latchkey side by side
	$(GO) test -run '^$$' -bench '^BenchmarkProxy$$' -benchtime 1x -timeout 60m ./internal/endtoend $(if $(UPDATE),-update)

bench-residual: # statements that the evaluator finishes, beside plaintext, over 1,000, 10,000 and 100,000 rows
	$(GO) test -run '^$$' -bench '^BenchmarkResidual$$' -benchtime 1x -timeout 60m ./internal/endtoend $(if $(UPDATE),-update)

bench-models: # the queries of docs/examples beside plaintext, over 1,000 to 100,000 rows
	$(GO) test -run '^$$' -bench '^BenchmarkModels$$' -benchtime 1x -timeout 60m ./internal/endtoend $(if $(UPDATE),-update)

bench-units: # the parts alone
	$(GO) test -run '^$$' -bench . -benchtime 100ms $(GOTESTFLAGS) $$($(GO) list ./... | grep -v /internal/endtoend)

clean:
	rm -rf bin
