package proof

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// counts are the counts that linesplit reports, since its process has started. Other proxies do not
// report them.
type counts struct {
	received, confirmed uint64 // lines
	queued, retained    uint64 // lines in memory
	memory              uint64 // bytes of memory that lines take
	written             uint64 // lines written to the spool
	spooled             uint64 // lines in the spool that no target has confirmed
	spooledBytes        uint64 // bytes in these
	unscanned           uint64 // bytes of the spool whose lines are not counted yet
}

// unconfirmed returns how many lines linesplit has in memory or in its spool. With a spool, lines
// in memory may be in both.
func (c counts) unconfirmed() uint64 { return max(c.queued+c.retained, c.spooled) }

// The names of these counts among the metrics. Those of a spool are absent without one.
const (
	receivedLines  = "linesplit_received_lines_total"
	confirmedLines = "linesplit_confirmed_lines_total"
	queuedLines    = "linesplit_queued_lines"
	retainedLines  = "linesplit_retained_lines"
	memoryBytes    = "linesplit_memory_bytes"
	writtenLines   = "linesplit_spool_appended_lines_total"
	spooledLines   = "linesplit_spool_unconfirmed_lines"
	spooledBytes   = "linesplit_spool_unconfirmed_bytes"
	unscannedBytes = "linesplit_spool_unscanned_bytes"
)

// scrapeLimit is the longest time that linesplit may take to report its counts.
const scrapeLimit = 10 * time.Second

// counts asks the first proxy for its counts. The stage fails if it does not answer.
func (s *stage) counts() counts {
	if s.failed() {
		return counts{}
	}
	c, err := scrape(s.ctx, s.admin)
	switch {
	case s.ctx.Err() != nil:
		s.fail(Cancelled, "%w", s.ctx.Err())
	case err != nil:
		s.fail(Failed, "ask the proxy for its counts: %w", err)
	}
	return c
}

// scrape reads the metrics at an address, host:port.
func scrape(ctx context.Context, address string) (counts, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return counts{}, err
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request) // no proxy of the environment
	if err != nil {
		return counts{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return counts{}, fmt.Errorf("got %s", answer.Status)
	}
	return parseCounts(answer.Body)
}

// parseCounts reads metrics in the text format of Prometheus. It adds up the series of a name.
func parseCounts(r io.Reader) (counts, error) {
	sums := make(map[string]float64)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(line[:cut], "{")
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			return counts{}, fmt.Errorf("metric %q: %w", line, err)
		}
		sums[name] += value
	}
	if err := lines.Err(); err != nil {
		return counts{}, err
	}
	if _, found := sums[receivedLines]; !found {
		return counts{}, errors.New("the answer has no " + receivedLines)
	}
	n := func(name string) uint64 { return uint64(sums[name]) }
	return counts{
		received: n(receivedLines), confirmed: n(confirmedLines), queued: n(queuedLines), retained: n(retainedLines),
		memory: n(memoryBytes), written: n(writtenLines), spooled: n(spooledLines), spooledBytes: n(spooledBytes),
		unscanned: n(unscannedBytes),
	}, nil
}
