package httpsource

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"linesplit/linebuf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Server whose lines go to the test, over connections in memory.
type rig struct {
	*testing.T
	pool   *linebuf.Pool
	server *Server
	client *http.Client
	ln     *pipes

	soft, hard       context.Context
	endSoft, endHard context.CancelFunc
	served           chan error

	mu      sync.Mutex // guards the fields below
	limits  Limits
	got     []*linebuf.Buffer
	full    bool // Send waits
	room    chan struct{}
	keyless []byte // lines that begin with it have no key
	cutOff  int
	senders int
}

// pipes is a listener in memory.
type pipes struct {
	*queue
	rig *rig
}

func newRig(t *testing.T, memory int64, e Endpoint) *rig {
	r := &rig{T: t, pool: linebuf.NewPool(memory), served: make(chan error, 1), room: make(chan struct{})}
	r.limits = Limits{MaxLine: 1 << 10, Drain: time.Second}
	r.server = New(Options{Pool: r.pool, Senders: r, Required: 0b101, Limits: func() Limits { return r.limits }})
	r.ln = &pipes{newQueue(&net.UnixAddr{Name: "test", Net: "unix"}), r}
	r.soft, r.endSoft = context.WithCancel(t.Context())
	r.hard, r.endHard = context.WithCancel(t.Context())
	if e.MaxRequest == 0 {
		e.MaxRequest = 1 << 20
	}
	if e.Timeout == 0 {
		e.Timeout = 45 * time.Second
	}
	go func() { r.served <- r.server.Serve(r.soft, r.hard, r.ln, e) }()
	r.client = &http.Client{Transport: &http.Transport{
		DialContext:           func(context.Context, string, string) (net.Conn, error) { return r.dial(), nil },
		ExpectContinueTimeout: time.Minute, DisableCompression: true,
	}}
	return r
}

func (r *rig) dial() net.Conn {
	near, far := net.Pipe()
	if !r.ln.put(far) {
		r.Error("the listener is closed")
	}
	return near
}

// end ends the server, and checks that it has given everything back.
func (r *rig) end() {
	r.Helper()
	r.endSoft()
	synctest.Wait()
	time.Sleep(2 * r.limits.Drain)
	if err := <-r.served; err != nil {
		r.Error(err)
	}
	r.server.Finish()
	r.server.FlushLog()
	r.client.CloseIdleConnections()
	r.endHard()
	r.confirm(0)
	r.confirm(2)
	if n := r.pool.InUse(); n != 0 {
		r.Errorf("%d bytes are in use at the end", n)
	}
	st := r.server.Stats()
	if st.Body != 0 || st.Overdue != 0 {
		r.Errorf("at the end: %+v", st)
	}
	if r.senders != 0 {
		r.Errorf("%d senders are left", r.senders)
	}
}

// Admit implements Senders.
func (r *rig) Admit(net.Conn, net.Listener) (Sender, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders++
	return r, true
}

// Leave implements Sender, as Send does.
func (r *rig) Leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders--
}

func (r *rig) AwaitRoom(context.Context) bool { return true }
func (r *rig) WakeWaiting()                   {}
func (r *rig) NoteCutOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutOff++
}
func (r *rig) AcceptFailed(_ net.Listener, err error) { r.Error(err) }
func (r *rig) HandshakeFailed(_ net.Conn, err error)  { r.Error(err) }
func (r *rig) Send(ctx context.Context, b *linebuf.Buffer) (keyless linebuf.Count, err error) {
	r.mu.Lock()
	full, room := r.full, r.room
	r.mu.Unlock()
	if full {
		select {
		case <-room:
		case <-ctx.Done():
			return keyless, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keyless != nil {
		kept := b.B[:0]
		for line := range bytes.Lines(b.B) {
			if bytes.HasPrefix(line, r.keyless) {
				keyless.Add(linebuf.Count{Lines: 1, Bytes: uint64(len(line))})
				b.Lines--
			} else {
				kept = append(kept, line...)
			}
		}
		b.B = kept
	}
	r.got = append(r.got, r.pool.Share(b, []*linebuf.Account{{}, {}, {}}, nil)...)
	return keyless, nil
}

// setFull makes Send wait, or go on.
func (r *rig) setFull(full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full && !full {
		close(r.room)
		r.room = make(chan struct{})
	}
	r.full = full
}

// lines returns the lines that were handed over and that not all groups have confirmed.
func (r *rig) lines() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []byte
	for i := 0; i < len(r.got); i += 3 {
		if r.got[i] != nil {
			all = append(all, r.got[i].B...)
		}
	}
	return string(all)
}

// confirm confirms all lines that a group has.
func (r *rig) confirm(group int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := group; i < len(r.got); i += 3 {
		if r.got[i] != nil {
			r.pool.Put(r.got[i])
		}
		r.got[i] = nil
	}
	for i := 1; i < len(r.got); i += 3 { // the best-effort group
		if r.got[i] != nil {
			r.pool.Put(r.got[i])
		}
		r.got[i] = nil
	}
}

// reply is an answer, or why there is none.
type reply struct {
	status int
	answer
	retry string
	err   error
}

// post sends a request in the background.
func (r *rig) post(body io.Reader, header ...string) chan reply {
	q, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://test/in", body)
	if err != nil {
		r.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	return r.do(q)
}

func (r *rig) do(q *http.Request) chan reply {
	done := make(chan reply, 1)
	go func() {
		p, err := r.client.Do(q)
		if err != nil {
			done <- reply{err: err}
			return
		}
		defer p.Body.Close()
		out := reply{status: p.StatusCode, retry: p.Header.Get("Retry-After")}
		text, err := io.ReadAll(p.Body)
		if len(text) > 0 && err == nil {
			err = json.Unmarshal(text, &out.answer)
		}
		out.err = err
		done <- out
	}()
	return done
}

// expect checks an answer that must be there at once.
func (r *rig) expect(done chan reply, status int) reply {
	r.Helper()
	synctest.Wait()
	select {
	case got := <-done:
		if got.status != status || got.err != nil {
			r.Errorf("got %+v, want status %d", got, status)
		}
		return got
	default:
		r.Errorf("no answer, want status %d", status)
		return reply{}
	}
}

// pending checks that there is no answer yet.
func (r *rig) expectNone(done chan reply) {
	r.Helper()
	synctest.Wait()
	select {
	case got := <-done:
		r.Errorf("answered already: %+v", got)
	default:
	}
}
