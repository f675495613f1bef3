package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/tlsconf"
)

// nextStatus reads the next event.
func nextStatus(t *testing.T, in *bufio.Scanner) (s Status) {
	t.Helper()
	named := false
	for in.Scan() {
		line := in.Text()
		if line == "event: status" {
			named = true
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && named {
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("no event: %v", in.Err())
	return s
}

// A stream outlives the read timeout, and its rates are right.
func TestStreamOutlivesReadTimeout(t *testing.T) {
	t.Parallel()
	started := time.Now()
	s := serveReading(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{}, shortReading)
	r, err := (&http.Client{Transport: s.client.Transport}).Get(s.url + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", r.Status, r.Header)
	}
	in := bufio.NewScanner(r.Body)
	opened, last := time.Now(), nextStatus(t, in)
	seen := []Status{{Now: started, Ledger: new(Ledger)}, last}
	for time.Since(opened) < 2*shortReading || len(seen) < 4 {
		next := nextStatus(t, in)
		if !next.Now.After(last.Now) || next.Ledger.Received.Lines <= last.Ledger.Received.Lines {
			t.Errorf("%v after %v", next, last)
		}
		last = next
		seen = append(seen, next)
	}
	if lowest, highest := ratesBetween(seen); last.Rates.ReceivedLines < lowest || last.Rates.ReceivedLines > highest {
		t.Errorf("%v lines per second, want %v to %v", last.Rates.ReceivedLines, lowest, highest)
	}
	if share := last.Targets[0].Rates.Share; share != 1 {
		t.Errorf("share %v", share)
	}
}

// ratesBetween returns the limits of the rate at the last event. It is that since some sample
// before the last event but one, whether there was an event for the sample or not. On a busy
// machine samples are not a second apart.
func ratesBetween(seen []Status) (lowest, highest float64) {
	last := seen[len(seen)-1]
	lowest = math.Inf(1)
	rate := func(lines, at Status) float64 {
		return float64(last.Ledger.Received.Lines-lines.Ledger.Received.Lines) / last.Now.Sub(at.Now).Seconds()
	}
	for i := range len(seen) - 2 {
		before, after := seen[i], seen[i+1]
		lowest, highest = min(lowest, rate(after, before)), max(highest, rate(before, after))
	}
	return lowest, highest
}

// Streams are limited, take no slot of a request, and do not delay the end of the server.
func TestStreamsAreLimitedAndEndWithServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server, ended := New(Options{Control: &fake{}}), make(chan error, 1)
	server.ending = longReading // on a busy machine, streams may need more than a second to end
	go func() { ended <- server.Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var streams []*http.Response
	for i := range maxStreams + 1 {
		r, err := client.Get("http://" + ln.Addr().String() + "/api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if i < maxStreams {
			streams = append(streams, r)
			continue
		}
		if p := problemIn(t, r); p.Status != 503 || p.Type != problemPrefix+"too-many-streams" || r.Header.Get("Retry-After") == "" {
			t.Errorf("%+v", p)
		}
	}
	if got := len(server.api.anonymous) + len(server.api.known); got != 0 {
		t.Errorf("%d slots are taken", got)
	}

	streams[0].Body.Close() // makes room for another
	for {
		r, err := client.Get("http://" + ln.Addr().String() + "/api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if r.StatusCode == 200 {
			streams[0] = r
			break
		}
	}

	cancel()
	for _, r := range streams {
		if _, err := io.Copy(io.Discard, r.Body); err != nil { // such as if the server had to cut it off
			t.Errorf("a stream ended with %v", err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r := ask(server, "GET", "/api/v1/events", "", ""); r.StatusCode != 503 {
		t.Errorf("after the end: %s", r.Status)
	}
}

func TestHeadOfEventsReturnsAtOnce(t *testing.T) {
	r := ask(New(Options{Control: &fake{}}), "HEAD", "/api/v1/events", "", "")
	if r.StatusCode != 200 || body(t, r) != "" {
		t.Errorf("%s", r.Status)
	}
}

// Without events a stream carries heartbeats, and it ends when its client disconnects.
func TestStreamHasHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Control: &fake{}}) // its sampler does not run
		ctx, cancel := context.WithTimeout(withTrust(t.Context(), always(fromOwner)), 2*heartbeat+time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/api/v1/events", nil))
		if text := w.Body.String(); strings.Count(text, "\n:\n") != 2 || strings.Count(text, "event: status") != 1 {
			t.Errorf("%q", text)
		}
		if left := len(s.api.sampler.streams); left != 0 {
			t.Errorf("%d streams are left", left)
		}
	})
}

// The sampler takes one Status a second for any number of streams, and a stream without a reader
// does not block the others.
func TestSamplerServesAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control := &fake{}
		sampler := newAPI(Options{Control: control}, nil).sampler
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { sampler.run(ctx); close(ended) }()
		slow, quick := sampler.subscribe("a", false, time.Now()), sampler.subscribe("b", false, time.Now())
		for range 5 {
			<-quick.events
		}
		synctest.Wait()
		samples := control.lines / 100
		if samples < 5 || samples > 6 {
			t.Errorf("%d samples", samples)
		}
		if event := string(<-slow.events); !strings.Contains(event, `"received":{"lines":`+linesAfter(samples)) {
			t.Errorf("not the newest: %s", event)
		}
		cancel()
		<-ended
		if _, open := <-slow.events; open || sampler.subscribe("c", true, time.Now()) != nil {
			t.Error("not ended")
		}
		sampler.unsubscribe(slow)
	})
}

