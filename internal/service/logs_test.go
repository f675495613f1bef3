package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/target"
)

// JSON logs have the same values as text logs: durations with their unit, and words instead of
// numbers for values that have words.
func TestJSONLogsHaveTheValuesOfText(t *testing.T) {
	address, err := target.ParseAddress("tls://10.0.0.1:9999", false)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := newLogger("json", &out, slog.HandlerOptions{})
	to := target.New(address, log)
	log.With("down_for", 1500*time.Millisecond).Info("drain began",
		"drain_timeout", 8*time.Second,
		"cause", syscall.SIGTERM,
		"err", errors.New("no route"),
		"none", error(nil),
		"nowhere", (*netip.AddrPort)(nil),
		"address", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9091},
		"target", to,
		slog.Group("in", "took", time.Minute),
		"lines", 3, "seconds", 0.5, "remove", false, "files", []string{"a", "b"})
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "drain began",
		"down_for": "1.5s", "drain_timeout": "8s", "cause": "terminated", "err": "no route",
		"none": nil, "nowhere": "<nil>",
		"address": "127.0.0.1:9091", "target": "tls://10.0.0.1:9999", "in": map[string]any{"took": "1m0s"},
		"lines": 3.0, "seconds": 0.5, "remove": false, "files": []any{"a", "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
