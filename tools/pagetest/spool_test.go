package pagetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/tlsconf"
)

// spooling is a linesplit with a spool, as far as the page sees it.
type spooling struct {
	admin.Control // not called: the page only reads

	mu    sync.Mutex
	spool *admin.SpoolStatus // what Status shows, guarded by mu
}

func (c *spooling) set(s *admin.SpoolStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spool = s
}

// Status returns another unconfirmed count each time, so that a curve has more than one point.
func (c *spooling) Status() admin.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := admin.Status{Mode: admin.ModeLine, Version: "v1", Started: time.Now().Add(-time.Hour), Ready: true, Ledger: &admin.Ledger{}}
	if c.spool != nil {
		shown := *c.spool
		s.Spool = &shown
		if c.spool.Unconfirmed.Bytes > 1<<20 {
			c.spool.Unconfirmed.Bytes -= 1 << 20
		}
	}
	return s
}

// serveSpool returns the address of the page of c.
func serveSpool(t *testing.T, c admin.Control) string {
	t.Helper()
	ln, err := admin.Listen(t.Context(), "127.0.0.1:0", tlsconf.ServerFiles{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.New(admin.Options{Control: c}).Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String() + "/"
}

func TestPageShowsTheSpool(t *testing.T) {
	t.Parallel()
	c := &spooling{}
	b := open(t, serveSpool(t, c))
	b.shows("#link", "live")
	if !eval[bool](b, `document.querySelector("#spool-section").hidden`) {
		t.Error("a spool is shown, but there is none")
	}

	c.set(&admin.SpoolStatus{
		Directory: "/var/spool/<b>linesplit", LimitBytes: 10 << 30, Bytes: 3 << 30, Unconfirmed: admin.Amount{Lines: 1234567, Bytes: 2 << 30},
		Oldest: time.Now().Add(-3 * time.Hour), UnscannedBytes: 1 << 30,
		Groups: []admin.SpoolGroup{
			{Name: "main", Replayed: admin.Amount{Lines: 5, Bytes: 100}}, {Name: "archive", Waiting: admin.Amount{Lines: 7, Bytes: 8}},
		},
	})
	b.shows("#spool-where", "/var/spool/<b>linesplit")
	for _, want := range []string{
		"3.00 GiB of 10.0 GiB", "1.00 GiB of them not counted yet", "1,234,567 lines", "3 h 0 min", "at the present rate",
		"Waiting for archive", "7 lines, 8 B", "5 lines, 100 B",
	} {
		b.shows("#spool", want)
	}
	b.wait(`/ min /.test([...document.querySelectorAll("#spool .value")][3].textContent)`) // it shrinks by 1 MiB a look
	b.wait(`document.querySelector("#spool-section .chart path.first").getAttribute("d").length > 40`)
	b.wait(`/^Bytes in the spool .* files 3.00 GiB.*unconfirmed /.test(document.querySelector("#spool-section svg[role=img]").getAttribute("aria-label"))`)
	b.checkLayout("spool")

	c.set(&admin.SpoolStatus{Full: true, LimitBytes: 1, Bytes: 1, Dropped: admin.Amount{Lines: 3}, QuarantinedFrames: 2,
		Faults: 4, LastFault: "input/output error"})
	b.shows("#spool", "full")
	b.shows("#spool", "Dropped to make room")
	b.shows("#spool", "Damaged, not delivered")
	b.shows("#spool", "input/output error")
	b.shows("#spool", "empty")
	b.shows("#changes", "the spool is full")

	c.set(nil)
	b.wait(`document.querySelector("#spool-section").hidden`)
	b.noComplaints()
}
