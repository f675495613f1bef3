package record

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestRecordsAreJSONAndParse(t *testing.T) {
	g := NewGenerator(7, Length{})
	lengths := map[int]bool{}
	for seq := range uint64(5000) {
		now := time.Unix(0, time.Now().UnixNano())
		line := g.Append(nil, now)
		lengths[len(line)] = true
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("not one line: %q", line)
		}
		id, ok := Parse(line[:len(line)-1])
		if want := (ID{7, seq, now}); !ok || id != want {
			t.Fatalf("Parse = %v, %v, want %v, true: %s", id, ok, want, line)
		}
	}
	if len(lengths) < 100 {
		t.Errorf("only %d different lengths", len(lengths))
	}
}

func TestParseRefusesEverythingElse(t *testing.T) {
	g := NewGenerator(1, Length{})
	a := g.Append(nil, time.Now())
	b := g.Append(nil, time.Now())
	a, b = a[:len(a)-1], b[:len(b)-1]
	for n := range a { // torn at every byte, from either side
		if _, ok := Parse(a[:n]); ok {
			t.Errorf("the first %d bytes pass for a record", n)
		}
		if _, ok := Parse(a[n+1:]); ok {
			t.Errorf("all but the first %d bytes pass for a record", n+1)
		}
		wrong := bytes.Clone(a)
		wrong[n] ^= 1
		if _, ok := Parse(wrong); ok {
			t.Errorf("a flipped bit in byte %d passes", n)
		}
	}
	for name, line := range map[string][]byte{
		"empty":             nil,
		"glued":             append(bytes.Clone(a), b...),
		"two halves":        append(bytes.Clone(a[:60]), b[60:]...),
		"carriage return":   append(bytes.Clone(a), '\r'),
		"foreign":           []byte(`{"a":1}`),
		"only the identity": a[len(a)-identityLen:],
	} {
		if _, ok := Parse(line); ok {
			t.Errorf("%s: passes for a record", name)
		}
	}
}

func TestRecordsOfAllLengthsParse(t *testing.T) {
	for _, size := range []int{MinLength, 200, 600, 16384, 1 << 20} {
		now := time.Unix(0, time.Now().UnixNano())
		g := NewGenerator(12345, Length{size, size})
		g.seq = 67890
		line := g.Append(nil, now)
		if len(line) != size {
			t.Errorf("%d bytes, want %d", len(line), size)
		}
		id, ok := Parse(line[:len(line)-1])
		if want := (ID{12345, 67890, now}); !ok || id != want {
			t.Errorf("size %d: Parse = %v, %v, want %v, true", size, id, ok, want)
		}
	}
}

func TestParseRefusesWhatIsGluedFromTwoRecords(t *testing.T) {
	g := NewGenerator(7, Length{200, 200})
	g.seq = 9
	line, other := g.Append(nil, time.Now()), g.Append(nil, time.Now())
	line, other = line[:len(line)-1], other[:len(other)-1]
	for i := range line {
		glued := slices.Concat(line[:i], other[i:])
		if _, ok := Parse(glued); ok && !bytes.Equal(glued, other) && !bytes.Equal(glued, line) {
			t.Errorf("glued at %d passes", i)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	g := NewGenerator(1, Length{})
	now := time.Now()
	var line []byte
	for b.Loop() {
		line = g.Append(line[:0], now)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
}

func TestParseLength(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Length
		bad  bool
	}{
		{text: "", want: Length{}},
		{text: "600", want: Length{600, 600}},
		{text: "100-64KiB", want: Length{100, 64 << 10}},
		{text: "10", bad: true},
		{text: "600-100", bad: true},
		{text: "17MiB", bad: true},
		{text: "600-", bad: true},
		{text: "long", bad: true},
		{text: "1,5KiB", bad: true}, // was 15 KiB
		{text: "18446744073709551615", bad: true},
	} {
		got, err := ParseLength(tt.text)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("ParseLength(%q) = %v, %v", tt.text, got, err)
		}
	}
}

func TestRecordsHaveTheGivenLength(t *testing.T) {
	for _, l := range []Length{{MinLength, MinLength}, {600, 600}, {100, 64 << 10}} {
		g := NewGenerator(3, l)
		for range 1000 {
			line := g.Append(nil, time.Now())
			if len(line) < l.Min || len(line) > l.Max || !json.Valid(line) {
				t.Fatalf("%v: %d bytes: %s", l, len(line), line)
			}
			if _, ok := Parse(line[:len(line)-1]); !ok {
				t.Fatalf("%v: not recognized: %s", l, line)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	line := NewGenerator(1, Length{}).Append(nil, time.Now())
	f.Add(line[:len(line)-1])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, line []byte) {
		if id, ok := Parse(line); ok && (id.Seq >= MaxSeq || !Numbered(line)) {
			t.Errorf("%v from %q", id, line)
		}
	})
}
