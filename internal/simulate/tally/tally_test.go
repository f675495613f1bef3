package tally

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linesplit/internal/simulate/record"
)

// records returns a sender's first n records, each with its newline.
func records(sender uint32, n int) [][]byte {
	g := record.NewGenerator(sender, record.Length{})
	lines := make([][]byte, n)
	for i := range lines {
		lines[i] = g.Append(nil, time.Now())
	}
	return lines
}

// join concatenates lines to one stream.
func join(lines ...[]byte) []byte { return bytes.Join(lines, nil) }

// altered returns a line with one byte changed.
func altered(line []byte, at int) []byte {
	line = bytes.Clone(line)
	line[at] ^= 1
	return line
}

// planted is the number of lines that are sent in a plantedFault.
const planted = 200

// plantedFault is a stream of lines with a fault, and the report that is expected.
type plantedFault struct {
	name   string
	stream []byte
	broken bool // the connection breaks at the end
	strict bool
	want   Report // fields that are not 0
	err    string
}

// wrongLines returns faults that leave each line as it is: some are lost, duplicated, swapped or
// never sent.
func wrongLines(lines [][]byte) []plantedFault {
	const n = planted
	all := join(lines...)
	stranger := join(records(9, 1)...)
	return []plantedFault{
		{name: "all", stream: all, want: Report{Received: n, Distinct: n}},
		{name: "nothing", want: Report{Lost: n}, err: "200 lost"},
		{name: "one is lost", stream: without(lines, 17), want: Report{Received: n - 1, Distinct: n - 1, Lost: 1},
			err: "1 lost"},
		{name: "the first is lost", stream: without(lines, 0), want: Report{Received: n - 1, Distinct: n - 1, Lost: 1},
			err: "1 lost"},
		{name: "the last is lost", stream: without(lines, n-1),
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1},
			err:  "1 lost"},
		{name: "lost at a word's edges", stream: without(lines, 63, 64, 127, 128),
			want: Report{Received: n - 4, Distinct: n - 4, Lost: 4}, err: "4 lost"},
		{name: "some are duplicated", stream: join(all, lines[3], lines[199], lines[3]),
			want: Report{Received: n + 3, Distinct: n, Duplicated: 3}},
		{name: "a duplicate does not make up for a loss", stream: join(without(lines, 0), lines[1]),
			want: Report{Received: n, Distinct: n - 1, Lost: 1, Duplicated: 1}, err: "1 lost"},
		{name: "two are swapped", stream: join(join(lines[:5]...), lines[6], lines[5], join(lines[7:]...)),
			want: Report{Received: n, Distinct: n, OutOfOrder: 1}},
		{name: "the halves are swapped", stream: join(join(lines[100:]...), join(lines[:100]...)),
			want: Report{Received: n, Distinct: n, OutOfOrder: 100}},
		{name: "a late duplicate", stream: join(all, lines[0]),
			want: Report{Received: n + 1, Distinct: n, Duplicated: 1}},
		{name: "never sent", stream: join(all, stranger),
			want: Report{Received: n + 1, Distinct: n + 1, NeverSent: 1}, err: "1 never sent"},
	}
}

// damagedLines returns faults that change lines.
func damagedLines(lines [][]byte) []plantedFault {
	const n = planted
	all := join(lines...)
	bare := lines[0][:len(lines[0])-1]
	return []plantedFault{
		{name: "a byte is altered", stream: join(join(lines[:7]...), altered(lines[7], 30), join(lines[8:]...)),
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1, Corrupt: 1}, err: "1 lost, 1 corrupt"},
		{name: "the number is altered", stream: join(join(lines[:7]...), altered(lines[7], len(lines[7])-35),
			join(lines[8:]...)),
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1, Corrupt: 1}, err: "1 lost, 1 corrupt"},
		{name: "glued", stream: join(bare, join(lines[1:]...)),
			want: Report{Received: n - 2, Distinct: n - 2, Lost: 2, Corrupt: 1}, err: "2 lost, 1 corrupt"},
		{name: "two halves", stream: join(lines[0][:50], lines[1][50:], join(lines[2:]...)),
			want: Report{Received: n - 2, Distinct: n - 2, Lost: 2, Corrupt: 1}, err: "2 lost, 1 corrupt"},
		{name: "torn in two", stream: join(lines[0][:50], []byte("\n"), lines[0][50:], join(lines[1:]...)),
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1, Corrupt: 1, Foreign: 1}, err: "1 lost, 1 corrupt"},
		{name: "torn at the end", stream: join(join(lines[:n-1]...), lines[n-1][:50]),
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1, Torn: 1}, err: "1 lost, 1 torn"},
		{name: "all but the newline", stream: all[:len(all)-1],
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1, Torn: 1}, err: "1 lost, 1 torn"},
		{name: "cut off by a break", stream: join(all, lines[0][:50]), broken: true,
			want: Report{Received: n, Distinct: n, Cut: 1}},
		{name: "foreign", stream: join(all, []byte("\n"), []byte("{\"a\":1}\n")),
			want: Report{Received: n, Distinct: n, Foreign: 2}},
		{name: "foreign, in strict mode", stream: join(all, []byte("\n")), strict: true,
			want: Report{Received: n, Distinct: n, Corrupt: 1}, err: "1 corrupt"},
		{name: "carriage returns", stream: join(bare, []byte("\r\n"), join(lines[1:]...)), strict: true,
			want: Report{Received: n - 1, Distinct: n - 1, Lost: 1, Corrupt: 1}, err: "1 lost, 1 corrupt"},
	}
}

