package admin

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// gone is the answer to a client that has gone.
type gone struct{ header http.Header }

func (g gone) Header() http.Header       { return g.header }
func (g gone) WriteHeader(int)           {}
func (g gone) Write([]byte) (int, error) { return 0, errors.New("write: broken pipe") }

// Twenty clients that went before they had read the metrics made 976 lines of log: one for each
// metric.
func TestAbortedScrapesAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	status := fullLines()
	s := New(Options{Status: func() Status { return status }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 20 {
		s.Handler().ServeHTTP(gone{http.Header{}}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}
	s.flushLog()
	if log.Len() > 0 {
		t.Errorf("want nothing: the answer is made before it is sent:\n%s", &log)
	}
}

// promhttp reports each metric that cannot be gathered, at every scrape.
func TestScrapeFailuresAreLoggedInSum(t *testing.T) {
	var log bytes.Buffer
	l := scrapeLog{logger: slog.New(slog.NewTextHandler(&log, nil))}
	for range 20 {
		l.Println("error gathering metrics:", errors.New("inconsistent"))
	}
	l.limiter.Flush()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `msg="metrics not served"`) || !strings.Contains(lines[1], "count=19") {
		t.Errorf("%d lines, want one at once and one in sum:\n%s", len(lines), &log)
	}
}
