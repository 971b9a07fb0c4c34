# What there is: `make`. Each target does the set-up that it needs on a machine that has Go and make.

export CGO_ENABLED ?= 0
export PATH := $(CURDIR)/.cache/bin:$(PATH)
BIN      := bin/remote-client-server
VERSION  ?= dev
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PACKAGES := ./...
TYPE ?= embed

.DEFAULT_GOAL := help
.PHONY: help build run image demo test check race emulated arm64 clients soak ptx fuzz bench generate clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the one binary, bin/remote-client-server
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) .

run: build ## serve the built-in embedding model on port 8888; TYPE=text the chat model
	$(BIN) --no_redis --model_type $(TYPE)

image: build ## a container image as an OCI archive, without a daemon: bin/remote-client-server.oci.tar
	cd bench && go run ./image -binary ../$(BIN) -version $(VERSION) -cache ../.cache/image -o ../$(BIN).oci.tar

demo: build ## start it, ask it a question, show the answer, end
	$(BIN) demo
	$(BIN) demo --model_type text

test: tools check race emulated arm64 clients soak ## everything that must pass: vet, staticcheck, race tests, arm64, real clients
	@echo "all tests passed"

.PHONY: tools
tools:
	@.ci/tools

check: # formatting, vet and staticcheck; the other systems compile
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "gofmt the files above"; exit 1; }
	go vet $(PACKAGES)
	go vet -tags emu .
	go vet -tags gpu ./runtime/gpu ./models/embed ./kernels/... ./cuda/...
	cd bench && go vet ./...
	cd bench/deploy && go vet ./...
	go run $(STATICCHECK) $(PACKAGES)
	cd bench && go run $(STATICCHECK) ./...
	GOARCH=arm64 go vet $(PACKAGES)
	GOOS=linux GOARCH=arm64 go build -o /dev/null .
	go build -tags nocuda -o /dev/null .
	GOOS=darwin GOARCH=arm64 go build -o /dev/null .
	GOOS=windows GOARCH=amd64 go build -o /dev/null .

race: # the race detector needs a C compiler, which tools may just have installed
	@if command -v $$(go env CC) >/dev/null; then \
		echo "go test -race $(PACKAGES)"; CGO_ENABLED=1 go test -race -timeout 20m $(PACKAGES); \
	elif [ -n "$(CI)" ]; then echo "no C compiler: the race detector cannot run"; exit 1; \
	else echo "no C compiler: the tests run WITHOUT the race detector"; go test $(PACKAGES); fi

emulated: # the GPU's code, executed on the CPU: kernels, their mutants, the op set and every model; and what takes too long under the race detector
	go test -timeout 15m ./kernels/... ./runtime/gpu
	go test -timeout 15m -run 'Emulated|Family|Fault46' ./models/embed
	go test -timeout 15m -run 'Emulated|Family' ./models/text

ptx: ## compile the kernels again: PTX, cubins and the table in kernels/README.md; byte for byte what is committed
	go run ./kernels/build

arm64: # the NEON kernels, emulated
	@if command -v qemu-aarch64 >/dev/null; then \
		GOARCH=arm64 go test -exec qemu-aarch64 -short ./runtime/cpu; \
	elif [ -n "$(CI)" ]; then echo "no qemu-aarch64: the arm64 kernels cannot be tested"; exit 1; \
	else echo "no qemu-aarch64: the arm64 kernels are NOT tested"; fi

SOAK ?= 180s
soak: build # mixed load, then memory, goroutines and descriptors are looked at; SOAK=1h is the long one
	cd bench && go run ./soak -for $(SOAK)

clients: build # the binary against real clients; the claims about peers that need no peer at hand
	cd bench && go test ./...
	cd bench/deploy && go test ./...

fuzz: ## fuzz every parser for 30 seconds each
	@for p in $$(go list $(PACKAGES)); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime 30s $$p || exit 1; \
		done; \
	done

bench: ## benchmarks beside the code; bench/README.md has the peers
	go test -run '^$$' -bench . $(PACKAGES)

generate: ## write the generated assembly again
	go generate $(PACKAGES)

clean: ## remove what was built
	rm -rf bin .venv .cache
