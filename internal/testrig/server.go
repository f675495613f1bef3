//go:build linux

package testrig

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"linesplit/internal/simulate/sink"
)

// Handler serves a connection of a Server, which closes it when the handler returns.
type Handler func(net.Conn)

// ServerOptions configure a Server.
type ServerOptions struct {
	Network string      // tcp, also if empty, unix or abstract
	Address string      // host:port; empty: one of its own
	TLS     *tls.Config // nil: plain
	Handler Handler     // nil: EchoAtEnd
}

// Server is a target for connection mode, in this process. Its methods are safe for concurrent use,
// except for Listen, StopListening and Close, which belong to the test's goroutine.
type Server struct {
	tb       testing.TB
	o        ServerOptions
	addr     string // set once, by the first Listen
	accepted atomic.Int64

	ln        net.Listener
	accepting sync.WaitGroup
	serving   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // as accepted, below TLS
}

// NewServer starts a server on an address of its own. It is closed when the test ends.
func NewServer(tb testing.TB, o ServerOptions) *Server {
	tb.Helper()
	if o.Handler == nil {
		o.Handler = EchoAtEnd
	}
	s := &Server{tb: tb, o: o, conns: make(map[net.Conn]struct{})}
	s.Listen()
	tb.Cleanup(s.Close)
	return s
}

// Target returns the server's address as the -target flag takes it.
func (s *Server) Target() string {
	switch {
	case s.o.Network == "unix" || s.o.Network == "abstract":
		return "unix://" + s.addr
	case s.o.TLS != nil:
		return "tls://" + s.addr
	}
	return "tcp://" + s.addr
}

// Addr returns host:port, the path of a socket, or @ and its abstract name.
func (s *Server) Addr() string { return s.addr }

// Accepted returns how many connections the server has ever accepted.
func (s *Server) Accepted() int { return int(s.accepted.Load()) }

// Open returns how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Listen makes the server listen, again on the same address after StopListening.
func (s *Server) Listen() {
	s.tb.Helper()
	ln, err := s.listen()
	if err != nil {
		s.tb.Fatalf("server: %v", err)
	}
	s.ln = ln
	s.addr = ln.Addr().String()
	s.accepting.Go(func() { s.accept(ln) })
}

func (s *Server) listen() (net.Listener, error) {
	switch {
	case s.addr != "" && s.o.Network == "":
		return net.Listen("tcp", s.addr)
	case s.addr != "":
		return net.Listen("unix", s.addr)
	case s.o.Address != "":
		return net.Listen("tcp", s.o.Address)
	case s.o.Network == "unix":
		return net.Listen("unix", filepath.Join(shortTempDir(s.tb), "server.sock"))
	case s.o.Network == "abstract":
		return net.Listen("unix", fmt.Sprintf("@rig-%x", rand.Uint64()))
	}
	return ListenAlone()
}

func (s *Server) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // closed by StopListening
		}
		s.accepted.Add(1)
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.serving.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	app := conn
	if s.o.TLS != nil {
		app = tls.Server(conn, s.o.TLS)
	}
	s.o.Handler(app)
	app.Close()
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// StopListening makes the server refuse connections. Open connections stay.
func (s *Server) StopListening() {
	sink.CloseListener(s.ln)
	s.accepting.Wait()
}

// Close stops listening, closes all connections, and waits for their handlers. It may be called
// again.
func (s *Server) Close() {
	s.StopListening()
	s.each(func(conn net.Conn) { conn.Close() })
	s.serving.Wait()
}

// ResetConnections resets all open connections.
func (s *Server) ResetConnections() { s.each(ResetConn) }

func (s *Server) each(do func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		do(conn)
	}
}

// ResetConn closes a connection with RST, without TLS's close_notify. The peer of a Unix socket
// sees a reset only if data was left unread.
func ResetConn(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// CloseWrite ends this side of a connection: with FIN, or with close_notify if it has TLS.
func CloseWrite(conn net.Conn) error {
	return conn.(interface{ CloseWrite() error }).CloseWrite()
}

// EchoAtEnd reads to the end of the stream and then writes all of it back.
func EchoAtEnd(conn net.Conn) {
	all, err := io.ReadAll(conn)
	if err == nil {
		conn.Write(all)
	}
}

// Echo writes back what it reads, at once.
func Echo(conn net.Conn) {
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			conn.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// Discard reads to the end and writes nothing.
func Discard(conn net.Conn) { io.Copy(io.Discard, conn) }

// SendText returns a handler that sends a text, ends its side, and reads to the end.
func SendText(text string) Handler {
	return func(conn net.Conn) {
		conn.Write([]byte(text))
		CloseWrite(conn)
		Discard(conn)
	}
}

// AnswerChecks returns a handler that answers HTTP health checks with the status codes that next
// returns, and passes connections that do not begin with GET to handler. It waits for the client to
// send first.
func AnswerChecks(next func() int, handler Handler) Handler {
	return func(conn net.Conn) {
		head := make([]byte, 4)
		n, err := io.ReadFull(conn, head)
		if err != nil || string(head) != "GET " {
			handler(&prefixed{Conn: conn, r: io.MultiReader(bytes.NewReader(head[:n]), conn)})
			return
		}
		readHead(conn)
		status := next()
		fmt.Fprintf(conn, "HTTP/1.1 %d Checked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
	}
}

// readHead reads a request to the empty line after its header.
func readHead(conn net.Conn) {
	var seen []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(seen, []byte("\r\n\r\n")) {
		if _, err := conn.Read(one); err != nil {
			return
		}
		seen = append(seen, one[0])
	}
}

// prefixed is a connection whose first bytes have been read already, and are read again.
type prefixed struct {
	net.Conn
	r io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }
func (p *prefixed) CloseWrite() error          { return CloseWrite(p.Conn) }
