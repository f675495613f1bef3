//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/testrig"
)

// Names of the servers of connection mode.
const (
	calmServer  = 'A' // nothing ever happens to its connections
	roughServer = 'B' // a part of this process
	childServer = 'C' // a process of its own
	guestServer = 'D' // comes and goes
)

// streamLoad is the load of connection mode: clients that check every byte of their connections.
type streamLoad struct {
	*soak
	calm, rough, guest *testrig.Server
	child              *testrig.Child
	roughTaken         bool // by a fault

	carried atomic.Int64 // connections that were verified to the end
	bytes   atomic.Int64 // that came back
	excused atomic.Int64 // connections that broke when something was disturbed
}

func newStreamLoad(s *soak) *streamLoad {
	server := func(name byte) *testrig.Server {
		return testrig.NewServer(s.T, testrig.ServerOptions{Handler: testrig.Named(name)})
	}
	l := &streamLoad{soak: s, calm: server(calmServer), rough: server(roughServer), guest: server(guestServer),
		child: testrig.StartNamedChild(s.T, childServer)}
	s.marks[guestServer].begin() // for good: its connections are reset after it was removed
	return l
}

func (l *streamLoad) targets() []testrig.Target {
	return []testrig.Target{l.calm, l.rough, l.child}
}

func (l *streamLoad) extra() testrig.Target { return l.guest }

func (l *streamLoad) otherSettings() []string {
	return []string{
		"balance " + pick(l.rng, "round-robin", "least-connections", "random", "source-hash", "least-bandwidth"),
		"idle-timeout " + pick(l.rng, "0s", "1m"),
		"max-connections " + pick(l.rng, "0", "2000"),
		fmt.Sprintf("dial-budget %ds", 5+l.rng.IntN(10)),
		pick(l.rng, "# no checks", "health tcp\nhealth-interval 300ms"),
		"max-connections-per-client " + pick(l.rng, "0", "2000"),
	}
}

func (l *streamLoad) begin() {
	for range 2 * l.visitors {
		l.come(l.visit, func() {})
	}
	l.comeIdle()
}

func (l *streamLoad) end() {}

// errWrongBytes means that a client reads other bytes than it must, for which there is no excuse.
var errWrongBytes = errors.New("wrong bytes")

// visit is one connection. Its error is nil if the connection broke and that is excused.
func (l *streamLoad) visit(rng *rand.Rand) error {
	before := l.marks.now()
	address, client := l.Process.Listeners[0], testrig.Client{}
	if rng.IntN(5) == 0 {
		address, client = l.Process.Listeners[1], testrig.Client{TLS: testrig.ClientTLS()}
	}
	name, n, err := l.talk(rng, client, address)
	switch {
	case err == nil:
		l.carried.Add(1)
		l.bytes.Add(n)
		return nil
	case errors.Is(err, errWrongBytes) || errors.Is(err, os.ErrDeadlineExceeded) || !l.marks.excuse(&before, name):
		return fmt.Errorf("of server %q, where nothing had happened: after %d bytes: %w", string(name), n, err)
	}
	l.excused.Add(1)
	return nil
}

// talk connects, and exchanges bytes with a server in one of several ways. It returns the name of
// the server, 0 if that was not heard, and how many bytes came back.
func (l *streamLoad) talk(rng *rand.Rand, client testrig.Client, address string) (name byte, n int64, err error) {
	conn, err := client.Dial(l.T, address)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * testrig.Patience))
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return 0, 0, err
	}
	name = first[0]
	if name < calmServer || name > guestServer {
		return 0, 0, fmt.Errorf("%w: %q for a server's name", errWrongBytes, first)
	}
	switch rng.IntN(6) {
	case 0:
		return name, 0, askForEnd(rng, conn)
	case 1, 2:
		n, err = converse(rng, conn, l.hold/20)
	case 3:
		n, err = stream(conn, 1+rng.IntN(4<<20), time.Duration(rng.Int64N(int64(l.hold)))) // reads late
	default:
		n, err = stream(conn, 1+rng.IntN(256<<10), 0)
	}
	return name, n, err
}

// askForEnd makes the server end its side first, and then sends it something.
func askForEnd(rng *rand.Rand, conn net.Conn) error {
	if _, err := conn.Write([]byte{testrig.WantEnd}); err != nil {
		return err
	}
	if err := readEnd(conn); err != nil {
		return err
	}
	if _, err := conn.Write(testrig.Payload(1 + rng.IntN(64<<10))); err != nil {
		return err
	}
	return testrig.CloseWrite(conn)
}

// converse sends something small, reads it back, pauses, and so on.
func converse(rng *rand.Rand, conn net.Conn, pause time.Duration) (n int64, err error) {
	if _, err := conn.Write([]byte{testrig.WantEcho}); err != nil {
		return 0, err
	}
	for range 1 + rng.IntN(20) {
		b := testrig.Payload(1 + rng.IntN(5000))
		if _, err := conn.Write(b); err != nil {
			return n, err
		}
		if err := readBack(conn, b); err != nil {
			return n, err
		}
		n += int64(len(b))
		time.Sleep(time.Duration(rng.Int64N(int64(pause))))
	}
	if err := testrig.CloseWrite(conn); err != nil {
		return n, err
	}
	return n, readEnd(conn)
}

