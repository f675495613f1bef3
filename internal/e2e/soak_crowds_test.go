//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// stormLane admits one storm at a time: this process has too few descriptors for more.
var stormLane sync.Mutex

// soakClients is more than the clients of a soak that are connected at one time, storms aside.
const soakClients = 300

// storm opens many connections and resets all of them at once. Where this process may not have so
// many descriptors, they come in waves.
func (s *soak) storm() func() {
	for !stormLane.TryLock() {
		if len(s.running) == 0 {
			stormLane.Lock()
			break
		}
		s.endOldest() // no target hangs for as long as this may take
	}
	defer stormLane.Unlock()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		s.Fatal(err)
	}
	wave := min(s.stormSize, int(limit.Cur)/4) // a server of this process may take one more for each
	s.marks[0].begin()
	defer s.marks[0].end()
	for left := s.stormSize; left > 0; left -= wave {
		if !roomForTCP() {
			s.note("no storm: the kernel is short of memory for TCP")
			break
		}
		s.wave(min(wave, left))
		testrig.WaitFor(s.T, "the storm is over", func() bool {
			return s.Process.Metrics().Sum("linesplit_connections") < soakClients
		})
	}
	return nil
}

// wave opens n connections, each tenth with a byte of a line, and resets them.
func (s *soak) wave(n int) {
	const atOnce = 64
	conns := make([]net.Conn, n)
	var dials sync.WaitGroup
	for i := range atOnce {
		dials.Go(func() {
			for ; i < n; i += atOnce {
				d := net.Dialer{Timeout: 5 * time.Second,
					LocalAddr: &net.TCPAddr{IP: net.ParseIP(testrig.ClientAddress(i))}}
				conn, err := d.DialContext(s.Context(), "tcp", s.Process.Listeners[0])
				if err != nil {
					continue // the backlog is full
				}
				if conns[i] = conn; i%10 == 0 {
					conn.Write([]byte("x")) // fails if it is refused
				}
			}
		})
	}
	dials.Wait()
	s.load.startled(n/10 + 1)
	for _, conn := range conns {
		if conn != nil {
			testrig.ResetConn(conn)
		}
	}
}

// roomForTCP reports whether all sockets of the machine together take less than half of the memory
// at which the kernel begins to save it, or the kernel does not tell.
func roomForTCP() bool {
	limits, err := os.ReadFile("/proc/sys/net/ipv4/tcp_mem")
	if err != nil {
		return true
	}
	stat, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return true
	}
	var low, used, skip int64
	fmt.Sscan(string(limits), &low)
	for line := range strings.Lines(string(stat)) {
		fmt.Sscanf(line, "TCP: inuse %d orphan %d tw %d alloc %d mem %d", &skip, &skip, &skip, &skip, &used)
	}
	return used < low/2
}

// lackDescriptors lets linesplit have no new descriptor for a while. Meanwhile all its connections
// to targets of this process break.
func (s *soak) lackDescriptors() func() {
	s.marks[0].begin()
	defer s.marks[0].end()
	enough := limitDescriptors(s.T, s.Process.PID(), 3)
	s.load.breakConnections()
	time.Sleep(s.upTo(s.hold))
	limitDescriptors(s.T, s.Process.PID(), enough)
	return nil
}

// crowd starts another linesplit with few descriptors, and more clients than they suffice for. When
// these have left, nothing of them is left there.
func (s *soak) crowd() func() {
	const files = 400
	o := s.options([]testrig.Target{s.side})
	o.Files = files
	p := testrig.StartProcess(s.T, o)
	workers := 0
	if s.mode == "line" {
		workers = soakWorkers
	}
	other := &testrig.Stage{T: s.T, Process: p, Baseline: testrig.WaitForUsage(s.T, p, workers)}
	if s.mode == "connection" {
		other.Baseline = other.Baseline.WithWaiting(1)
	}
	clients := s.crowdOf(p.Listeners[0], files+50)
	testrig.WaitFor(s.T, "clients are at their limit", func() bool {
		m := p.Metrics()
		return m.Sum("linesplit_connections") >= files/5 &&
			(s.mode == "line" || m.Sum("linesplit_connections_refused_total") > 0)
	})
	for _, conn := range clients {
		if s.rng.IntN(2) == 0 {
			testrig.ResetConn(conn)
		} else {
			conn.Close()
		}
	}
	other.WaitForConnections(0)
	other.CheckLeaks()
	other.Terminate(0)
	return nil
}

// crowdOf connects n clients, of which some may be refused.
func (s *soak) crowdOf(address string, n int) (all []net.Conn) {
	s.Helper()
	for range n {
		conn, err := net.Dial("tcp", address)
		switch {
		case err == nil:
			all = append(all, conn)
		case !testrig.IsReset(err):
			s.Fatal(err)
		}
	}
	return all
}
