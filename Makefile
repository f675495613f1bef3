# make help lists the targets. Go 1.26 is all that most of them need.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME ?= 30s
SEEDS ?= 100000
SOAK ?= 1h
MICRO ?= .
NEW ?= bin/bench.txt
COMPARE ?= throughput,trickle,idle,rest,senders,bulk,connections,roundtrip,tls,link

.PHONY: help build test test-services servers test-page test-long race soak lint vuln rules deploy-check fuzz simulate mutants bench bench-quick bench-compare microbench demo docker dist ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

build: ## bin/linesplit, static, with its version
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/linesplit .

test: ## all tests
	go test ./...

test-services: ## all tests, with a real web server, Redis and PostgreSQL; as root on Debian it installs them
	@.ci/services go test ./...

servers: ## bin/servers/: real servers for the tests of targets that acknowledge, in the versions of tools/servers
	go -C tools/servers build -o ../../bin/servers/ tool ./lumbersink

test-page: ## the status page in headless Chromium, with a real linesplit behind it
	go -C tools test -count=1 ./pagetest

test-long: test-page ## the same, targets in DNS that change fifty times, and 300 kills of linesplit, for minutes
	go test -count=1 -timeout 30m -run 'ThroughManyChanges|Renew|KilledAtAnyMoment' ./internal/e2e -changes 50 -crashes 300

race: ## all tests with the race detector
	GORACE=atexit_sleep_ms=0 go test -race -timeout 20m ./...

soak: ## all kinds of faults for SOAK (1h), half of it with the race detector; SEED repeats the order of an earlier one
	cd internal/e2e && go test -v -run '^TestSoak$$' -count=1 -timeout 0 -soak $(SOAK) $(if $(SEED),-soak.seed $(SEED))

lint: ## gofmt, vet, go fix, staticcheck
	@.ci/run format vet fix staticcheck

vuln: ## known vulnerabilities, if their database can be reached
	@.ci/run vuln

rules: ## alert rules and Dockerfile
	@.ci/run tools

deploy-check: ## the files in deploy/: units, compose file, Kubernetes, dashboards
	go -C tools test ./deploycheck

fuzz: ## each fuzz target for FUZZTIME (30s)
	@FUZZTIME=$(FUZZTIME) .ci/run fuzz

simulate: ## the rules of reading and delivery against SEEDS (100000) random senders and networks
	go test ./internal/delivery -run TestSimulation -count=1 -timeout 24h -sim.seeds $(SEEDS)

mutants: ## the same with one rule broken after the other: each has to be noticed
	go test ./internal/delivery -run TestMutants -count=1 -timeout 2h -sim.mutants

bench: ## whole processes beside HAProxy, nginx, socat, rsyslog and syslog-ng, 40 minutes, into docs/performance.md; BENCH=FLAGS
	go run ./bench -markdown docs/performance.md -json docs/charts/bench.json $(BENCH)
	go -C tools run ./charts ../docs/charts/bench.json

bench-quick: ## the same in 3 minutes, to see that it works; writes nothing
	go run ./bench -quick $(BENCH)

bench-compare: ## beside HAProxy alone, one table first, medians of seven, half an hour; OLD=BINARY adds another linesplit, 10 minutes
	go run ./bench -reps 7 -beside haproxy -only $(COMPARE) $(if $(OLD),-linesplit-old $(OLD)) $(BENCH)

microbench: ## the hot paths, ten times over, into NEW (bin/bench.txt); OLD=FILE compares with an earlier file
	@mkdir -p $(dir $(NEW))
	go test -run '^$$' -bench '$(MICRO)' -benchmem -count 10 ./linebuf ./splitter ./target ./workerpool ./relay/... >$(NEW) || { cat $(NEW); exit 1; }
	$$(go -C tools tool -n benchstat) $(OLD) $(NEW)

demo: ## see it at work, 15 seconds
	go run . demo

docker: ## the image linesplit, if there is an engine
	docker build --build-arg VERSION=$(VERSION) -t linesplit .

dist: ## dist/: archives, Debian packages, lists of materials, checksums
	go -C tools/dist run . -version "$(VERSION)"

ci: ## everything that must hold before a change goes in
	@.ci/run

clean: ## remove what make build and make dist made
	rm -rf bin dist
