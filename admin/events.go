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
	maxStreams     = 16 // of events, at one time
	pulseInterval  = time.Second
	heartbeat      = 15 * time.Second // without an event
	streamPatience = 10 * time.Second // for a client to take one event
)

// pulse takes a Status each second, for rates and for all streams of events alike. One goroutine runs it; subscribe and
// unsubscribe may be called from any.
type pulse struct {
	status  func() Status // with rates
	history *history

	mu      sync.Mutex // protects the fields below
	streams map[chan []byte]struct{}
	ended   bool
}

func newPulse(status func() Status) *pulse {
	return &pulse{status: status, history: &history{}, streams: map[chan []byte]struct{}{}}
}

// run ends with ctx, and then ends all streams.
func (p *pulse) run(ctx context.Context) {
	defer p.end()
	ticks := time.NewTicker(pulseInterval)
	defer ticks.Stop()
	for {
		p.beat()
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pulse) beat() {
	s := p.status()
	p.history.add(&s)
	if p.watched() {
		p.send(statusEvent(s))
	}
}

func (p *pulse) watched() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams) > 0
}

// send gives each stream an event. A stream that has not taken the one before gets this one in its place.
func (p *pulse) send(event []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stream := range p.streams {
		select {
		case <-stream:
		default:
		}
		stream <- event // there is room for one, and nobody else sends
	}
}

func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for stream := range p.streams {
		close(stream)
	}
	clear(p.streams)
}

// subscribe returns a channel of events that is closed at the end; or nil if there are too many, or it has ended.
func (p *pulse) subscribe() chan []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || len(p.streams) >= maxStreams {
		return nil
	}
	stream := make(chan []byte, 1)
	p.streams[stream] = struct{}{}
	return stream
}

func (p *pulse) unsubscribe(stream chan []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, stream)
}

// statusEvent is a Status as a server-sent event.
func statusEvent(s Status) []byte {
	var b bytes.Buffer
	b.WriteString("event: status\ndata: ")
	_ = json.NewEncoder(&b).Encode(s) // surely can be encoded; ends in a newline and has no other
	b.WriteByte('\n')
	return b.Bytes()
}

// events streams one status event a second until the client goes or the server ends.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	stream := a.pulse.subscribe()
	if stream == nil {
		return newProblem(http.StatusServiceUnavailable, "too-many-streams", "%d streams of events are open: read %s/status instead", maxStreams, apiPrefix)
	}
	defer a.pulse.unsubscribe(stream)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // for an nginx in between
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
	// In place of the server's limit for a whole answer. Where deadlines cannot be set there are none.
	_ = controller.SetWriteDeadline(time.Now().Add(streamPatience))
	if _, err := w.Write(event); err != nil {
		return err
	}
	return controller.Flush()
}
