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
	s := unwired(t, mustParse(t, args...))
	if err := s.wire(); err != nil {
		t.Fatal(err)
	}
	s.in = &inbound{guard: &listen.Guard{}}
	return s
}

func unwired(t *testing.T, cfg config.Config) *service {
	t.Helper()
	logger := newLogs(cfg, nil, nil)
	t.Cleanup(logger.close)
	return newService(cfg, "", logger)
}
