// Package websink is a test target that takes lines in HTTP requests, and fails on request in all
// ways that an HTTP server can fail in.
package websink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

// Store is what one target, or several nodes of one, have taken. It recognizes what it has taken
// before, a batch by its X-Batch-Id and a document of the bulk API by its _id. So it counts each
// line once, unless the line comes with another ID. It is safe for concurrent use.
type Store struct {
	mu     sync.Mutex // guards the fields below
	reader *tally.Reader
	taken  map[string]string // by ID
	again  int               // batches or documents that were recognized
	wrong  int               // those with an ID that other bytes have
}

// NewStore returns a store that counts into t.
func NewStore(t *tally.Tally) *Store { return &Store{reader: t.Reader(), taken: map[string]string{}} }

// Again returns how many batches or documents have come again and were recognized, and how many had
// an ID that other bytes had before.
func (s *Store) Again() (again, wrong int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.again, s.wrong
}

// put stores lines with an ID, and reports whether they are new.
func (s *Store) put(id string, lines []byte) (stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before, taken := s.taken[id]; {
	case !taken:
		s.taken[id] = string(lines)
		s.reader.Feed(lines)
		return true
	case before != string(lines):
		s.wrong++
	default:
		s.again++
	}
	return false
}

// Sink takes lines in HTTP requests. Its methods are safe for concurrent use, except for Listen
// and Stop.
type Sink struct {
	store  *Store
	bulk   bool
	addr   string
	server *http.Server
	bytes  atomic.Uint64

	mu     sync.Mutex // guards the fields below
	faults *rand.Rand // nil: it answers all requests in order
	refuse func(line []byte) bool
}

// Start starts a target with an address of its own that puts lines into a store. It takes batches,
// or with bulk the requests of the bulk API. The caller calls Stop.
func Start(store *Store, bulk bool) (*Sink, error) {
	w := &Sink{store: store, bulk: bulk, addr: net.JoinHostPort(sink.FreshHost(), "0")}
	if err := w.Listen(); err != nil {
		return nil, err
	}
	return w, nil
}

// Target returns the address of the target, as -target takes it.
func (w *Sink) Target() string {
	if w.bulk {
		return "http+bulk://" + w.addr + "/logs/_bulk"
	}
	return "http://" + w.addr + "/in"
}

// Listen starts a server that was stopped where it was.
func (w *Sink) Listen() error {
	ln, err := net.Listen("tcp", w.addr)
	if err != nil {
		return err
	}
	w.addr = ln.Addr().String()
	w.server = &http.Server{Handler: http.HandlerFunc(w.serve)}
	go w.server.Serve(ln)
	return nil
}

// Stop ends the server and all its connections at once, also in the middle of requests.
func (w *Sink) Stop() { w.server.Close() }

// Bytes returns how many bytes of requests it has read.
func (w *Sink) Bytes() uint64 { return w.bytes.Load() }

// Fail makes the target fail at random, in all ways that it knows, from now on. A seed of 0 ends
// that.
func (w *Sink) Fail(seed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = nil
	if seed != 0 {
		w.faults = rand.New(rand.NewPCG(seed, 1))
	}
}

// Refuse makes the target refuse for good the lines for which refuse returns true.
func (w *Sink) Refuse(refuse func(line []byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = refuse
}

// fault is a way to fail.
type fault int

const (
	faultNone      fault = iota
	faultBusy            // 503, and a wait
	faultBroken          // 500
	faultCut             // the connection ends before the lines are taken
	faultLost            // the connection ends once they are
	faultHalf            // half an answer
	faultNonsense        // no HTTP
	faultItems           // bulk API: an answer without all items
	faultDocuments       // bulk API: some documents fail
	faultCount
)

func (w *Sink) fault() fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults == nil || w.faults.IntN(3) > 0 {
		return faultNone
	}
	return fault(w.faults.IntN(int(faultCount)))
}

func (w *Sink) serve(rw http.ResponseWriter, r *http.Request) {
	f := w.fault()
	body, err := w.body(r)
	if err != nil {
		return // the client has gone
	}
	w.bytes.Add(uint64(len(body)))
	switch f {
	case faultBusy:
		rw.Header().Set("Retry-After", "1")
		http.Error(rw, "busy", http.StatusServiceUnavailable)
	case faultBroken:
		http.Error(rw, "broken", http.StatusInternalServerError)
	case faultCut:
		breakOff(rw, "")
	case faultNonsense:
		breakOff(rw, "what?\r\n\r\n")
	default:
		var answer bytes.Buffer
		status := w.take(r, body, f, &answer)
		switch f {
		case faultLost:
			breakOff(rw, "")
		case faultHalf:
			breakOff(rw, fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n", status, answer.Len()+1))
		default:
			rw.WriteHeader(status)
			rw.Write(answer.Bytes())
		}
	}
}

func (w *Sink) body(r *http.Request) ([]byte, error) {
	in := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = z
	case "zstd":
		z, err := zstd.NewReader(in)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		in = z
	}
	return io.ReadAll(in)
}

// breakOff ends the connection after some last words.
func breakOff(rw http.ResponseWriter, words string) {
	conn, _, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	io.WriteString(conn, words)
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// take takes the lines of a request, and returns the status.
func (w *Sink) take(r *http.Request, body []byte, f fault, answer *bytes.Buffer) (status int) {
	if w.bulk {
		return w.takeDocuments(body, f, answer)
	}
	for line := range bytes.Lines(body) {
		if w.refuses(line) {
			answer.WriteString("refused")
			return http.StatusBadRequest
		}
	}
	w.store.put(r.Header.Get("X-Batch-Id"), body)
	return http.StatusOK
}

func (w *Sink) refuses(line []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuse != nil && w.refuse(line)
}

func (w *Sink) takeDocuments(body []byte, f fault, answer *bytes.Buffer) int {
	answer.WriteString(`{"took":1,"errors":false,"items":[`)
	lines := bytes.SplitAfter(body, []byte("\n"))
	for i := 0; i+1 < len(lines)-1; i += 2 {
		if f == faultItems && i >= len(lines)/2 {
			break
		}
		var action struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal(lines[i], &action); err != nil || action.Create.ID == "" {
			return http.StatusBadRequest
		}
		if i > 0 {
			answer.WriteByte(',')
		}
		fmt.Fprintf(answer, `{"create":{"status":%d}}`, w.create(action.Create.ID, lines[i+1], f))
	}
	answer.WriteString("]}")
	return http.StatusOK
}

func (w *Sink) create(id string, line []byte, f fault) (status int) {
	switch {
	case w.refuses(line):
		return http.StatusBadRequest
	case f == faultDocuments && rand.IntN(4) == 0:
		return http.StatusTooManyRequests
	case !w.store.put(id, line):
		return http.StatusConflict
	}
	return http.StatusCreated
}
