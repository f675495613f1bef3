//go:build linux

package section

import (
	"strings"
	"testing"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
)

func TestTransferArrivesAcrossALink(t *testing.T) {
	b := testInstalled(t)
	links, err := makeLinks()
	defer func() {
		for _, l := range links {
			l.Close()
		}
	}()
	if err != nil {
		t.Skip("needs network namespaces: ", err)
	}
	if with, without := links[0].offloads, links[1].offloads; !strings.Contains(with, "tso") || without != "none; none" {
		t.Errorf("offloads: %s and %s", with, without)
	}
	for _, l := range links {
		for _, name := range b.Available(contender.Direct, contender.HAProxy) {
			s := named(name)
			s.far = l.Namespace
			spec := load.Transfer{Senders: 2, Targets: 2, Line: 600, Verify: true}.WithBytes(5e6)
			if r, err := b.transfer(t.Context(), s, spec); err != nil || r.seconds <= 0 {
				t.Errorf("%s, %s: %+v, %v", name, l.title, r, err)
			}
		}
	}
}
