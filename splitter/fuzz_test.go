package splitter

import (
	"errors"
	"io"
	"strings"
	"testing"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// FuzzServe sends whole connections through Serve and compares the output with the model. Each byte
// of in stands for a run of that byte, so that short inputs reach the sizes at which buffers
// change.
func FuzzServe(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), uint16(3), uint16(600), uint8(0), uint16(1), false)
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz\nabc\n\nd"), uint16(100), uint16(700), uint8(1), uint16(333), false)
	f.Add([]byte("ab\nabc\nabcd\nabcdefghijklmn"), uint16(200), uint16(2000), uint8(0), uint16(512), true)
	f.Fuzz(func(t *testing.T, in []byte, run, maxLine uint16, policy uint8, step uint16, broken bool) {
		if maxLine == 0 || step == 0 || len(in) > 1000 || run > 1000 {
			return
		}
		var text strings.Builder
		for _, b := range in {
			if b == '\n' {
				text.WriteByte(b)
			} else {
				text.WriteString(strings.Repeat(string(rune('a'+b%26)), int(run)))
			}
		}
		all := text.String()
		p := Oversize(policy % 3)
		c := &scripted{
			data: []byte(all), step: int(step), err: io.EOF, together: run%2 == 0, closed: make(chan struct{}),
		}
		want := model([]byte(all), int(maxLine), p)
		if broken {
			c.err = errors.New("broken")
			whole := all[:strings.LastIndexByte(all, '\n')+1]
			rest := len(all) - len(whole)
			if rest > 0 && rest < int(maxLine) && !want.closed {
				want = model([]byte(whole), int(maxLine), p)
				want.dropped[intake.ReasonTorn] = linebuf.Count{Lines: 1, Bytes: uint64(rest)}
			}
		}
		o := Options{Tuning: Tuning{MaxLine: int(maxLine), Oversize: p}, ReadSize: 512}
		r := newRig(t, newFakeListener(c, io.EOF), plenty, o)
		r.ended()
		r.wants(want.out)
		st := r.ledger()
		if want.closed {
			return // the bytes read beyond the line depend on the reads
		}
		for why, n := range want.dropped {
			if got := st.Dropped[why]; got.Count != n {
				t.Errorf("dropped %+v, want %+v", got, n)
			}
		}
	})
}
