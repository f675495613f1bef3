package proof

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	seconds, bytes := 1.234, int64(22_400_000)
	results := []Result{
		{Scenario: "crashes-unread", Verdict: OK, Sent: 1_234_567, ReceivedOnce: 1_234_567, Duplicated: 5000,
			Recovery: &seconds, PeakMemory: &bytes},
		{Scenario: "full-outage", Verdict: Lost, Sent: 100, ReceivedOnce: 93, Lost: 7, Duplicated: 2, Corrupt: 1,
			Note: "lines never sent: 1"},
		{Scenario: "black-hole", Verdict: Skipped, Note: "needs root"},
	}
	const want = `
scenario             sent  received once  lost  again  corrupt  recovered  peak memory  verdict
crashes-unread  1,234,567      1,234,567     0  5,000        0     1.23 s        22 MB  ok
full-outage           100             93     7      2        1          –            –  lost
black-hole              –              –     –      –        –          –            –  skipped
sum             1,234,667      1,234,660     7  5,002        1          –            –

full-outage: lines never sent: 1

black-hole: needs root
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), Table(results)); diff != "" {
		t.Error(diff)
	}
	if got, want := Failures(results), "full-outage (lost)"; got != want || Passed(results) {
		t.Errorf("failures: %q, want %q", got, want)
	}
	if !Passed(results[:1]) || !Passed(results[2:]) || !Passed(nil) {
		t.Error("ok and skipped are no failures")
	}
}

// The JSON distinguishes 0 from "not known".
func TestResultsAsJSON(t *testing.T) {
	text, err := json.Marshal(Result{Scenario: "x", Verdict: OK})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"scenario":"x","verdict":"ok","sent_lines":0,"received_once_lines":0,"lost_lines":0,"duplicated_lines":0,"corrupt_lines":0,` +
		`"recovery_seconds":null,"peak_memory_bytes":null,"seconds":0,"staged":""}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}
