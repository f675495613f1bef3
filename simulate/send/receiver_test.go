package send

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"linesplit/simulate/record"
)

// receiver takes connections and does with them what a test says.
type receiver struct {
	tb    testing.TB
	ln    net.Listener
	tls   *tls.Config
	serve func(*receiver, net.Conn) // the connection is closed when it returns

	accepting, running sync.WaitGroup
	cut                chan struct{} // closed by stop, for who does not read to the end
	once               sync.Once     // closes it

	mu       sync.Mutex // guards the fields below
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
	r := &receiver{tb: tb, ln: ln, tls: config, serve: serve, records: map[uint32]map[uint64]bool{}, conns: map[net.Conn]bool{}, cut: make(chan struct{})}
	r.accepting.Go(r.accept)
	tb.Cleanup(r.stop)
	return r
}

func (r *receiver) dial() Dial {
	return Dial{Network: r.ln.Addr().Network(), Address: r.ln.Addr().String()}
}

// stop takes what is in the backlog, lets connections end for a while, and cuts them off.
func (r *receiver) stop() {
	r.ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(20 * time.Millisecond))
	r.accepting.Wait()
	r.ln.Close()
	r.once.Do(func() { close(r.cut) })
	for deadline := time.Now().Add(time.Second); r.present() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.mu.Lock()
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

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

// silent reads nothing and says nothing until the receiver stops.
func silent(r *receiver, c net.Conn) {
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

// resetLater resets when whoever connects has surely noticed that it has a connection.
func resetLater(r *receiver, c net.Conn) {
	time.Sleep(20 * time.Millisecond)
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
