package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"linesplit/target"
)

// The log says once that a name has several addresses, and again when their number changes.
func TestNamesWithSeveralAddresses(t *testing.T) {
	var log bytes.Buffer
	var ips []net.IP
	var fault error
	lookups := 0
	w := nameWatch{seen: map[string]int{}, log: slog.New(slog.NewTextHandler(&log, nil)),
		lookup: func(context.Context, string, string) ([]net.IP, error) { lookups++; return ips, fault }}
	targets := []*target.Target{
		target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.1:9"}, nil),
		target.New(target.Address{Scheme: target.SchemeUnix, Host: "/run/a.sock"}, nil),
		target.New(target.Address{Scheme: target.SchemeTCP, Host: "receivers.test:9"}, nil),
	}
	for i, test := range []struct {
		ips   []string
		fault error
		lines int // of the log, so far
	}{
		{[]string{"10.0.0.1", "2001:db8::1"}, nil, 0}, // one host, both families
		{[]string{"10.0.0.1", "10.0.0.2"}, nil, 1},
		{[]string{"10.0.0.2", "10.0.0.1"}, nil, 1},
		{nil, errors.New("SERVFAIL"), 1},
		{[]string{"10.0.0.2", "10.0.0.3"}, nil, 1},
		{[]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, nil, 2},
		{[]string{"10.0.0.1"}, nil, 2},
		{[]string{"10.0.0.1", "10.0.0.2"}, nil, 3},
	} {
		ips, fault = nil, test.fault
		for _, ip := range test.ips {
			ips = append(ips, net.ParseIP(ip))
		}
		w.look(t.Context(), targets)
		if n := strings.Count(log.String(), "dns://receivers.test:9"); n != test.lines {
			t.Errorf("after look %d: %d lines, want %d\n%s", i, n, test.lines, &log)
		}
	}
	if lookups != 8 {
		t.Errorf("%d look-ups, want 8: addresses need none", lookups)
	}
}
