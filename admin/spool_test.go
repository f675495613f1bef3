package admin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func spoolAt(second int, unconfirmed uint64) Status {
	s := statusAt(second, 0)
	s.Spool = &SpoolStatus{Bytes: 2 * unconfirmed, Unconfirmed: Amount{unconfirmed / 10, unconfirmed}}
	return s
}

// The time to an empty spool comes from the bytes that leave it on balance: while as much comes in
// as goes out, it never empties.
func TestTimeToAnEmptySpool(t *testing.T) {
	for _, test := range []struct {
		name        string
		before, now uint64 // unconfirmed bytes, four seconds apart
		want        float64
	}{
		{"it shrinks by 100 bytes a second", 1000, 600, 6},
		{"it grows", 600, 1000, 0},
		{"it stays as it is", 600, 600, 0},
		{"it has become empty", 600, 0, 0},
	} {
		var h history
		before, now := spoolAt(0, test.before), spoolAt(4, test.now)
		h.add(&before)
		if h.setRates(&now); now.Spool.EmptySeconds != test.want {
			t.Errorf("%s: %v seconds, want %v", test.name, now.Spool.EmptySeconds, test.want)
		}
	}
}

// A reload may give a service a spool, or take it away.
func TestSpoolThatComesAndGoes(t *testing.T) {
	with, without := spoolAt(0, 1000), statusAt(4, 0)
	for _, pair := range [][2]Status{{with, without}, {without, with}} {
		var h history
		pair[1].Now = pair[0].Now.Add(sampleInterval)
		h.add(&pair[0])
		if h.setRates(&pair[1]); pair[1].Spool != nil && pair[1].Spool.EmptySeconds != 0 {
			t.Errorf("%v seconds from nothing", pair[1].Spool.EmptySeconds)
		}
	}
}

func TestHistoryHasTheSpool(t *testing.T) {
	var h history
	with, without := spoolAt(0, 1000), statusAt(1, 0)
	h.add(&with)
	h.add(&without)
	want := []*SpoolSample{{Bytes: 2000, Unconfirmed: Amount{100, 1000}}, nil}
	var got []*SpoolSample
	for _, s := range h.all() {
		got = append(got, s.Spool)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpoolOfTheAPI(t *testing.T) {
	var got SpoolStatus
	decodeBody(t, ask(New(Options{Control: &fake{}}), "GET", "/api/v1/spool", "", ""), &got)
	if got.Unconfirmed != (Amount{10, 100}) || !got.Oldest.Equal(began) || len(got.Groups) != 1 {
		t.Errorf("%+v", got)
	}
	r := ask(New(Options{Control: &fake{mode: ModeConnection}}), "GET", "/api/v1/spool", "", "")
	if p := problemIn(t, r); p.Status != 409 || p.Type != problemPrefix+"no-spool" || !strings.Contains(p.Detail, "-spool DIR") {
		t.Errorf("%+v", p)
	}
	s := New(Options{Control: emptySpool{}})
	if text := body(t, ask(s, "GET", "/api/v1/spool", "", "")); strings.Contains(text, "null") || strings.Contains(text, "oldest") {
		t.Error(text)
	}
}

// emptySpool is a Control with a spool that has nothing in it.
type emptySpool struct{ *fake }

func (emptySpool) Status() Status { return Status{Mode: ModeLine, Spool: &SpoolStatus{}} }

// A service without a spool has none of its metrics, rather than zeros that look like one.
func TestNoSpoolNoMetrics(t *testing.T) {
	for name, status := range map[string]func() Status{
		"no spool":       func() Status { return Status{} },
		"an empty spool": func() Status { return emptySpool{}.Status() },
	} {
		text := body(t, get(t, New(Options{Status: status}), "GET", "/metrics"))
		if got, want := strings.Contains(text, "\nlinesplit_spool_bytes 0\n"), name != "no spool"; got != want {
			t.Errorf("%s: linesplit_spool_bytes: %v", name, got)
		}
		if strings.Contains(text, "\nlinesplit_spool_oldest_timestamp_seconds ") {
			t.Errorf("%s has a time of its oldest line", name)
		}
	}
}