// without returns the stream of all lines but those at the indexes in skip, which are sorted.
func without(lines [][]byte, skip ...int) []byte {
	var rest [][]byte
	for i, line := range lines {
		if len(skip) == 0 || i != skip[0] {
			rest = append(rest, line)
			continue
		}
		skip = skip[1:]
	}
	return join(rest...)
}

func TestReportFindsPlantedFaults(t *testing.T) {
	lines := records(0, planted)
	for _, tt := range append(wrongLines(lines), damagedLines(lines)...) {
		t.Run(tt.name, func(t *testing.T) {
			tally := New(Options{Strict: tt.strict})
			r := tally.Reader()
			r.Feed(tt.stream)
			r.End(!tt.broken)
			got := tally.Report(map[uint32]uint64{0: planted})
			tt.want.Sent, tt.want.SentKnown = planted, true
			ignored := cmpopts.IgnoreFields(Report{}, "Bytes", "DuplicatedBytes", "Senders", "Latency", "Samples")
			if diff := cmp.Diff(tt.want, got, ignored); diff != "" {
				t.Error(diff)
			}
			if missing := tally.Missing(0, planted); missing != got.Lost {
				t.Errorf("%d missing, %d lost", missing, got.Lost)
			}
			checkFaults(t, got.Err(), tt.err)
			if bad := got.Corrupt + got.Torn; int(bad) != len(got.Samples) {
				t.Errorf("%d bad lines, samples %q", bad, got.Samples)
			}
		})
	}
}

func checkFaults(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, ErrFaults) || !strings.HasSuffix(err.Error(), ": "+want) {
		t.Errorf("error = %v, want %q", err, want)
	}
}

// The tally finds, to the line, what a proxy does that loses, repeats and reorders lines at
// random over many connections at once.
func TestReportIsExactToTheLine(t *testing.T) {
	const senders, n = 5, 3000
	tally := New(Options{})
	sent := map[uint32]uint64{}
	var lost, again uint64
	rng := rand.New(rand.NewPCG(1, 2))
	var connections sync.WaitGroup
	for id := range uint32(senders) {
		sent[id] = n
		var stream []byte
		for _, line := range records(id, n) {
			switch rng.IntN(20) {
			case 0:
				lost++
			case 1:
				again++
				stream = append(stream, line...)
				fallthrough
			default:
				stream = append(stream, line...)
			}
		}
		steps := rand.New(rand.NewPCG(uint64(id), 3))
		connections.Go(func() {
			r := tally.Reader()
			for len(stream) > 0 {
				step := min(len(stream), 1+steps.IntN(2000))
				r.Feed(stream[:step])
				stream = stream[step:]
			}
			r.End(true)
		})
	}
	connections.Wait()
	got := tally.Report(sent)
	want := Report{SentKnown: true, Sent: senders * n, Received: senders*n - lost + again, Distinct: senders*n - lost,
		Lost: lost, Duplicated: again}
	ignored := cmpopts.IgnoreFields(Report{}, "Bytes", "DuplicatedBytes", "Senders", "Latency")
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Error(diff)
	}
}

func TestReportListsSenders(t *testing.T) {
	tally := New(Options{})
	r := tally.Reader()
	a, b := records(1, 5000), records(2, 10)
	r.Feed(join(join(a[:1000]...), join(a[1010:4000]...), join(a[4001:]...), b[5], b[3], b[3]))
	r.End(true)
	want := []Sender{
		{ID: 1, Sent: 5000, Distinct: 4989, Lost: 11, LostSpans: []Span{{1000, 1009}, {4000, 4000}}},
		{ID: 2, Sent: 4, Distinct: 2, Lost: 3, LostSpans: []Span{{0, 2}}, Duplicated: 1, OutOfOrder: 1, NeverSent: 1},
		{ID: 7, Sent: 6000, Lost: 6000, LostSpans: []Span{{0, 5999}}},
	}
	report := tally.Report(map[uint32]uint64{1: 5000, 2: 4, 7: 6000})
	if diff := cmp.Diff(want, report.Senders); diff != "" {
		t.Error(diff)
	}
	brief, leftOut := report.Brief(1)
	if len(brief.Senders) != 1 || leftOut != 2 || brief.Lost != report.Lost {
		t.Errorf("%d senders, %d left out", len(brief.Senders), leftOut)
	}
}

