package cli

import (
	"strings"
	"testing"

	"linesplit/internal/simulate/send"
	"linesplit/internal/simulate/sink"
)

// A single line was "1 lines", and a single client "1 clients".
func TestOneIsSingular(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 lines", 1: "1 line", 2: "2 lines", 2000: "2,000 lines"} {
		if got := counted(n, "line"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	account := sinkText(sinkAccount{Lines: 1, Sinks: []sink.Status{{Target: "a"}}}) + sendText(send.Summary{
		Lines: 1, InDoubt: 1, Clients: map[send.Kind]*send.ClientCount{"stream": {Started: 1}},
	})
	if strings.Contains(account, "1 lines,") || strings.Contains(account, "1 clients") || strings.Contains(account, "1 lines were") {
		t.Errorf("%s", account)
	}
}
