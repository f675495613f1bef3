package send

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
)

// receiver accepts connections and passes each to a function of the test.
type receiver struct {
	tb    testing.TB
	ln    net.Listener
	tls   *tls.Config
	serve func(*receiver, net.Conn) // the connection is closed when it returns

	accepting, running sync.WaitGroup
	stopped, opened    sync.Once
	cut                chan struct{} // closed by stop; ends functions that do not read to the end
	// closed by allOpen; releases functions that wait until clients know that they are connected
	ready   chan struct{}
	started atomic.Int32 // connections that have sent something

	mu       sync.Mutex // guards the fields below
	last     string     // address of the last connection to accept
	accepted int
	open     int
	maxOpen  int                        // most connections open at one time
	lines    []string                   // lines that are no records, without newlines
	records  map[uint32]map[uint64]bool // whole records, by sender
	torn     int                        // connections that ended with an unterminated line
	conns    map[net.Conn]bool
}

// receive starts a receiver that runs until the test ends or calls stop.
func receive(tb testing.TB, network string, config *tls.Config, serve func(*receiver, net.Conn)) *receiver {
	tb.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(tb.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		tb.Fatal(err)
	}
	r := &receiver{tb: tb, ln: ln, tls: config, serve: serve, cut: make(chan struct{}), ready: make(chan struct{}),
		records: map[uint32]map[uint64]bool{}, conns: map[net.Conn]bool{}}
	r.accepting.Go(r.accept)
	tb.Cleanup(r.stop)
	return r
}

func (r *receiver) dial() Dial {
	return Dial{Network: r.ln.Addr().Network(), Address: r.ln.Addr().String()}
}

// stop accepts the connections in the backlog, waits for all connections to end, and closes those
// that do not.
func (r *receiver) stop() {
	r.stopped.Do(func() {
		r.lastCall()
		r.accepting.Wait()
		r.ln.Close()
		close(r.cut)
		for deadline := time.Now().Add(patience); r.openConns() > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		r.mu.Lock()
		for c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.running.Wait()
	})
}

// lastCall puts a last connection into the backlog: when it is accepted, all connections made
// before it have been accepted.
func (r *receiver) lastCall() {
	var d net.Dialer
	if r.ln.Addr().Network() == "unix" { // clients have empty addresses otherwise
		d.LocalAddr = &net.UnixAddr{Net: "unix", Name: r.ln.Addr().String() + ".last"}
	}
	r.mu.Lock() // keeps accept from looking at the connection before its address is known
	defer r.mu.Unlock()
	c, err := d.Dial(r.ln.Addr().Network(), r.ln.Addr().String())
	if err != nil {
		r.tb.Error(err)
		r.ln.Close()
		return
	}
	r.last = c.LocalAddr().String()
	c.Close()
}

func (r *receiver) isLast(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last != "" && r.last == c.RemoteAddr().String()
}

// allOpen tells the receiver that all clients know that they are connected.
func (r *receiver) allOpen() { r.opened.Do(func() { close(r.ready) }) }

func (r *receiver) openConns() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

func (r *receiver) accept() {
	for {
		raw, err := r.ln.Accept()
		if err != nil {
			return
		}
		if r.isLast(raw) {
			raw.Close()
			return
		}
		c := raw
		if r.tls != nil {
			c = tls.Server(raw, r.tls)
		}
		r.mu.Lock()
		r.conns[raw] = true
		r.accepted++
		r.open++
		r.maxOpen = max(r.maxOpen, r.open)
		r.mu.Unlock()
		r.running.Go(func() {
			defer r.ended(raw)
			defer c.Close()
			r.serve(r, c)
		})
	}
}

func (r *receiver) ended(raw net.Conn) {
	raw.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, raw)
	r.open--
}

// take counts a line.
func (r *receiver) take(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := record.Parse(line)
	if !ok {
		r.lines = append(r.lines, string(line))
		return
	}
	if r.records[id.Sender] == nil {
		r.records[id.Sender] = map[uint64]bool{}
	}
	r.records[id.Sender][id.Seq] = true
}

func (r *receiver) tear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.torn++
}

// missing returns how many records of a summary did not arrive.
func (r *receiver) missing(s Summary) (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for sender, sent := range s.Senders {
		for seq := range sent {
			if !r.records[sender][seq] {
				n++
			}
		}
	}
	return n
}

func (r *receiver) received() (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seen := range r.records {
		n += uint64(len(seen))
	}
	return n
}

func (r *receiver) counts() (accepted, most, torn int, lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted, r.maxOpen, r.torn, r.lines
}

// readAll reads lines to the end.
func readAll(r *receiver, c net.Conn) { readLines(r, c, -1) }

// readLines reads n lines, or all if n is negative.
func readLines(r *receiver, c io.Reader, n int) {
	in := bufio.NewReaderSize(c, 64<<10)
	if _, err := in.Peek(1); err == nil {
		r.started.Add(1)
	}
	for ; n != 0; n-- {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if len(line) > 0 && err == io.EOF {
				r.tear()
			}
			return
		}
		r.take(bytes.TrimSuffix(line, []byte{'\n'}))
	}
}

// answer acknowledges each line.
func answer(r *receiver, c net.Conn) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		r.take(bytes.TrimSuffix(line, []byte{'\n'}))
		io.WriteString(c, "ok 1\n")
	}
}

// answerHalf sends part of an answer.
func answerHalf(r *receiver, c net.Conn) {
	io.WriteString(c, "ok")
	silent(r, c)
}

// answerEndlessly sends an answer that never ends in a newline.
func answerEndlessly(_ *receiver, c net.Conn) {
	for {
		if _, err := c.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
}

// resetUnanswered reads a line, and resets the connection instead of answering.
func resetUnanswered(r *receiver, c net.Conn) {
	readLines(r, c, 1)
	c.(*net.TCPConn).SetLinger(0)
}

// silent reads at most a byte and sends nothing until the receiver stops.
func silent(r *receiver, c net.Conn) {
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		r.started.Add(1)
	}
	<-r.cut
}

// resetAfter reads n lines and resets the connection, possibly with data unread.
func resetAfter(n int) func(*receiver, net.Conn) {
	return func(r *receiver, c net.Conn) {
		readLines(r, c, n)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	}
}

// resetLater resets the connection once the client has noticed that it is connected.
func resetLater(r *receiver, c net.Conn) {
	select {
	case <-r.ready:
	case <-r.cut:
	}
	c.(*net.TCPConn).SetLinger(0)
}

// closeAfter reads n lines, sends FIN, and reads the rest.
func closeAfter(n int) func(*receiver, net.Conn) {
	return func(r *receiver, c net.Conn) {
		in := bufio.NewReader(c)
		for range n {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			r.take(bytes.TrimSuffix(line, []byte{'\n'}))
		}
		c.(interface{ CloseWrite() error }).CloseWrite()
		readLines(r, in, -1)
	}
}

// within fails a test that hangs, with a message and long before the test binary's timeout.
func within(tb testing.TB, d time.Duration, do func()) {
	tb.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(d):
		tb.Fatalf("not done within %v", d)
	}
}