// Without knowing what was sent, the tally finds gaps but no lost tail.
func TestReportWithoutSentCounts(t *testing.T) {
	tally := New(Options{})
	r := tally.Reader()
	lines := records(1, 100)
	r.Feed(join(join(lines[:10]...), join(lines[20:90]...)))
	r.End(true)
	got := tally.Report(nil)
	if got.SentKnown || got.Sent != 90 || got.Lost != 10 || got.NeverSent != 0 {
		t.Errorf("report %+v", got)
	}
}

func TestLostSpansAreBounded(t *testing.T) {
	tally := New(Options{})
	r := tally.Reader()
	var odd [][]byte
	for i, line := range records(1, 1000) {
		if i%2 == 1 {
			odd = append(odd, line)
		}
	}
	r.Feed(join(odd...))
	r.End(true)
	s := tally.Report(map[uint32]uint64{1: 1 << 50}).Senders[0]
	if len(s.LostSpans) != maxSpans || s.Lost != 1<<50-500 {
		t.Errorf("%d lost in %v", s.Lost, s.LostSpans)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tally := New(Options{})
		r := tally.Reader()
		g := record.NewGenerator(1, record.Length{})
		for i := range 1000 {
			sent := time.Now()
			line := g.Append(nil, sent)
			time.Sleep(time.Duration(i+1) * time.Millisecond)
			r.Feed(line)
			r.Feed(line) // a second copy does not count
		}
		early := g.Append(nil, time.Now().Add(time.Minute))
		r.Feed(early)
		r.End(true)
		l := tally.Report(nil).Latency
		if l.Count != 1001 || l.Early != 1 {
			t.Errorf("latency of %d records, %d early", l.Count, l.Early)
		}
		for want, got := range map[float64]float64{0.5: l.P50, 0.9: l.P90, 0.99: l.P99, 0.999: l.P999, 1: l.Max} {
			if math.Abs(got-want) > want/400 {
				t.Errorf("quantile %v, want %v", got, want)
			}
		}
	})
}

// Record numbers that are spread over the whole range, by very many senders, do not exceed the
// memory limit.
func TestMemoryIsBounded(t *testing.T) {
	const maxMemory = 1 << 20
	tally := New(Options{Memory: maxMemory})
	for i := range uint32(20_000) {
		id := record.ID{Sender: i / 2, Seq: uint64(i%2) << 39, Sent: time.Now()}
		tally.addRecordLocked(time.Now(), arrival{id, 100})
	}
	if tally.memory > maxMemory {
		t.Errorf("%d bytes", tally.memory)
	}
	got := tally.Report(nil)
	if got.Untracked == 0 || got.Distinct+got.Untracked != 20_000 {
		t.Errorf("%d tracked, %d untracked", got.Distinct, got.Untracked)
	}
	if err := got.Err(); !errors.Is(err, ErrFaults) {
		t.Errorf("error = %v for an incomplete account", err)
	}
}

func TestReportAsJSON(t *testing.T) {
	data, err := json.Marshal(New(Options{}).Report(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"lost":0`, `"out_of_order":0`, `"senders":[]`, `"p99_9":0`} {
		if !bytes.Contains(data, []byte(key)) {
			t.Errorf("no %s in %s", key, data)
		}
	}
}

func TestDetailedReportListsRepeatedAndNeverSentRecords(t *testing.T) {
	lines := records(1, 5000)
	stream := join(join(lines...), lines[2], lines[2], lines[3], lines[63], lines[64], lines[4999])
	for _, tt := range []struct {
		Options
		want Sender
	}{
		{Options{}, Sender{}},
		{Options{Detailed: true}, Sender{Repeated: 5, RepeatedSpans: []Span{{2, 3}, {63, 64}, {4999, 4999}},
			NeverSentSpans: []Span{{4990, 4999}}}},
		{Options{Detailed: true, Memory: senderSize + 3*pageSize}, Sender{NeverSentSpans: []Span{{4990, 4999}}}},
	} {
		tt.want.ID, tt.want.Sent, tt.want.Distinct = 1, 4990, 5000
		tt.want.Duplicated, tt.want.NeverSent = 6, 10
		tl := New(tt.Options)
		tl.Reader().Feed(stream)
		r := tl.Report(map[uint32]uint64{1: 4990})
		if diff := cmp.Diff([]Sender{tt.want}, r.Senders); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.Options, diff)
		}
		if n := tl.Received(); n != 5006 {
			t.Errorf("%d received, want 5006", n)
		}
	}
}
