package service

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Services come, go, swap addresses, change their mode and get other names in 200 reloads, while a
// service that stays the same counts every line that it is sent. Nothing is left of the others.
func TestManyReloads(t *testing.T) {
	const reloads = 200
	server, sink := echoServer(t), discard(t)
	one, two, path := freeAddress(t), freeAddress(t), filepath.Join(t.TempDir(), "s")
	stays := lineService("stays", anyPort, sink)
	sets := []string{
		webService("a", one, server),
		webService("a", one, server) + lineService("b", two, sink),
		webService("a", two, server) + lineService("b", one, sink),
		lineService("a", two, sink) + lineService("c", one, sink),
		fmt.Sprintf("[service.u]\nmode = \"connection\"\nlisten = \"unix://%s\"\ntarget = %q\n", path, server),
		fmt.Sprintf("[service.u]\nlisten = [\"unix://%s\", \"udp://%s\"]\ntarget = %q\n", path, one, sink) + webService("d", two, server),
		fmt.Sprintf("[service.v]\nlisten = [\"unix://%s\", \"udp://%s\", \"tcp://%s\"]\ntarget = %q\n", path, one, one, sink),
		"",
	}
	r := start(t, stays)
	was := r.find("stays")
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sent := 0
	sending.Go(func() { sent = sendUntil(t, r.address("stays"), stop) })
	r.eventually("it is connected", func() bool { return was.Status().Targets[0].Connections == 4 })
	const few = 10 // what the runtime and the target may have more; each set is there 25 times
	goroutines, descriptors := runtime.NumGoroutine()+few, openDescriptors(t)+few
	for i := range reloads {
		if _, needRestart := r.reload(stays + sets[i%len(sets)]); len(needRestart) > 0 {
			t.Fatalf("a restart is needed for %q", needRestart)
		}
	}
	close(stop)
	sending.Wait()
	r.reload(stays)
	r.eventually("only one service is left", func() bool { return len(r.names()) == 1 })
	if r.find("stays") != was {
		t.Error("it has been replaced")
	}
	r.eventually("its lines are confirmed", func() bool { return was.Status().Ledger.Confirmed.Lines == uint64(sent) })
	r.eventually("no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	r.eventually("no descriptor is left", func() bool { return openDescriptors(t) <= descriptors })
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
	if n := len(r.shared.ports.all); n > 0 {
		t.Errorf("%d TLS ports are left", n)
	}
}

// sendUntil sends lines, and returns how many it has sent.
func sendUntil(t *testing.T, address string, stop chan struct{}) (n int) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	for {
		select {
		case <-stop:
			return n
		case <-time.After(time.Millisecond):
		}
		if _, err := io.WriteString(c, "a line\n"); err != nil {
			t.Error(err)
			return n
		}
		n++
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd")
	}
	return len(entries)
}

// tlsService is a service behind a TLS port that it shares by its server name.
func tlsService(name, at, target string) string {
	return fmt.Sprintf("[service.%s]\nmode = \"connection\"\nlisten = \"tls://%s\"\ntls-passthrough = true\nsni = %q\ntarget = %q\n",
		name, at, name+".example", target)
}

// A reload that failed since one service could not start had given the clients of another one to a
// service that was never begun: they were reset. And a service that is removed and added again
// does not touch those that share its port.
func TestReloadOfServicesBehindOnePort(t *testing.T) {
	server, at, taken := echoServer(t), freeAddress(t), discard(t)
	a, b := tlsService("a", at, server), tlsService("b", at, server)
	r := start(t, a+b)
	stays := r.find("b")
	hello := func(name string) {
		t.Helper()
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		sent := helloOf(t, name)
		c.Write(sent)
		if got := make([]byte, len(sent)); true {
			if _, err := io.ReadFull(bufio.NewReader(c), got); err != nil || string(got) != string(sent) {
				t.Fatalf("%s: %v\n%s", name, err, r.log)
			}
		}
	}
	for range 5 {
		hello("a.example")
		hello("b.example")
		r.write(strings.Replace(a, "sni", "access-log = \"text\"\nsni", 1) + b + webService("broken", taken, server))
		if _, _, err := r.Reload(t.Context()); err == nil {
			t.Fatal("no error")
		}
		hello("a.example")
		r.reload(strings.Replace(a, "sni", "access-log = \"text\"\nsni", 1) + b) // replaced
		hello("a.example")
		hello("b.example")
		r.reload(b)
		hello("b.example")
		r.reload(a + b)
	}
	if r.find("b") != stays {
		t.Error("b has been replaced")
	}
	r.reload(webService("a", at, server)) // plain TCP at the same port
	r.dialAt(at).say(t, "plain")
	r.reload(a + b)
	hello("b.example")
}

// helloOf returns the first message of a client that asks for a name.
func helloOf(t *testing.T, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	defer client.Close()
	go tls.Client(client, &tls.Config{ServerName: name}).Handshake()
	header := make([]byte, 5)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(server, message); err != nil {
		t.Fatal(err)
	}
	return append(header, message...)
}
