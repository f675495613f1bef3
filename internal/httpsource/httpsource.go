// Package httpsource takes lines in HTTP requests whose senders wait: the answer 200 comes once all
// lines of a request are confirmed, or in the spool and synced.
//
//	                 read, decode and check          hand over                  wait
//	request ──▶ body ──▶ buffers with a receipt ──▶ splitter.Sender ──▶ … ──▶ receipt released ──▶ 200
//	             nothing is delivered yet │              │ late or refused                  └─▶ 422
//	                 400, 413, 415, 429 ◀─┘              └─▶ 429, 503
//
// A request is read as a whole before any of its lines go on, so a bad record means that nothing of
// the request is delivered. Its buffers hold the receipt of a [pending], which has no copy of the
// lines: it is told when they are done with (linebuf.Receipt.InitWatching).
//
// Where to find a rule:
//
//	what a request must have, and what the answers say    handler.go, answer.go
//	where records end, which are too long                 body.go
//	compressed bodies, and their memory                   decode.go
//	how much memory bodies may take, and who waits        room.go
//	when a request is complete                            pending.go
//	connections, and the end                              serving.go
package httpsource

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/loglimit"
	"linesplit/linebuf"
)

// Options are the settings of a Server.
type Options struct {
	Pool    *linebuf.Pool // of all buffers
	Senders Senders
	// Required are the groups of targets that have to confirm lines before the answer.
	Required linebuf.Groups
	// Limits returns the limits in force. It is called for each request.
	Limits func() Limits
	// Logger gets failures as a summary. nil discards them.
	Logger *slog.Logger
}

// Limits are the settings that may change while a Server runs.
type Limits struct {
	MaxLine     int           // the longest record with its newline, in bytes
	IdleTimeout time.Duration // ends a connection without a request; 0: defaultIdle
	Drain       time.Duration // time from the soft end on in which requests may still be read
}

// Senders counts senders and takes their lines; see [linesplit/splitter.Splitter].
type Senders interface {
	// Admit counts a connection, or refuses and closes it.
	Admit(nc net.Conn, ln net.Listener) (Sender, bool)
	// AwaitRoom waits until one more connection may be accepted. It returns false if ctx ends
	// first, and WakeWaiting was called then.
	AwaitRoom(ctx context.Context) bool
	WakeWaiting()
	// NoteCutOff counts a connection that was sending when the drain ended.
	NoteCutOff()
	AcceptFailed(ln net.Listener, err error)
	HandshakeFailed(nc net.Conn, err error)
}

// Sender takes the lines of one connection. One goroutine at a time calls Send.
type Sender interface {
	// Send hands over b, and waits while there is no room. It returns how many lines were dropped
	// for lack of a key. With an error, what was not handed over is left in b, and is the caller's.
	Send(ctx context.Context, b *linebuf.Buffer) (keyless linebuf.Count, err error)
	// Leave is called once the connection is closed.
	Leave()
}

// Endpoint is what one listener offers.
type Endpoint struct {
	Path       string        // of requests; empty: any
	Token      Token         // nil: none is needed
	MaxRequest int64         // the largest body, in bytes, compressed or not
	Timeout    time.Duration // for reading a body; and again for its lines to be confirmed
}

// Token tells whether a request may send lines. It is safe for concurrent use.
type Token interface{ Matches(token string) bool }

const (
	// patience is how long a request waits for memory, or for room for its first lines, before it
	// is answered with 429.
	patience = 5 * time.Second
	// retryAfter is what such an answer tells the client to wait.
	retryAfter = 5 * time.Second

	headerTimeout = 10 * time.Second // also for a TLS handshake
	answerTimeout = 10 * time.Second // for a client to take an answer
	defaultIdle   = 2 * time.Minute
	maxHeader     = 16 << 10 // bytes
	finishTimeout = time.Second
	bodiesShare   = 4 // bodies that are read or handed over may take one part in this of the memory
	overdueShare  = 8 // the same for lines that no client waits for any more
	// MaxRequest is cut down to one part in largestOfBodies of what all bodies may take: a record
	// that is as long takes up to three times its size while its buffer grows.
	largestOfBodies = 4
	decoderOfBodies = 2 // the window of one decoder may take one part in this
)

// Server serves http:// and https:// listeners. Its methods are safe for concurrent use.
type Server struct {
	o    Options
	room *room

	overdue    atomic.Int64 // bytes of lines that no client waits for any more
	overdueMax int64
	counts     counts
	logs       loglimit.Kinds // by status

	calls accept.Finisher
}

// New returns a Server. The caller calls Finish at the end.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	memory := o.Pool.Limit()
	return &Server{o: o, room: newRoom(memory / bodiesShare), overdueMax: memory / overdueShare}
}

// Serve accepts connections from ln until soft ends. Then it drains: it answers the requests that
// come within Limits.Drain, on connections that it accepts or has. It returns when no line can come
// any more, with ln closed; requests whose lines are on their way still wait for their answers,
// until Finish. When hard ends, it closes everything at once.
func (s *Server) Serve(soft, hard context.Context, ln net.Listener, e Endpoint) error {
	e.MaxRequest = min(e.MaxRequest, s.room.limit/largestOfBodies)
	v := newServing(s, ln, e)
	s.calls.Add(v.over, v.finish)
	return v.serve(soft, hard)
}

// Finish answers the requests that still wait for their lines: with 200 if these are confirmed,
// else with 503. Then it closes all connections. It is called once all calls of Serve have
// returned, and everything is confirmed or in the spool that will be.
func (s *Server) Finish() { s.calls.Finish(finishTimeout) }

// FlushLog logs what the log has held back to report it in sum.
func (s *Server) FlushLog() { s.logs.Flush() }

// Answers counts requests by the status of their answer.
type Answers struct {
	Status int // 0: the client had gone
	N      uint64
}

// statuses are those of all answers.
var statuses = [...]int{
	http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
	http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable, statusGone,
}

// statusGone stands for a client that has left before its answer.
const statusGone = 0

type counts [len(statuses)]atomic.Uint64

func (c *counts) add(status int) {
	for i, s := range statuses {
		if s == status {
			c[i].Add(1)
		}
	}
}

// Stats are the counts and present values of a Server.
type Stats struct {
	Answers [len(statuses)]Answers // probes are not counted
	// Body is the memory of bodies that are read or handed over, Overdue that of lines that are on
	// their way and that no client waits for any more; in bytes, with their limits.
	Body, BodyMax, Overdue, OverdueMax int64
}

// Stats returns a snapshot.
func (s *Server) Stats() (st Stats) {
	for i, status := range statuses {
		st.Answers[i] = Answers{status, s.counts[i].Load()}
	}
	st.Body, st.BodyMax = s.room.taken(), s.room.limit
	st.Overdue, st.OverdueMax = s.overdue.Load(), s.overdueMax
	return st
}
