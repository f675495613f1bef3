package ctl

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
)

// spooling is a fake with a spool.
type spooling struct{ *fake }

func (f spooling) Status() admin.Status {
	s := f.fake.Status()
	s.Spool = &admin.SpoolStatus{
		Directory: "/var/spool/linesplit", LimitBytes: 10 << 30, Bytes: 3 << 30, Segments: 24, UnscannedBytes: 1 << 30, Full: true,
		Unconfirmed: admin.Amount{Lines: 1234567, Bytes: 2 << 30}, Oldest: time.Now().Add(-3 * time.Hour),
		Appended: admin.Amount{Lines: 5}, Dropped: admin.Amount{Lines: 7, Bytes: 8}, Quarantined: admin.Amount{Lines: 1, Bytes: 9},
		QuarantinedFrames: 1, Syncs: 1000, SyncErrors: 2, WriteErrors: 1, Faults: 3, LastFault: "fdatasync: input/output error",
		Groups: []admin.SpoolGroup{
			{Name: "main", Waiting: admin.Amount{Lines: 11, Bytes: 1024}, InFlight: admin.Amount{Lines: 1}, Dropped: admin.Amount{Lines: 7, Bytes: 8}},
			{Name: "archive", Replayed: admin.Amount{Lines: 12}, Confirmed: admin.Amount{Lines: 13}},
		},
	}
	return s
}

func TestSpool(t *testing.T) {
	c := serve(t, spooling{&fake{}})
	got, err := run(t, c, false, "spool")
	words := strings.Join(strings.Fields(got), " ")
	for _, want := range []string{
		"directory /var/spool/linesplit size 3.0 GiB of 10 GiB in 24 files, 1.0 GiB of them not counted yet, full",
		"unconfirmed 1,234,567 lines, 2.0 GiB, the oldest read 3h0m ago empty in never, at the present rate",
		"dropped 7 lines, 8 B, to make room quarantined 1 line, 9 B in 1 damaged frame:",
		"syncs 1,000, 2 failed; 0 B waiting for the next faults 3, failed writes 1",
		"last fault fdatasync: input/output error",
		"GROUP WAITING IN FLIGHT REPLAYED CONFIRMED DROPPED main 11 lines, 1.0 KiB 1 line, 0 B 0 lines, 0 B 0 lines, 0 B 7 lines, 8 B",
		"archive 0 lines, 0 B 0 lines, 0 B 12 lines, 0 B 13 lines, 0 B",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if err != nil {
		t.Error(err)
	}
	if got, err := run(t, c, true, "spool"); err != nil || !json.Valid([]byte(got)) {
		t.Errorf("as JSON: %v\n%s", err, got)
	}
	got, err = run(t, c, false, "status")
	if want := "in 24 files, 1.0 GiB of them not counted yet, full, 1,234,567 lines unconfirmed, the oldest read 3h0m ago\n"; err != nil ||
		!strings.Contains(got, want) {
		t.Errorf("%v, no %q in\n%s", err, want, got)
	}
}

func TestServicesWithoutASpoolSaySo(t *testing.T) {
	_, err := run(t, serve(t, &fake{}), false, "spool")
	refused, ok := err.(*RefusedError)
	if !ok || refused.Status != http.StatusConflict || !strings.Contains(err.Error(), "there is no spool: -spool DIR") {
		t.Error(err)
	}
}

func TestTimeUntilTheSpoolIsEmpty(t *testing.T) {
	for _, test := range []struct {
		lines   uint64
		seconds float64
		want    string
	}{
		{0, 0, "now"}, {1, 0, "never, at the present rate"}, {1, 90.7, "1m30s, at the present rate"},
		{1, 1e300, "36500d0h, at the present rate"},
	} {
		s := admin.SpoolStatus{Unconfirmed: admin.Amount{Lines: test.lines}, EmptySeconds: test.seconds}
		if got := emptyIn(s); got != test.want {
			t.Errorf("%d lines, %v seconds: %q, want %q", test.lines, test.seconds, got, test.want)
		}
	}
}

// A healthy spool shows neither drops nor damage.
func TestSpoolWithoutFaults(t *testing.T) {
	var out bytes.Buffer
	writeSpool(&out, admin.SpoolStatus{Directory: "a\x1b[2Jb", Unconfirmed: admin.Amount{}})
	for _, bad := range []string{"dropped", "orphaned", "quarantined", "last fault", "GROUP", "oldest", "\x1b"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q in\n%s", bad, &out)
		}
	}
}
