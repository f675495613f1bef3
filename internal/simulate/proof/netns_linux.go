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

// blackHoleMAC is a link-layer address that no device has: what is sent to it is silently
// dropped.
const blackHoleMAC = "02:00:5e:00:53:ff"

// netns is a network namespace for a target. A pair of virtual devices links it to this machine's
// network, and the link can be cut.
//
// The namespace has no name: it lives as long as its thread and its sockets, and the devices end
// with it. So if this process is killed, the kernel cleans up within seconds.
type netns struct {
	targetIP string // address in the namespace
	localIP  string // address at our end of the link
	device   string // our end of the link
	calls    chan func()
	stopped  chan struct{}
}

// netnsDevice is the end of the link in the namespace.
const netnsDevice = "eth0"

// orphanRetries is the setting that limits how often a socket without a process retransmits its
// FIN. The default of 8 would keep a namespace alive for minutes while the link is cut.
const orphanRetries = "/proc/sys/net/ipv4/tcp_orphan_retries" // in the namespace of the thread

// newNetns needs root and the program ip. The caller closes the namespace.
func newNetns() (*netns, error) {
	// 198.18.0.0/15 is reserved for tests of network devices.
	prefix := fmt.Sprintf("198.%d.%d.", 18+rand.IntN(2), rand.IntN(256))
	first := 4 * rand.IntN(64) // a block of four addresses; the two in the middle are for hosts
	n := &netns{
		localIP: prefix + strconv.Itoa(first+1), targetIP: prefix + strconv.Itoa(first+2),
		device: fmt.Sprintf("lsp%08x", rand.Uint32()),
		calls:  make(chan func()), stopped: make(chan struct{}),
	}
	tid := make(chan int)
	failed := make(chan error)
	go n.runThread(tid, failed)
	select {
	case err := <-failed:
		return nil, err
	case id := <-tid:
		if err := n.connect(id); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

// runThread runs the calls of do on a thread in the namespace. The thread is locked to this
// goroutine and never unlocked, so the runtime ends it with the goroutine.
func (n *netns) runThread(tid chan<- int, failed chan<- error) {
	defer close(n.stopped)
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
	for f := range n.calls {
		f()
	}
}

// do runs f in the namespace, where the sockets that f opens and the processes that it starts
// will be. It returns when f has returned.
func (n *netns) do(f func()) {
	done := make(chan struct{})
	n.calls <- func() { defer close(done); f() }
	<-done
}

// close ends the namespace once its sockets are closed.
func (n *netns) close() {
	ip("link", "delete", n.device) // the namespace would remove it too, but later
	close(n.calls)
	<-n.stopped
}

// connect makes the link and assigns the addresses of both ends.
func (n *netns) connect(tid int) error {
	if err := ip("link", "add", n.device, "type", "veth", "peer", "name", netnsDevice, "netns",
		strconv.Itoa(tid)); err != nil {
		return err
	}
	if err := ip("address", "add", n.localIP+"/30", "dev", n.device); err != nil {
		return err
	}
	if err := ip("link", "set", n.device, "up"); err != nil {
		return err
	}
	var err error
	n.do(func() {
		if err = ip("address", "add", n.targetIP+"/30", "dev", netnsDevice); err == nil {
			err = ip("link", "set", netnsDevice, "up")
		}
	})
	return err
}

// cut drops all packets in both directions, as if a cable were cut: both ends stay up, and
// nothing answers.
func (n *netns) cut() error {
	err := ip("neighbour", "replace", n.targetIP, "lladdr", blackHoleMAC, "dev", n.device, "nud", "permanent")
	if err != nil {
		return err
	}
	n.do(func() {
		err = ip("neighbour", "replace", n.localIP, "lladdr", blackHoleMAC, "dev", netnsDevice, "nud", "permanent")
	})
	return err
}

// restore undoes cut: each end resolves the other's address again.
func (n *netns) restore() error {
	err := ip("neighbour", "delete", n.targetIP, "dev", n.device)
	if err != nil {
		return err
	}
	n.do(func() { err = ip("neighbour", "delete", n.localIP, "dev", netnsDevice) })
	return err
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
