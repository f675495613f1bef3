package service

import (
	"testing"

	"linesplit/internal/config"
	"linesplit/listen"
)

func mustParse(t *testing.T, args ...string) config.Config { return mustParseAll(t, args...).Config }

func mustParseAll(t *testing.T, args ...string) config.Process {
	t.Helper()
	p, err := config.ParseFlags(args)
	if err != nil {
		t.Fatalf("ParseFlags(%q): %v", args, err)
	}
	return p
}

// wired returns a service with its mode and checks, but without listeners. It logs nothing.
func wired(t *testing.T, args ...string) *service {
	t.Helper()
	return wiredProcess(t, args...).all()[0]
}

// wiredProcess returns a process with a wired service.
func wiredProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := unwired(t, mustParseAll(t, args...))
	s := p.all()[0]
	if err := s.wire(); err != nil {
		t.Fatal(err)
	}
	s.in = &inbound{guard: &listen.Guard{}}
	return p
}

func unwired(t *testing.T, cfg config.Process) *process {
	t.Helper()
	logger := newLogs(cfg.Config, nil, nil)
	t.Cleanup(logger.close)
	return newProcess(cfg, "", logger)
}
