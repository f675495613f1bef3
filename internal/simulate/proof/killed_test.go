package proof

import (
	"strings"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
)

// The fakes read everything into memory and are killed with it. Whether that is a fault depends on
// what they had reported.
func TestVerdictsOnKilledProxies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	for _, test := range []struct {
		fault    string
		scenario string
		want     Verdict
		note     string
		excused  func(Result) bool
	}{
		{honest, "proxy-killed", OK, "counted as confirmed: 0", func(r Result) bool { return r.Excused == r.Lost }},
		{boasts, "proxy-killed", Lost, "lines lost without a spool", func(r Result) bool { return r.Excused < r.Lost }},
		{honest, "killed-with-spool", Lost, "lines lost at the ends of connections",
			func(r Result) bool { return r.Excused < r.Lost }},
	} {
		t.Run(test.scenario+"/"+test.fault, func(t *testing.T) {
			t.Parallel()
			r := try(t, Options{Proxy: fakeTemplate(t, test.fault), Own: true}, test.scenario)
			if r.Verdict != test.want || !strings.Contains(r.Note, test.note) {
				t.Errorf("verdict %s, note %q; want %s, %q", r.Verdict, r.Note, test.want, test.note)
			}
			if r.Lost == 0 || r.Sent != r.ReceivedOnce+r.Lost || !test.excused(r) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A kill excuses lost lines by what the proxy had counted, and with a spool only at the end of a
// connection.
func TestExcusedLines(t *testing.T) {
	for _, test := range []struct {
		name      string
		spool     bool
		counts    counts
		lost      []int // of the ten lines of one connection
		cutOff    uint64
		torn      bool // the last lost line arrives in part
		want      Verdict
		excused   uint64
		wantWords string
	}{
		{name: "nothing lost", want: OK, wantWords: "lines lost without a spool: 0."},
		{name: "held", counts: counts{received: 10, confirmed: 8}, lost: []int{2, 5}, want: OK, excused: 2,
			wantWords: "without a spool: 2. Before the kills linesplit held 2, and had not read 0."},
		{name: "not read", counts: counts{received: 8, confirmed: 8}, lost: []int{8, 9}, want: OK, excused: 2,
			wantWords: "without a spool: 2. Before the kills linesplit held 0, and had not read 2."},
		{name: "confirmed", counts: counts{received: 10, confirmed: 9}, lost: []int{8, 9}, want: Lost, excused: 1,
			wantWords: "counted as confirmed: 1"},
		{name: "the end", spool: true, counts: counts{received: 8, written: 7, confirmed: 3}, lost: []int{7, 8, 9}, want: OK,
			excused: 3, wantWords: "ends of connections: 3. Before the kills linesplit had not read and written 3;"},
		{name: "more than the end", spool: true, counts: counts{received: 9, written: 8, confirmed: 3}, lost: []int{7, 8, 9},
			want: Lost, excused: 2, wantWords: "Other lines lost: 1"},
		{name: "in the middle", spool: true, counts: counts{received: 5, written: 5, confirmed: 3}, lost: []int{5, 9}, want: Lost,
			excused: 1, wantWords: "Other lines lost: 1"},
		{name: "all but the end", spool: true, counts: counts{received: 2, written: 2}, lost: []int{0, 1, 2}, want: Lost,
			wantWords: "Other lines lost: 3"},
		{name: "cut off by the kill", counts: counts{received: 10}, lost: []int{9}, torn: true, cutOff: 1, want: OK,
			excused: 1, wantWords: "without a spool: 1."},
		{name: "torn", counts: counts{received: 10}, lost: []int{9}, torn: true, want: Corrupt, excused: 1,
			wantWords: "without a newline"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t.Context(), Options{Own: true}, scenario{setup: setup{spool: test.spool}}, identity{}, Progress{})
			s.sent[1] = 10
			s.kills = []kill{{test.counts, map[uint32]uint64{1: 10}}}
			s.cutOff = test.cutOff
			lost := make(map[int]bool)
			for _, seq := range test.lost {
				lost[seq] = true
			}
			g, r := record.NewGenerator(1, record.Length{}), s.tally.Reader()
			for seq := range 10 {
				switch line := g.Append(nil, time.Now()); {
				case !lost[seq]:
					r.Feed(line)
				case test.torn:
					r.Feed(line[:len(line)/2])
				}
			}
			r.End(true)
			got := s.result()
			if got.Verdict != test.want || got.Excused != test.excused || got.Lost != uint64(len(test.lost)) ||
				!strings.Contains(got.Note, test.wantWords) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestParseCounts(t *testing.T) {
	const text = `# HELP linesplit_received_lines_total Complete lines.
# TYPE linesplit_received_lines_total counter
linesplit_received_lines_total 1.5e+06
linesplit_confirmed_lines_total{target="tcp://a b:1"} 100
linesplit_confirmed_lines_total{target="tcp://b:1"} 20
linesplit_queued_lines 3
linesplit_retained_lines{target="tcp://b:1"} 4
linesplit_memory_bytes 4096
linesplit_spool_unconfirmed_lines{group="main"} 6
linesplit_spool_unconfirmed_bytes 8192
linesplit_spool_appended_lines_total 7
linesplit_spool_unscanned_bytes 9
`
	got, err := parseCounts(strings.NewReader(text))
	want := counts{received: 1_500_000, confirmed: 120, queued: 3, retained: 4, memory: 4096, written: 7, spooled: 6, spooledBytes: 8192,
		unscanned: 9}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, wrong := range []string{"", "other_total 1\n", receivedLines + " many\n"} {
		if _, err := parseCounts(strings.NewReader(wrong)); err == nil {
			t.Errorf("%q: no error", wrong)
		}
	}
}
