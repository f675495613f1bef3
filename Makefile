# make help lists the targets. Go 1.26 is all that most of them need.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME ?= 30s

.PHONY: help build test test-services race lint vuln rules fuzz bench demo docker ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

build: ## bin/linesplit, static, with its version
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/linesplit .

test: ## all tests
	go test ./...

test-services: ## all tests, with a real web server, Redis and PostgreSQL; as root on Debian it installs them
	@.ci/services go test ./...

race: ## all tests with the race detector
	go test -race ./...

lint: ## gofmt, vet, go fix, staticcheck
	@.ci/run format vet fix staticcheck

vuln: ## known vulnerabilities, if their database can be reached
	@.ci/run vuln

rules: ## alert rules and Dockerfile
	@.ci/run tools

fuzz: ## each fuzz target for FUZZTIME (30s)
	@FUZZTIME=$(FUZZTIME) .ci/run fuzz

bench: ## whole processes beside HAProxy and nginx, about a quarter of an hour; BENCH=-quick for a minute
	go run ./bench $(BENCH)

demo: ## see it at work, 15 seconds
	go run . demo

docker: ## the image linesplit, if there is an engine
	docker build --build-arg VERSION=$(VERSION) -t linesplit .

ci: ## everything that must hold before a change goes in
	@.ci/run

clean: ## remove what make build made
	rm -rf bin
