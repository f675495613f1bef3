//go:build linux

package testrig

import (
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// A test that stopped a target and had its clients served by the others failed now and then: a
// process that another test was starting held the target's listening socket open for a moment
// longer, accepted a connection, and reset it.
func TestClosedListenerRefusesWhileProcessesStart(t *testing.T) {
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip("there is no program to start: ", err)
	}
	stop := make(chan struct{})
	var starting sync.WaitGroup
	defer starting.Wait()
	defer close(stop)
	for range 4 {
		starting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					exec.Command(path).Run()
				}
			}
		})
	}
	dir := t.TempDir()
	for _, network := range []string{"tcp", "unix"} {
		for range 500 {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(dir, "s")
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			closeListener(ln)
			if conn, err := net.Dial(network, ln.Addr().String()); err == nil {
				conn.Close()
				t.Fatalf("%s: connected to a listener that was closed", network)
			}
		}
	}
}
