package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	maxStreams         = 16 // concurrent streams of events to clients that are not authenticated
	maxKnownStreams    = 8  // the same to authenticated clients
	sampleInterval     = time.Second
	heartbeat          = 15 * time.Second // without an event
	streamWriteTimeout = 10 * time.Second // for one event; anonymousWriteTimeout for other clients
	// streamTurn is the time after which a stream has to make room for another one at the limit.
	// Browsers open theirs again.
	streamTurn = time.Minute
)

// sampler takes a Status each second, for the rates and for all streams of events. One goroutine
// calls run; subscribe and unsubscribe are safe for concurrent use.
type sampler struct {
	status  func() Status // with rates
	history *history

	mu      sync.Mutex // protects the fields below, and all of each stream but its channel
	streams []*stream  // oldest first
	ended   bool
}

// stream is one stream of events.
type stream struct {
	events chan []byte // with room for one; closed when the stream has to end
	peer   string      // see peerOf
	known  bool        // the client is authenticated
	since  time.Time
	missed int // events in a row that replaced one that the client had not taken
}

func newSampler(status func() Status) *sampler { return &sampler{status: status, history: &history{}} }

// run samples until ctx ends, and then ends all streams.
func (s *sampler) run(ctx context.Context) {
	defer s.end()
	ticks := time.NewTicker(sampleInterval)
	defer ticks.Stop()
	for {
		s.tick()
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *sampler) tick() {
	status := s.status()
	s.history.add(&status)
	if s.hasStreams() {
		s.broadcast(statusEvent(status))
	}
}

func (s *sampler) hasStreams() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams) > 0
}

// broadcast gives each stream an event. It replaces an event that a slow stream has not taken yet.
func (s *sampler) broadcast(event []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.streams {
		select {
		case <-one.events:
			one.missed++
		default:
			one.missed = 0
		}
		one.events <- event // never blocks: the buffer has room for one, and only this goroutine sends
	}
}

func (s *sampler) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, one := range s.streams {
		close(one.events)
	}
	s.streams = nil
}

// subscribe returns a new stream that ends when run ends or another stream takes its place. It
// returns nil if there are too many streams or run has ended.
func (s *sampler) subscribe(peer string, known bool, now time.Time) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.makeRoomLocked(peer, known, now) {
		return nil
	}
	one := &stream{events: make(chan []byte, 1), peer: peer, known: known, since: now}
	s.streams = append(s.streams, one)
	return one
}

// makeRoomLocked reports whether there is room for one more stream of a kind of client. At the
// limit it ends another stream of that kind, if there is one that has to give way.
func (s *sampler) makeRoomLocked(peer string, known bool, now time.Time) bool {
	limit := maxStreams
	if known {
		limit = maxKnownStreams
	}
	var rivals []*stream
	for _, other := range s.streams {
		if other.known == known {
			rivals = append(rivals, other)
		}
	}
	if len(rivals) < limit {
		return true
	}
	victim := givesWay(rivals, peer, now)
	if victim == nil {
		return false
	}
	close(victim.events)
	s.removeLocked(victim)
	return true
}

// givesWay returns the stream that a new one from peer may replace, or nil. It is, in this order,
// the one that has not taken its events for longest, the oldest of the peer that has the most
// streams, if that peer still has no fewer than the new one's afterwards, or the oldest one after
// its turn. The streams are given oldest first.
func givesWay(streams []*stream, peer string, now time.Time) *stream {
	held := map[string]int{}
	for _, one := range streams {
		held[one.peer]++
	}
	slowest, greediest, oldest := streams[0], streams[0], streams[0]
	for _, one := range streams {
		if one.missed > slowest.missed {
			slowest = one
		}
		if held[one.peer] > held[greediest.peer] {
			greediest = one
		}
	}
	switch {
	case slowest.missed > 0:
		return slowest
	case held[greediest.peer] >= held[peer]+2:
		return greediest
	case now.Sub(oldest.since) >= streamTurn:
		return oldest
	}
	return nil
}

// unsubscribe removes a stream, unless it has ended.
func (s *sampler) unsubscribe(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(one)
}

func (s *sampler) removeLocked(one *stream) {
	if i := slices.Index(s.streams, one); i >= 0 {
		s.streams = slices.Delete(s.streams, i, i+1)
	}
}

// statusEvent returns a Status as a server-sent event.
func statusEvent(s Status) []byte {
	var b bytes.Buffer
	b.WriteString("event: status\ndata: ")
	_ = json.NewEncoder(&b).Encode(s) // cannot fail; writes one line with its newline
	b.WriteByte('\n')
	return b.Bytes()
}

// events streams one status event a second until the client disconnects, the server ends, or
// another stream takes the place of this one.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	feed := a.sampler.subscribe(requestPeer(r), isAuthenticated(r), time.Now())
	if feed == nil {
		return newProblem(http.StatusServiceUnavailable, "too-many-streams",
			"too many streams of events are open: read %s/status instead", apiPrefix)
	}
	defer a.sampler.unsubscribe(feed)
	defer keepPlace(r)()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // stops nginx from buffering
	if r.Method == http.MethodHead {
		return nil
	}
	timeout := anonymousWriteTimeout
	if isAuthenticated(r) {
		timeout = streamWriteTimeout
	}
	out := &eventWriter{w: w, timeout: timeout}
	if out.send(append([]byte("retry: 2000\n"), statusEvent(a.status())...)) == nil {
		out.relay(r.Context(), feed.events)
	}
	return nil
}

// eventWriter writes events to a client.
type eventWriter struct {
	w       http.ResponseWriter
	timeout time.Duration // for one event
}

// relay sends events, and heartbeats without them, until the channel is closed or the client is
// gone.
func (e *eventWriter) relay(client context.Context, events <-chan []byte) {
	quiet := time.NewTimer(heartbeat)
	defer quiet.Stop()
	for {
		event, open := []byte(":\n\n"), true
		select {
		case event, open = <-events:
		case <-quiet.C:
		case <-client.Done():
			return
		}
		if !open || e.send(event) != nil {
			return
		}
		quiet.Reset(heartbeat)
	}
}

func (e *eventWriter) send(event []byte) error {
	controller := http.NewResponseController(e.w)
	// It replaces the limit on a whole response. An error means that the writer has no deadlines.
	_ = controller.SetWriteDeadline(time.Now().Add(e.timeout))
	if _, err := e.w.Write(event); err != nil {
		return err
	}
	return controller.Flush()
}
