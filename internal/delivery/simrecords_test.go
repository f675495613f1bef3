package delivery

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// This file makes the lines of a simulation, and knows what each may look like at a target. Its
// rules for framing are written anew, in their simplest form, and use nothing of package framing
// but names.

// simRecords is what a simulation knows about lines.
type simRecords struct {
	framed bool // senders and targets have different framings, and lines contain delimiters
	rules  bool // all of -embedded-newline; otherwise none refuses lines
	seq    int
	given  []int                   // numbers of the lines that machines have been given
	lines  map[int]simRecord       // as they were given
	forms  map[int]map[string]bool // of lines that contain delimiters; see mayArriveAs
}

// simRecord is a line without its framing, and that framing.
type simRecord struct {
	body string
	as   framing.Framing
}

var simFramings = []framing.Framing{framing.Newline, framing.NUL, framing.Octet}

// someFraming returns the framing of a sender or of a target.
func (s *sim) someFraming() framing.Framing {
	if !s.framed {
		return framing.Newline
	}
	return simFramings[s.rng.IntN(len(simFramings))]
}

// buffer returns some new lines.
func (s *sim) buffer() *linebuf.Buffer {
	b := s.buffers.MustGet(512)
	b.Framing = s.someFraming()
	for range 1 + s.rng.IntN(8) {
		s.appendLine(b)
	}
	b.Read = time.Now()
	return b
}

// appendLine appends the next line to a buffer.
func (s *sim) appendLine(b *linebuf.Buffer) {
	b.B = append(b.B, enframe(s.body(b.Framing, s.rng.IntN(40)), b.Framing)...)
	b.Lines++
}

// body returns the next line without its framing: its number, a space and n bytes more, among which
// there may be delimiters of other framings.
func (s *sim) body(f framing.Framing, n int) string {
	body := strconv.AppendInt(nil, int64(s.seq), 10)
	body = append(body, ' ')
	mixed := s.framed && s.rng.IntN(3) == 0
	for range n {
		c := byte('x')
		if mixed && s.rng.IntN(8) == 0 {
			c = "\n\x00"[s.rng.IntN(2)]
		}
		if string(c) == delimiterOf(f) {
			c = 'x'
		}
		body = append(body, c)
	}
	s.seq++
	return string(body)
}

// delimiterOf returns what ends lines, unless they are counted.
func delimiterOf(f framing.Framing) string {
	switch f {
	case framing.Newline:
		return "\n"
	case framing.NUL:
		return "\x00"
	}
	return ""
}

func enframe(body string, f framing.Framing) string {
	if f == framing.Octet {
		return fmt.Sprintf("%d %s", len(body), body)
	}
	return body + delimiterOf(f)
}

// deframe returns the lines of a stream, and what is left of it behind the last whole one.
func deframe(stream string, f framing.Framing) (bodies []string, rest string) {
	for {
		body, behind, whole := strings.Cut(stream, delimiterOf(f))
		if f == framing.Octet {
			number, counted, found := strings.Cut(stream, " ")
			n, err := strconv.Atoi(number)
			if whole = found && err == nil && n <= len(counted); whole {
				body, behind = counted[:n], counted[n:]
			}
		}
		if !whole {
			return bodies, stream
		}
		bodies, stream = append(bodies, body), behind
	}
}

// rewritten returns what a line becomes in another framing. It returns false if it is refused.
func (r simRecord) rewritten(to framing.Framing, rule framing.Embedded) (simRecord, bool) {
	d := delimiterOf(to)
	switch {
	case r.as == to:
		return r, true
	case d == "" && r.body == "":
		return simRecord{"\n", to}, true
	case d == "":
		return simRecord{r.body, to}, true
	}
	body := strings.TrimSuffix(r.body, d)
	if strings.Contains(body, d) && rule == framing.Refuse {
		return r, false
	}
	instead := " "
	switch {
	case rule == framing.Space:
	case d == "\n":
		instead = `\n`
	default:
		instead = `\u0000`
	}
	return simRecord{strings.ReplaceAll(body, d, instead), to}, true
}

// altered reports whether something else was written for a delimiter.
func (r simRecord) altered(to framing.Framing) bool {
	d := delimiterOf(to)
	return r.as != to && d != "" && strings.Contains(strings.TrimSuffix(r.body, d), d)
}

// plain reports whether a line has the same body in every framing.
func (r simRecord) plain() bool { return r.body != "" && !strings.ContainsAny(r.body, "\n\x00") }

// mayArriveAs reports whether a target of a framing may get a line as body. A line that is sent
// again is rewritten from the form that it has, under the rule that is in force then.
func (s *sim) mayArriveAs(seq int, body string, f framing.Framing) bool {
	r, known := s.lines[seq]
	if !known || r.plain() {
		return known && r.body == body
	}
	if once, _ := r.rewritten(f, framing.Escape); once.body == body {
		return true
	}
	if s.forms[seq] == nil {
		s.forms[seq] = r.allForms()
	}
	return s.forms[seq][enframe(body, f)]
}

