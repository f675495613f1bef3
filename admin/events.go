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
	statuses func() []Status // of all services, with rates

	historyMu sync.Mutex
	histories map[string]*history // by service; guarded by historyMu

	mu      sync.Mutex // protects the fields below, and all of each stream but its channel
	streams []*stream  // oldest first
	ended   bool
}

// stream is one stream of events.
type stream struct {
	service string      // its name; empty for the one without
	events  chan []byte // with room for one; closed when the stream has to end
	peer    string      // see peerOf
	known   bool        // the client is authenticated
	since   time.Time
	missed  int // events in a row that replaced one that the client had not taken
}

func newSampler(statuses func() []Status) *sampler {
	return &sampler{statuses: statuses, histories: map[string]*history{}}
}

// historyOf returns the history of a service.
func (s *sampler) historyOf(service string) *history {
	s.historyMu.Lock()
	defer s.historyMu.Unlock()
	h := s.histories[service]
	if h == nil {
		h = &history{}
		s.histories[service] = h
	}
	return h
}

// forgetOthers removes the histories of services that are gone.
func (s *sampler) forgetOthers(there []Status) {
	s.historyMu.Lock()
	defer s.historyMu.Unlock()
	for name := range s.histories {
		if !slices.ContainsFunc(there, func(one Status) bool { return one.Service == name }) {
			delete(s.histories, name)
		}
	}
}

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
	all := s.statuses()
	for _, status := range all {
		s.historyOf(status.Service).add(&status)
		if s.hasStreams(status.Service) {
			s.broadcast(status.Service, status.Now, statusEvent(status))
		}
	}
	s.forgetOthers(all)
	s.endOthers(all)
}

func (s *sampler) hasStreams(service string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.streams, func(one *stream) bool { return one.service == service })
}

// endOthers ends the streams of services that are gone.
func (s *sampler) endOthers(there []Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = slices.DeleteFunc(s.streams, func(one *stream) bool {
		gone := !slices.ContainsFunc(there, func(status Status) bool { return status.Service == one.service })
		if gone {
			close(one.events)
		}
		return gone
	})
}

// broadcast gives each stream of a service the event of a Status, unless the stream has begun with
// a later one. It replaces an event that a slow stream has not taken yet.
func (s *sampler) broadcast(service string, at time.Time, event []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.streams {
		if one.service != service || !at.After(one.since) {
			continue
		}
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

// subscribe is subscribeTo for the one service without a name.
func (s *sampler) subscribe(peer string, known bool, now time.Time) *stream {
	return s.subscribeTo("", peer, known, now)
}

// subscribeTo returns a new stream of the events of a service after now. It ends when the service
// or run ends, or another stream takes its place. It is nil if there are too many streams or run
// has ended.
func (s *sampler) subscribeTo(service, peer string, known bool, now time.Time) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.makeRoomLocked(peer, known, now) {
		return nil
	}
	one := &stream{service: service, events: make(chan []byte, 1), peer: peer, known: known, since: now}
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
func (v view) events(w http.ResponseWriter, r *http.Request) error {
	first := v.status()
	feed := v.sampler.subscribeTo(v.name, requestPeer(r), isAuthenticated(r), first.Now)
	if feed == nil {
		return newProblem(http.StatusServiceUnavailable, "too-many-streams",
			"too many streams of events are open: read %s/status instead", apiPrefix)
	}
	defer v.sampler.unsubscribe(feed)
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
	if out.send(append([]byte("retry: 2000\n"), statusEvent(first)...)) == nil {
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
