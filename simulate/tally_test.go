package simulate

import (
	"bytes"
	"testing"
	"time"

	"linesplit/simulate/record"
)

func TestTally(t *testing.T) {
	g := record.NewGenerator(0, record.Length{})
	var lines [][]byte
	for range 200 {
		lines = append(lines, g.Append(nil, time.Now()))
	}
	all := bytes.Join(lines, nil)
	stranger := record.NewGenerator(9, record.Length{}).Append(nil, time.Now())

	for _, tt := range []struct {
		name    string
		add     [][]byte
		sent    uint64
		missing uint64
		again   uint64
		torn    uint64
	}{
		{name: "nothing"},
		{name: "nothing came", sent: 200, missing: 200},
		{name: "all at once", add: [][]byte{all}, sent: 200},
		{name: "any order", add: [][]byte{bytes.Join(lines[100:], nil), bytes.Join(lines[:100], nil)}, sent: 200},
		{name: "the first is missing", add: [][]byte{bytes.Join(lines[1:], nil)}, sent: 200, missing: 1},
		{name: "the last is missing", add: [][]byte{bytes.Join(lines[:199], nil)}, sent: 200, missing: 1},
		{name: "missing at a word's edges", add: [][]byte{bytes.Join(lines[:63], nil), bytes.Join(lines[65:128], nil)}, sent: 128, missing: 2},
		{name: "a word is not complete", add: [][]byte{bytes.Join(lines[:65], nil)}, sent: 65},
		{name: "again", add: [][]byte{all, lines[3], lines[199]}, sent: 200, again: 2},
		{name: "again does not make up for a loss", add: [][]byte{bytes.Join(lines[1:], nil), lines[1]}, sent: 200, missing: 1, again: 1},
		{name: "torn in two", add: [][]byte{bytes.Join(lines[1:], nil), lines[0][:50], lines[0][50:]}, sent: 200, missing: 1, torn: 2},
		{name: "glued", add: [][]byte{bytes.Join(lines[2:], nil), append(bytes.Clone(lines[0][:len(lines[0])-1]), lines[1]...)}, sent: 200, missing: 2, torn: 1},
		{name: "empty line", add: [][]byte{all, []byte("\n")}, sent: 200, torn: 1},
		{name: "a sender that is not ours", add: [][]byte{all, stranger}, sent: 200, torn: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tally := newTally(1)
			for _, part := range tt.add {
				tally.add(part)
			}
			_, again, torn := tally.counts()
			if got := tally.missing(0, tt.sent); got != tt.missing || again.Lines != tt.again || torn != tt.torn {
				t.Errorf("missing %d, again %d, torn %d, want %d, %d, %d", got, again.Lines, torn, tt.missing, tt.again, tt.torn)
			}
		})
	}
}

func BenchmarkTally(b *testing.B) {
	g := record.NewGenerator(0, record.Length{})
	var lines []byte
	for range 200 {
		lines = g.Append(lines, time.Now())
	}
	t := newTally(1)
	b.SetBytes(int64(len(lines)))
	b.ReportAllocs()
	for b.Loop() {
		t.add(lines)
	}
}
