package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	maxStreams         = 16 // concurrent streams of events
	sampleInterval     = time.Second
	heartbeat          = 15 * time.Second // without an event
	streamWriteTimeout = 10 * time.Second // for one event
)

// sampler takes a Status each second, for the rates and for all streams of events. One goroutine
// calls run; subscribe and unsubscribe are safe for concurrent use.
type sampler struct {
	status  func() Status // with rates
	history *history

	mu      sync.Mutex // protects the fields below
	streams map[chan []byte]struct{}
	ended   bool
}

func newSampler(status func() Status) *sampler {
	return &sampler{status: status, history: &history{}, streams: map[chan []byte]struct{}{}}
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
	for stream := range s.streams {
		select {
		case <-stream:
		default:
		}
		stream <- event // never blocks: the buffer has room for one, and only this goroutine sends
	}
}

func (s *sampler) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for stream := range s.streams {
		close(stream)
	}
	clear(s.streams)
}

// subscribe returns a channel of events that is closed when run ends. It returns nil if there are
// too many streams or run has ended.
func (s *sampler) subscribe() chan []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.streams) >= maxStreams {
		return nil
	}
	stream := make(chan []byte, 1)
	s.streams[stream] = struct{}{}
	return stream
}

func (s *sampler) unsubscribe(stream chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, stream)
}

// statusEvent returns a Status as a server-sent event.
func statusEvent(s Status) []byte {
	var b bytes.Buffer
	b.WriteString("event: status\ndata: ")
	_ = json.NewEncoder(&b).Encode(s) // cannot fail; writes one line with its newline
	b.WriteByte('\n')
	return b.Bytes()
}

// events streams one status event a second until the client disconnects or the server ends.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	stream := a.sampler.subscribe()
	if stream == nil {
		return newProblem(http.StatusServiceUnavailable, "too-many-streams",
			"%d streams of events are open: read %s/status instead", maxStreams, apiPrefix)
	}
	defer a.sampler.unsubscribe(stream)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // stops nginx from buffering
	if r.Method == http.MethodHead {
		return nil
	}
	first := append([]byte("retry: 2000\n"), statusEvent(a.status())...)
	if sendEvent(w, first) != nil {
		return nil
	}
	relayEvents(w, r, stream)
	return nil
}

func relayEvents(w http.ResponseWriter, r *http.Request, stream <-chan []byte) {
	quiet := time.NewTimer(heartbeat)
	defer quiet.Stop()
	for {
		event, open := []byte(":\n\n"), true
		select {
		case event, open = <-stream:
		case <-quiet.C:
		case <-r.Context().Done():
			return
		}
		if !open || sendEvent(w, event) != nil {
			return
		}
		quiet.Reset(heartbeat)
	}
}

func sendEvent(w http.ResponseWriter, event []byte) error {
	controller := http.NewResponseController(w)
	// It replaces the server's limit on a whole response. An error means that the writer has no
	// deadlines.
	_ = controller.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	if _, err := w.Write(event); err != nil {
		return err
	}
	return controller.Flush()
}
