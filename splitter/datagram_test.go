package splitter

import (
	"fmt"
	"strings"
	"testing"

	"linesplit/listen"

	"linesplit/internal/intake"
)

// A udp:// listener reads the datagrams of all senders as one connection. With -oversize close, one
// datagram with a line that is too long took those of other senders with it that had been read
// together with it: 2,012 of 6,000.
func TestOversizeDatagramIsDroppedAlone(t *testing.T) {
	for _, policy := range []Oversize{Drop, Close} {
		t.Run(policy.String(), func(t *testing.T) {
			spec, err := listen.Parse("udp://127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln, err := listen.Open(t.Context(), spec, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			innocent, guilty := dial(t, ln.Addr()), dial(t, ln.Addr())
			var want strings.Builder
			for i := range 100 { // all of them wait in the socket when the first is read
				if i == 50 {
					write(t, guilty, "before\n"+strings.Repeat("x", 99)+"\nafter")
					want.WriteString("before\nafter\n")
				}
				line := fmt.Sprintf("line %d", i)
				write(t, innocent, line)
				want.WriteString(line + "\n")
			}
			r := newRig(t, ln, plenty, Options{Tuning: Tuning{MaxLine: 64, Oversize: policy}})
			r.wants(want.String())
			if st := r.end(); dropped(st, intake.ReasonOversize).Lines != 1 || st.Accepted != 0 {
				t.Errorf("%+v, want 1 line dropped and no sender counted", st)
			}
		})
	}
}
