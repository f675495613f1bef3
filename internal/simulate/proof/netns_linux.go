package proof

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nowhere is a link-layer address that no device has: what is sent to it vanishes without a word.
const nowhere = "02:00:5e:00:53:ff"

// island is a network namespace with one address in it and a pair of virtual devices for a cable to this machine's network, which can be cut.
//
// The namespace has no name: it lives as long as the thread and the sockets in it, and the devices end with it. So the kernel itself cleans up when
// this process is killed, within seconds.
type island struct {
	host    string // address of its end of the cable
	near    string // address of ours
	device  string // our end of the cable
	run     chan func()
	stopped chan struct{}
}

// islandDevice is the end of the cable on the island.
const islandDevice = "eth0"

// orphanRetries says how often a socket that nobody holds any more tries to get rid of its FIN. The usual 8 keep a namespace alive for minutes
// where the cable is cut.
const orphanRetries = "/proc/sys/net/ipv4/tcp_orphan_retries" // of the thread's namespace

// newIsland needs root and the program ip. The caller closes the island.
func newIsland() (*island, error) {
	// 198.18.0.0/15 is set aside for tests of network devices.
	net := fmt.Sprintf("198.%d.%d.", 18+rand.IntN(2), rand.IntN(256))
	first := 4 * rand.IntN(64) // of four addresses, of which the two in the middle are for hosts
	i := &island{
		near: net + strconv.Itoa(first+1), host: net + strconv.Itoa(first+2),
		device: fmt.Sprintf("lsp%08x", rand.Uint32()),
		run:    make(chan func()), stopped: make(chan struct{}),
	}
	tid := make(chan int)
	failed := make(chan error)
	go i.live(tid, failed)
	select {
	case err := <-failed:
		return nil, err
	case id := <-tid:
		if err := i.wire(id); err != nil {
			i.close()
			return nil, err
		}
	}
	return i, nil
}

// live is the thread on the island. It is not used for anything else afterwards: the runtime ends it with its goroutine.
func (i *island) live(tid chan<- int, failed chan<- error) {
	defer close(i.stopped)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		failed <- fmt.Errorf("make a network namespace: %w", err)
		return
	}
	if err := os.WriteFile(orphanRetries, []byte("1"), 0); err != nil {
		failed <- err
		return
	}
	tid <- unix.Gettid()
	for f := range i.run {
		f()
	}
}

// do runs f on the island: sockets that it opens, and processes that it starts, are there. It returns when f has.
func (i *island) do(f func()) {
	done := make(chan struct{})
	i.run <- func() { defer close(done); f() }
	<-done
}

// close ends the island once its sockets are closed.
func (i *island) close() {
	ip("link", "delete", i.device) // the namespace would take it with it, only later
	close(i.run)
	<-i.stopped
}

// wire lays the cable and gives both ends their addresses.
func (i *island) wire(tid int) error {
	if err := ip("link", "add", i.device, "type", "veth", "peer", "name", islandDevice, "netns", strconv.Itoa(tid)); err != nil {
		return err
	}
	if err := ip("address", "add", i.near+"/30", "dev", i.device); err != nil {
		return err
	}
	if err := ip("link", "set", i.device, "up"); err != nil {
		return err
	}
	var err error
	i.do(func() {
		if err = ip("address", "add", i.host+"/30", "dev", islandDevice); err == nil {
			err = ip("link", "set", islandDevice, "up")
		}
	})
	return err
}

// cut makes all that goes either way vanish, as if behind a cable that is cut: both ends stay up, and nothing answers.
func (i *island) cut() error {
	err := ip("neighbour", "replace", i.host, "lladdr", nowhere, "dev", i.device, "nud", "permanent")
	if err != nil {
		return err
	}
	i.do(func() {
		err = ip("neighbour", "replace", i.near, "lladdr", nowhere, "dev", islandDevice, "nud", "permanent")
	})
	return err
}

// mend undoes cut: either end asks again where the other is.
func (i *island) mend() error {
	err := ip("neighbour", "delete", i.host, "dev", i.device)
	if err != nil {
		return err
	}
	i.do(func() { err = ip("neighbour", "delete", i.near, "dev", islandDevice) })
	return err
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