// ended reports whether a stream has been closed. It takes one event otherwise, if there is any.
func ended(one *stream) bool {
	select {
	case _, open := <-one.events:
		return !open
	default:
		return false
	}
}

// A sample that was taken before the first event of a stream came after it, now and then.
func TestStreamGetsNoOlderEvents(t *testing.T) {
	s := newSampler(nil)
	one := s.subscribe("a", false, began)
	for i, at := range []time.Duration{-time.Second, 0, time.Nanosecond} {
		s.broadcast("", began.Add(at), []byte("x"))
		if got, want := len(one.events), i/2; got != want {
			t.Errorf("%d events after one of %v", got, at)
		}
	}
}

// At the limit a stream has to make room if its client does not take its events, if its client has
// more than others, or if it has had its turn. Each kind of client has a limit of its own.
func TestStreamsMakeRoom(t *testing.T) {
	fill := func(peer func(i int) string) (*sampler, []*stream) {
		s := newSampler(nil)
		var all []*stream
		for i := range maxStreams {
			all = append(all, s.subscribe(peer(i), false, began))
		}
		return s, all
	}
	peers := func(n int) func(int) string { return func(i int) string { return string(rune('a' + i%n)) } }
	for _, test := range []struct {
		name   string
		peer   func(i int) string
		slow   int // does not take its events; -1: none
		from   string
		after  time.Duration
		victim int // -1: none, the new one is refused
	}{
		{"all are alike", peers(1), -1, "a", 0, -1},
		{"one does not read", peers(1), 5, "a", 0, 5},
		{"one client has all", peers(1), -1, "z", 0, 0},
		{"another has none yet", peers(8), -1, "z", 0, 0},
		{"all have one", peers(maxStreams), -1, "z", 0, -1},
		{"another has one less", peers(8), -1, "b", 0, -1},
		{"its turn is over", peers(1), -1, "a", streamTurn, 0},
	} {
		s, all := fill(test.peer)
		for range 2 { // nothing is missed by the first event
			for i, one := range all {
				if i != test.slow {
					ended(one) // takes what is there
				}
			}
			s.broadcast("", began.Add(time.Second), []byte("x"))
		}
		for i, one := range all {
			if i != test.slow {
				ended(one)
			}
		}
		if got := s.subscribe(test.from, false, began.Add(test.after)); (got != nil) != (test.victim >= 0) {
			t.Errorf("%s: %v", test.name, got)
		}
		for i, one := range all {
			if i == test.slow {
				<-one.events
			}
			if got := ended(one); got != (i == test.victim) {
				t.Errorf("%s: stream %d ended: %v", test.name, i, got)
			}
		}
		checkKnownPlaces(t, test.name, s, began)
	}
}

// checkKnownPlaces checks that authenticated clients have places of their own, and how many.
func checkKnownPlaces(t *testing.T, name string, s *sampler, at time.Time) {
	t.Helper()
	for range maxKnownStreams {
		if s.subscribe("a", true, at) == nil {
			t.Errorf("%s: no place for an authenticated client", name)
		}
	}
	if s.subscribe("a", true, at) != nil {
		t.Errorf("%s: too many streams to authenticated clients", name)
	}
}

// linesAfter returns the lines of a fake Control after so many samples.
func linesAfter(samples uint64) string {
	text, _ := json.Marshal(samples * 100)
	return string(text)
}
