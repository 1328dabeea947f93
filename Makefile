# Aliases over scripts/: each line is also a command that you can run by hand.
.PHONY: all build demo test test-all check docs bench fuzz clean

all: build

build: ## the binary and the shop's services, into bin/
	scripts/build

demo: build ## the shop zone on https://localhost:8443, until ctrl-C
	exec bin/sallyport demo

test: ## set-up, then every test with the race detector
	scripts/test

test-all: ## test, and the suites that take longer
	scripts/test -all

check: ## vet, staticcheck, gosec, formatting, generated files
	scripts/check

docs: ## write docs/reference from the code
	scripts/docs

bench: ## the whole job beside nginx and Go's ReverseProxy
	go run ./bench/gateway

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	scripts/fuzz

clean:
	rm -rf bin .tools