// allForms returns all that a line may become on its way from target to target.
func (r simRecord) allForms() map[string]bool {
	seen := map[simRecord]bool{r: true}
	for grown := true; grown; {
		before := len(seen)
		for _, from := range slices.Collect(maps.Keys(seen)) {
			for _, to := range simFramings {
				for _, rule := range []framing.Embedded{framing.Escape, framing.Space} {
					next, _ := from.rewritten(to, rule)
					seen[next] = true
				}
			}
		}
		grown = len(seen) > before
	}
	forms := map[string]bool{}
	for x := range seen {
		forms[enframe(x.body, x.as)] = true
	}
	return forms
}

// numberOf returns the number that a line begins with.
func numberOf(body string) (int, error) {
	number, _, _ := strings.Cut(body, " ")
	return strconv.Atoi(number)
}

// note notes the lines of a buffer that a machine gets.
func (s *sim) note(b *linebuf.Buffer) {
	bodies, rest := deframe(string(b.B), b.Framing)
	for _, body := range bodies {
		seq, err := numberOf(body)
		if _, twice := s.lines[seq]; err != nil || twice {
			s.t.Errorf("seed %d: line %q is read twice, or torn", s.seed, body)
		}
		s.lines[seq] = simRecord{body, b.Framing}
		s.given = append(s.given, seq)
	}
	if rest != "" || len(bodies) != b.Lines {
		s.t.Errorf("seed %d: a buffer counts %d lines, has %d and %q", s.seed, b.Lines, len(bodies), rest)
	}
}

// give gives a buffer to a machine, and demands that the machine rewrites its lines as the rules
// say, and counts that.
func (s *sim) give(m *simMachine, b *linebuf.Buffer) {
	s.note(b)
	if s.group == nil {
		s.receipts.attach(b, 1)
	}
	want, to := s.shared.Reframed(), m.out.backend.Target.Address.Framing
	if s.framed && b.Framing != to {
		s.addRewritten(&want, b, to)
	}
	m.Take(b)
	if got := s.shared.Reframed(); got != want {
		s.t.Errorf("seed %d: rewritten into %v: got %+v, want %+v", s.seed, to, got, want)
	}
}

// addRewritten adds what is to be counted when a buffer is rewritten.
func (s *sim) addRewritten(r *Reframed, b *linebuf.Buffer, to framing.Framing) {
	bodies, _ := deframe(string(b.B), b.Framing)
	grown := 0
	for _, body := range bodies {
		old := simRecord{body, b.Framing}
		size := len(enframe(body, b.Framing))
		next, kept := old.rewritten(to, s.shared.Settings().Embedded)
		switch {
		case !kept:
			r.Refused.Add(linebuf.Count{Lines: 1, Bytes: uint64(size)})
			continue
		case old.altered(to):
			r.Altered++
		}
		grown += len(enframe(next.body, to)) - size
	}
	r.Added += uint64(max(0, grown))
	r.Removed += uint64(max(0, -grown))
}

// mayBeRefused reports whether a line may be dropped for what it contains.
func (s *sim) mayBeRefused(seq int) bool {
	r, given := s.lines[seq]
	return s.framed && s.rules && given && !r.plain()
}

// receive notes the whole lines at the start of a stream.
func (s *sim) receive(name, stream string, f framing.Framing, times map[int]int) (n int) {
	bodies, _ := deframe(stream, f)
	for _, body := range bodies {
		seq, err := numberOf(body)
		if err != nil || !s.mayArriveAs(seq, body, f) {
			s.t.Errorf("seed %d: %s: line %q is torn, or rewritten against the rules: it was %q", s.seed, name, body,
				s.lines[seq].body)
			return n
		}
		times[seq]++
	}
	return len(bodies)
}

// receiveAll notes what all targets have read, and returns the number of lines.
func (s *sim) receiveAll(times map[int]int) (total int) {
	for _, x := range s.all() {
		f := x.Target.Address.Framing
		for i, c := range x.conns {
			name := fmt.Sprintf("%s[%d]", x.name, i)
			total += s.receive(name, string(c.sent[:c.read]), f, times)
			if _, rest := deframe(string(c.sent), f); c.over && c.read == len(c.sent) && rest != "" {
				s.t.Errorf("seed %d: %s ended in order in the middle of a line", s.seed, name)
			}
		}
	}
	return total
}

// frames makes some simulations ones with several framings.
func (s *sim) frames() {
	s.framed, s.rules = s.rng.IntN(2) == 0, s.rng.IntN(2) == 0
	if s.framed {
		s.largest = 4096
	}
}

// someRule returns a rule for lines that contain their target's delimiter.
func (s *sim) someRule() framing.Embedded {
	switch {
	case !s.framed:
		return framing.Escape
	case s.rules:
		return framing.Embedded(s.rng.IntN(3))
	}
	return framing.Embedded(s.rng.IntN(2))
}
