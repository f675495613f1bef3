package simulate

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestRecordsAreJSONAndKnowThemselves(t *testing.T) {
	g := newGenerator(7)
	lengths := map[int]bool{}
	for seq := range uint32(5000) {
		line := g.appendRecord(nil, time.Now())
		lengths[len(line)] = true
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("not one line: %q", line)
		}
		sender, got, ok := identify(line[:len(line)-1])
		if !ok || sender != 7 || got != seq {
			t.Fatalf("identify = %d, %d, %v, want 7, %d, true: %s", sender, got, ok, seq, line)
		}
	}
	if len(lengths) < 100 {
		t.Errorf("only %d different lengths", len(lengths))
	}
}

func TestIdentifyRefusesEverythingElse(t *testing.T) {
	g := newGenerator(1)
	a := g.appendRecord(nil, time.Now())
	b := g.appendRecord(nil, time.Now())
	a, b = a[:len(a)-1], b[:len(b)-1]
	for n := range a { // torn at every byte, from either side
		if _, _, ok := identify(a[:n]); ok {
			t.Errorf("the first %d bytes pass for a record", n)
		}
		if _, _, ok := identify(a[n+1:]); ok {
			t.Errorf("all but the first %d bytes pass for a record", n+1)
		}
		wrong := bytes.Clone(a)
		wrong[n] ^= 1
		if _, _, ok := identify(wrong); ok {
			t.Errorf("a flipped bit in byte %d passes", n)
		}
	}
	for name, line := range map[string][]byte{
		"empty":              nil,
		"glued":              append(bytes.Clone(a), b...),
		"two halves":         append(bytes.Clone(a[:60]), b[60:]...),
		"carriage return":    append(bytes.Clone(a), '\r'),
		"somebody else's":    []byte(`{"a":1}`),
		"nothing but the id": a[len(a)-identityLen:],
	} {
		if _, _, ok := identify(line); ok {
			t.Errorf("%s: passes for a record", name)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	g := newGenerator(1)
	now := time.Now()
	var line []byte
	for b.Loop() {
		line = g.appendRecord(line[:0], now)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
}

func BenchmarkTally(b *testing.B) {
	g := newGenerator(0)
	var lines []byte
	for range 200 {
		lines = g.appendRecord(lines, time.Now())
	}
	t := newTally(1)
	b.SetBytes(int64(len(lines)))
	b.ReportAllocs()
	for b.Loop() {
		t.add(lines)
	}
}
