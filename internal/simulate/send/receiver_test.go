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

// receiver takes connections and does with them what a test says.
type receiver struct {
	tb    testing.TB
	ln    net.Listener
	tls   *tls.Config
	serve func(*receiver, net.Conn) // the connection is closed when it returns

	accepting, running sync.WaitGroup
	stopped, opened    sync.Once
	cut                chan struct{} // closed by stop, for who does not read to the end
	ready              chan struct{} // closed by allOpen, for who waits until clients know that they are connected
	begun              atomic.Int32  // connections that have brought something

	mu       sync.Mutex // guards the fields below
	last     string     // the address of the connection behind which nobody is accepted
	accepted int
	open     int
	most     int                        // open at one time
	lines    []string                   // all of them, without newlines
	records  map[uint32]map[uint64]bool // by sender, those that came whole
	torn     int                        // what came last on a connection and is no whole line
	conns    map[net.Conn]bool
}

// receive starts a receiver that serves until the test ends, or stop.
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
	r := &receiver{tb: tb, ln: ln, tls: config, serve: serve, records: map[uint32]map[uint64]bool{}, conns: map[net.Conn]bool{},
		cut: make(chan struct{}), ready: make(chan struct{})}
	r.accepting.Go(r.accept)
	tb.Cleanup(r.stop)
	return r
}

func (r *receiver) dial() Dial {
	return Dial{Network: r.ln.Addr().Network(), Address: r.ln.Addr().String()}
}

// stop takes what is in the backlog, waits for connections to end, and cuts off those that do not.
func (r *receiver) stop() {
	r.stopped.Do(func() {
		r.lastCall()
		r.accepting.Wait()
		r.ln.Close()
		close(r.cut)
		for deadline := time.Now().Add(patience); r.present() > 0 && time.Now().Before(deadline); {
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

// lastCall is the last in the backlog: who has connected before it has been accepted when it is.
func (r *receiver) lastCall() {
	var d net.Dialer
	if r.ln.Addr().Network() == "unix" { // where addresses of clients are empty otherwise
		d.LocalAddr = &net.UnixAddr{Net: "unix", Name: r.ln.Addr().String() + ".last"}
	}
	r.mu.Lock() // it is not to be accepted before its address is known
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

// allOpen says that clients know by now that they are connected.
func (r *receiver) allOpen() { r.opened.Do(func() { close(r.ready) }) }

func (r *receiver) present() int {
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
		r.most = max(r.most, r.open)
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

// missing returns how many records of a summary did not come.
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
	return r.accepted, r.most, r.torn, r.lines
}

// readAll takes lines to the end.
func readAll(r *receiver, c net.Conn) { readLines(r, c, -1) }

// readLines takes n lines, or all if n is below 0.
func readLines(r *receiver, c io.Reader, n int) {
	in := bufio.NewReaderSize(c, 64<<10)
	if _, err := in.Peek(1); err == nil {
		r.begun.Add(1)
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

// answer acknowledges each line, and with the last of some bytes only.
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

// silent reads no more than a byte and says nothing until the receiver stops.
func silent(r *receiver, c net.Conn) {
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		r.begun.Add(1)
	}
	<-r.cut
}

// resetAfter takes n lines and resets, with data unread if there is any.
func resetAfter(n int) func(*receiver, net.Conn) {
	return func(r *receiver, c net.Conn) {
		readLines(r, c, n)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	}
}

// resetLater resets when whoever connects has noticed that it has a connection.
func resetLater(r *receiver, c net.Conn) {
	select {
	case <-r.ready:
	case <-r.cut:
	}
	c.(*net.TCPConn).SetLinger(0)
}

// closeAfter takes n lines, says FIN, and takes the rest.
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

// within fails a test that hangs, with a word, long before the test binary would.
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
