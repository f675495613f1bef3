package intake

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// recordsOf returns the records of a buffer without their newlines or headers, and puts the buffer
// back.
func recordsOf(t *testing.T, pool *linebuf.Pool, b *linebuf.Buffer) (records []string) {
	t.Helper()
	for all := b.B; len(all) > 0; {
		end := b.Framing.End(all, 1)
		record := string(all[:end])
		if head, _ := framing.Header(all); b.Framing == framing.Octet {
			record = record[head:]
		} else {
			record = record[:len(record)-1]
		}
		records = append(records, record)
		all = all[end:]
	}
	if len(records) != b.Lines {
		t.Fatalf("%d records in %q, not %d", b.Lines, b.B, len(records))
	}
	pool.Put(b)
	return records
}

// joined returns the records of a whole stream, whose lines are all short enough, in the simplest
// way.
func joined(in string, set Limits) (records []string) {
	record, lines := "", 0
	for line := range strings.SplitAfterSeq(in, "\n") {
		if line == "" {
			break
		}
		line = strings.TrimSuffix(line, "\n") + "\n"
		if lines > 0 && (lines == set.Join.Lines || len(record)+len(line) > set.MaxLine ||
			set.Join.Start.MatchString(line[:len(line)-1])) {
			records = append(records, strings.TrimSuffix(record, "\n"))
			record, lines = "", 0
		}
		record += line
		lines++
	}
	if lines > 0 {
		records = append(records, strings.TrimSuffix(record, "\n"))
	}
	return records
}

// However the stream is cut into reads, records are those of the whole stream.
func TestJoinMatchesModel(t *testing.T) {
	start := regexp.MustCompile(`^[^ ]`)
	pool := linebuf.NewPool(64 << 20)
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var in strings.Builder
		for range rnd.IntN(30) {
			in.WriteString([]string{"", " ", "  at ", "error "}[rnd.IntN(4)] + strings.Repeat("x", rnd.IntN(8)) + "\n")
		}
		if rnd.IntN(2) == 0 {
			in.WriteString(" the end")
		}
		set := Limits{MaxLine: 16 + rnd.IntN(60), Join: Join{start, 1 + rnd.IntN(6)}}
		shared := NewShared(pool, 512, 2048, time.Now())
		shared.SetMaxLine(set.MaxLine)
		var s Stream
		now := time.Now()
		s.Init(shared, passive{}, Options{Framing: []framing.Framing{framing.Newline, framing.Auto}[seed%2]}, set, now)
		var got []string
		for rest := in.String(); rest != ""; {
			if s.Prepare() != Ready || len(s.Room()) == 0 {
				t.Fatal("no room")
			}
			n := copy(s.Room(), rest[:min(len(rest), 1+rnd.IntN(40))])
			rest = rest[n:]
			if r := s.Read(n, set, now); r.Whole != nil {
				got = append(got, recordsOf(t, pool, r.Whole)...)
			}
			s.Settle()
		}
		if b := s.Last(now); b != nil {
			got = append(got, recordsOf(t, pool, b)...)
		}
		want := joined(in.String(), set)
		for _, records := range [][]string{got, want} { // an empty record is counted as a newline
			for i, r := range records {
				if r == "\n" {
					records[i] = ""
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, %+v: %q\ngot  %q\nwant %q", seed, set, in.String(), got, want)
		}
		if torn := s.Torn(); torn != (linebuf.Count{}) {
			t.Errorf("torn: %+v", torn)
		}
		s.End()
		if n := pool.InUse(); n != 0 || shared.budget.charged.Load() != 0 {
			t.Fatalf("%d bytes in use, %d charged", n, shared.budget.charged.Load())
		}
	}
}

// joining returns a stream that has read in.
func joining(t *testing.T, in string) (s *Stream, set Limits, now time.Time) {
	t.Helper()
	s, now = newStream(0), time.Now()
	set = Limits{MaxLine: 1 << 20, Join: Join{regexp.MustCompile("^[^ ]"), 10}}
	s.Prepare()
	if r := s.Read(copy(s.Room(), in), set, now); r.Whole != nil {
		t.Fatalf("%q is whole", r.Whole.B)
	}
	s.Settle()
	return s, set, now
}

func TestRecordEndsWhenItIsLate(t *testing.T) {
	s, set, now := joining(t, "error\n at x\nhal")
	if s.Late(now.Add(time.Second), time.Second) || !s.Late(now.Add(time.Second+1), time.Second) {
		t.Error("late at the wrong time")
	}
	if got := recordsOf(t, s.shared.pool, s.Complete(now)); !slices.Equal(got, []string{"error\n at x"}) {
		t.Errorf("%q", got)
	}
	if s.Late(now.Add(time.Hour), time.Second) || s.Complete(now) != nil || s.Unfinished() != 3 {
		t.Errorf("there is still a record, or %d bytes of a line", s.Unfinished())
	}
	s.Prepare()
	s.Read(copy(s.Room(), "f\n more\n"), set, now)
	if got := recordsOf(t, s.shared.pool, s.Last(now)); !slices.Equal(got, []string{"half\n more"}) {
		t.Errorf("%q", got)
	}
	s.End()
}

// A broken connection loses the line that it broke in, and not the record before it.
func TestWholeLinesOfARecordAreNotTorn(t *testing.T) {
	s, _, now := joining(t, "error\n at x\nhal")
	s.shared.pool.Put(s.Complete(now))
	if torn := s.Torn(); torn != (linebuf.Count{Lines: 1, Bytes: 3}) {
		t.Errorf("torn: %+v", torn)
	}
	s.End()
}

// A record that is dropped for memory takes no further line with it.
func TestRecordDroppedForMemory(t *testing.T) {
	for in, next := range map[string]string{"error\n at x\n": "error 2\n", "error\n ha": "lf\nerror 2\n"} {
		s, set, now := joining(t, in)
		s.drop()
		s.Prepare()
		s.Read(copy(s.Room(), next), set, now)
		if got := recordsOf(t, s.shared.pool, s.Last(now)); !slices.Equal(got, []string{"error 2"}) {
			t.Errorf("%q: %q", in, got)
		}
		s.End()
	}
}

// When a reload ends the joining of lines, the record that was begun is whole.
func TestJoiningMayEnd(t *testing.T) {
	s, set, now := joining(t, "error\n at x\n")
	set.Join = Join{}
	s.Prepare()
	r := s.Read(copy(s.Room(), "a\nb\n"), set, now)
	got := recordsOf(t, s.shared.pool, r.Whole)
	if want := []string{"error\n at x", "a", "b"}; !slices.Equal(got, want) || s.Carried() != 0 {
		t.Errorf("%q, want %q", got, want)
	}
	s.End()
}

// Steady joining allocates nothing.
func TestJoinDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector, the pool of package regexp forgets some")
	}
	s, set, now := joining(t, "error\n at x\n")
	chunk := strings.Repeat("error\n at x\n at y\n", 100)
	read := func() {
		s.Prepare()
		s.shared.pool.Put(s.Read(copy(s.Room(), chunk), set, now).Whole)
		s.Settle()
		s.Quiet()
	}
	for range 10 {
		read()
	}
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations per read", n)
	}
	s.End()
}