// stream sends many bytes and its end, begins to read them back after a while, and reads to the
// end.
func stream(conn net.Conn, size int, late time.Duration) (n int64, err error) {
	b := testrig.Payload(size)
	var writing sync.WaitGroup
	var writeErr error
	writing.Go(func() {
		if _, writeErr = conn.Write([]byte{testrig.WantEcho}); writeErr != nil {
			return
		}
		if _, writeErr = conn.Write(b); writeErr == nil {
			writeErr = testrig.CloseWrite(conn)
		}
	})
	time.Sleep(late)
	err = readBack(conn, b)
	if err != nil {
		conn.Close() // ends the writes
	}
	writing.Wait()
	if err = errors.Join(err, writeErr); err != nil {
		return 0, err
	}
	return int64(size), readEnd(conn)
}

// readBack reads exactly the bytes in want.
func readBack(conn net.Conn, want []byte) error {
	got := make([]byte, min(len(want), 64<<10))
	for at := 0; at < len(want); {
		n, err := conn.Read(got[:min(len(got), len(want)-at)])
		if !bytes.Equal(got[:n], want[at:at+n]) {
			return fmt.Errorf("%w: after %d of %d", errWrongBytes, at, len(want))
		}
		if at += n; err != nil && at < len(want) {
			return fmt.Errorf("read %d of %d bytes: %w", at, len(want), err)
		}
	}
	return nil
}

// readEnd reads the end of the stream, and nothing before.
func readEnd(conn net.Conn) error {
	switch n, err := conn.Read(make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%w: more than was sent", errWrongBytes)
	case err == io.EOF:
		return nil
	default:
		return err
	}
}

// flow waits until all targets are in use, and a client has been served by each of them.
func (l *streamLoad) flow() {
	l.Helper()
	for _, to := range l.targets() {
		l.WaitForTargetUp(to, true)
	}
	calm, rough, carried := l.calm.Accepted(), l.rough.Accepted(), l.carried.Load()
	child := testrig.Label("target", l.child.Target())
	opened := l.Process.Metrics().Sum("linesplit_target_connections_total", child)
	testrig.WaitFor(l.T, "clients are served by each target", func() bool {
		return l.Failed() || l.calm.Accepted() > calm && l.rough.Accepted() > rough && l.carried.Load() > carried+10 &&
			l.Process.Metrics().Sum("linesplit_target_connections_total", child) > opened
	})
}

func (l *streamLoad) settle() {
	l.Helper()
	l.WaitForConnections(0)
}

func (l *streamLoad) startled(int) {}

func (l *streamLoad) breakConnections() {
	l.marks[roughServer].begin()
	defer l.marks[roughServer].end()
	l.rough.ResetConnections()
}

func (l *streamLoad) progress(m testrig.Metrics) string {
	return fmt.Sprintf("%d connections verified with %d MiB, %d excused, %.0f accepted, %.0f refused", l.carried.Load(),
		l.bytes.Load()>>20, l.excused.Load(), m.Sum("linesplit_connections_accepted_total"),
		m.Sum("linesplit_connections_refused_total"))
}

func (l *streamLoad) finish() {
	l.Helper()
	l.print("%s", l.progress(l.Process.Metrics()))
	l.FinishConnectionMode()
	testrig.ExpectContains(l.T, l.Process.LastLines(1), "connections_cut_off=0")
}

func (l *streamLoad) faults() []soakFault {
	rough, child := &l.marks[roughServer], &l.marks[childServer]
	return []soakFault{
		{"a target process is stopped", func() func() { l.child.Suspend(); return l.child.Resume }},
		{"a target process is killed", func() func() {
			child.begin()
			l.child.Kill()
			return func() { l.child.Start(); child.end() }
		}},
		{"a target refuses", func() func() { return l.down(l.rough.StopListening) }},
		{"a target is restarted", func() func() {
			rough.begin()
			end := l.down(l.rough.Close)
			return func() { end(); rough.end() }
		}},
		{"connections to a target are reset", func() func() { l.breakConnections(); return nil }},
		{"weights change", func() func() {
			l.change("weight", pick(l.rng, l.targets()...).Target(), fmt.Sprint(1+l.rng.IntN(9)))
			return nil
		}},
		{"clients give up", l.giveUp},
	}
}

// down ends the rough server in some way, and lets it listen again at the end.
func (l *streamLoad) down(how func()) func() {
	for l.roughTaken {
		l.endOldest()
	}
	l.roughTaken = true
	how()
	return func() { l.rough.Listen(); l.roughTaken = false }
}

// giveUp makes clients that carry bytes reset their connections.
func (l *streamLoad) giveUp() func() {
	var conns []net.Conn
	for range 20 {
		conn, err := net.DialTimeout("tcp", l.Process.Listeners[0], testrig.Patience)
		if testrig.IsReset(err) {
			continue // no target is left in use
		}
		if err != nil {
			l.Fatal(err)
		}
		conn.SetWriteDeadline(time.Now().Add(l.upTo(l.hold)))
		request := append([]byte{testrig.WantEcho}, testrig.Payload(1+l.rng.IntN(1<<20))...)
		conn.Write(request) // may block, since nothing reads the reply
		conns = append(conns, conn)
	}
	return func() {
		for _, conn := range conns {
			testrig.ResetConn(conn)
		}
	}
}
