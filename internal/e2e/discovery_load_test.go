//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// startSinks starts a sink at each host, the first of which the sources list.
func (c *roster) startSinks(hosts []string) {
	c.Helper()
	for _, h := range hosts {
		sink := c.StartSink(testrig.SinkOptions{Address: address(h)})
		c.join(h, sink, sink.Lines).sink = sink
	}
	c.perLine = float64(2**changesRate) / 4
}

// testLines changes the lists in line mode: no line is lost, and none is read twice.
func (c *roster) testLines(n int, targets ...string) {
	c.Helper()
	const each = 2
	args := []string{"-connections", strconv.Itoa(each)}
	for _, t := range targets {
		args = append(args, "-target", t)
	}
	c.Process = c.StartLinesplit(nil, args...)
	c.Baseline = testrig.WaitForUsage(c.T, c.Process, each*len(c.present()))
	c.StartSenders(2, testrig.SenderOptions{Rate: *changesRate})
	c.WaitForLines(c.Tally, 100)
	c.run(n)
	c.StopSenders()
	c.FinishLineMode(testrig.NoDuplicates)
}

// Addresses of a name come and go under load; changes overlap, and some receivers end. A new
// address gets its share within its TTL plus two seconds.
func TestLinesThroughManyChangesInDNS(t *testing.T) {
	skipUnlessLong(t)
	t.Parallel()
	network, hosts := rosterNetwork()
	network.Run(t, func(t *testing.T) {
		c := newRoster(testrig.NewStage(t))
		c.listDNS(testrig.StartNameServer(t, testrig.NameServerOptions{Addr: "127.0.0.1:53", TTL: int(ownTTL.Seconds())}))
		c.startSinks(hosts)
		c.set(0, 4)
		c.testLines(4, "dns://receivers.test:"+strconv.Itoa(ownPort))
	})
}

// The same with a name, a file and an address in one list; the sources may list the same targets.
func TestLinesThroughManyChangesOfSeveralSources(t *testing.T) {
	skipUnlessLong(t)
	t.Parallel()
	network, hosts := rosterNetwork()
	network.Run(t, func(t *testing.T) {
		s := testrig.NewStage(t)
		f := listFile{s, filepath.Join(t.TempDir(), "targets.yaml")}
		c := newRoster(s)
		c.listDNS(testrig.StartNameServer(t, testrig.NameServerOptions{Addr: "127.0.0.1:53", TTL: int(ownTTL.Seconds())}))
		c.listFile(f)
		c.startSinks(hosts)
		c.members[0].fixed = true
		c.set(0, 3)
		c.set(1, 4)
		c.testLines(4, "dns://receivers.test:"+strconv.Itoa(ownPort), "file://"+f.path, c.members[0].Target.Target())
	})
}

// In connection mode connections go on through all changes, also those to targets that have gone
// from the list, and all the while new clients are served.
func TestConnectionsThroughManyChangesInDNS(t *testing.T) {
	skipUnlessLong(t)
	t.Parallel()
	network, hosts := rosterNetwork()
	network.Run(t, func(t *testing.T) {
		c := newRoster(testrig.NewStage(t))
		c.listDNS(testrig.StartNameServer(t, testrig.NameServerOptions{Addr: "127.0.0.1:53", TTL: int(ownTTL.Seconds())}))
		for _, h := range hosts {
			server := testrig.NewServer(t, testrig.ServerOptions{Address: address(h), Handler: testrig.Echo})
			c.join(h, server, server.Accepted)
		}
		c.set(0, 4)
		c.StartConnectionMode(nil, "-target", "dns://receivers.test:"+strconv.Itoa(ownPort), "-drain-timeout", "1h")
		c.WaitForExactMetric(4, "linesplit_source_targets")
		c.ExpectServed(testrig.Client{})
		c.Baseline = testrig.WaitForUsage(t, c.Process, 0).WithWaiting(1)
		stop := c.startClients(12, 50*time.Millisecond)
		c.run(4)
		stop()
		c.FinishConnectionMode()
	})
}

// startClients starts clients that talk on until stop is called, and others that come one by one,
// so much time apart, and go at once. None of them may meet an error.
func (c *roster) startClients(n int, every time.Duration) (stop func()) {
	var failures testrig.ErrorList
	var talking sync.WaitGroup
	stopped := make(chan struct{})
	for range n {
		conn := c.Dial()
		talking.Go(func() { failures.Add(talk(conn, stopped)) })
	}
	clients := n
	talking.Go(func() {
		for tick := time.Tick(every); ; clients++ {
			select {
			case <-stopped:
				return
			case <-tick:
			}
			talking.Go(func() { failures.Add(testrig.Client{}.Echo(c.T, c.Process.Listeners[0], testrig.Payload(500))) })
		}
	})
	return func() {
		close(stopped)
		talking.Wait()
		c.Logf("%d clients", clients)
		failures.Report(c.T, clients)
	}
}

// talk sends a few bytes now and then, which must come back, until stop is closed.
func talk(conn net.Conn, stop <-chan struct{}) error {
	defer conn.Close()
	for tick := time.Tick(100 * time.Millisecond); ; {
		said := testrig.Payload(64)
		if _, err := conn.Write(said); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(testrig.Patience))
		heard := make([]byte, len(said))
		if _, err := io.ReadFull(conn, heard); err != nil {
			return err
		}
		if !bytes.Equal(said, heard) {
			return errors.New("other bytes come back")
		}
		select {
		case <-stop:
			return nil
		case <-tick:
		}
	}
}
