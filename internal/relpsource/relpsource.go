// Package relpsource takes lines from clients that speak RELP, such as rsyslog, and responds to
// each line once it is confirmed, or in the spool and synced. A client sends again what has no
// response.
//
//	           read                    hand over                   released
//	client ──▶ frames ──▶ buffer with ──▶ splitter.Sender ──▶ … ──▶ receipt
//	   ▲                  a receipt                                    │
//	   └───────────── responses, in the order of the frames ◀──────────┘
//
// Where to find a rule:
//
//	sessions, their frames, what goes into one buffer    session.go
//	when a response is written                           answers.go
//	listeners, and the end                               serving.go
package relpsource

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/loglimit"
	"linesplit/linebuf"
	"linesplit/splitter"
)

// Options are the settings of a Server.
type Options struct {
	Pool     *linebuf.Pool      // of all buffers
	Splitter *splitter.Splitter // counts the clients and their lines, and takes the lines
	// Required are the groups of targets that have to confirm lines before the response.
	Required linebuf.Groups
	// Limits returns the limits in force. It is called for each connection, and at the end.
	Limits  func() Limits
	Version string // of this program, for clients
	// Logger gets failures as a summary. nil discards them.
	Logger *slog.Logger
}

// Limits are the settings that may change while a Server runs.
type Limits struct {
	MaxLine     int           // the longest line with its newline, in bytes
	IdleTimeout time.Duration // ends a session without a frame; 0: never
	Drain       time.Duration // time from the soft end on in which lines that were read may be handed over
}

const (
	openTimeout   = 10 * time.Second // for a TLS handshake and the first frame
	answerTimeout = 10 * time.Second // for a client to take responses
	finishTimeout = time.Second
	readSize      = 16 << 10 // bytes; of each connection
	maxBuffer     = 64 << 10 // bytes of lines with one receipt, unless a line is longer
	longShare     = 8        // frames longer than readSize may take one part in this of the memory
	// maxUnanswered is how many buffers of a session may wait for their responses.
	maxUnanswered = 64
)

// Server serves relp:// listeners. Its methods are safe for concurrent use.
type Server struct {
	o    Options
	logs loglimit.Kinds // by cause
	long atomic.Int64   // bytes of frames that are longer than readSize

	calls accept.Finisher
}

// New returns a Server. The caller calls Finish at the end.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o}
}

// Serve accepts connections from ln until soft ends. Then it reads no more: what it has not read
// has no response, and the client sends it elsewhere. It returns when all lines that it has read
// are handed over, with ln closed; these still get their responses, until Finish. When hard ends,
// it closes everything at once.
func (s *Server) Serve(soft, hard context.Context, ln net.Listener) error {
	v := newServing(s, ln)
	s.calls.Add(v.over, v.finish)
	return v.serve(soft, hard)
}

// Finish responds to the lines that are confirmed, or in the spool, and closes all connections. It
// is called once all calls of Serve have returned, and everything is confirmed or in the spool that
// will be.
func (s *Server) Finish() { s.calls.Finish(finishTimeout) }

// FlushLog logs what the log has held back to report it in sum.
func (s *Server) FlushLog() { s.logs.Flush() }
