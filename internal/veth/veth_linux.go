// Package veth makes network namespaces that a pair of virtual devices links to this machine's
// network. It needs the right to do so (root, or a user namespace) and the program ip.
package veth

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace with a link to this machine's network.
//
// It has no name: it lives as long as its thread, the processes in it and its sockets, and the
// devices end with it. So if this process is killed, the kernel cleans up within seconds.
type Namespace struct {
	FarIP  string // address in the namespace
	NearIP string // address at our end of the link
	Device string // our end of the link

	calls   chan func()
	stopped chan struct{}
}

// FarDevice is the end of the link in the namespace.
const FarDevice = "eth0"

// New makes a namespace, its link and the addresses of both ends. The caller closes it.
func New() (*Namespace, error) {
	// 198.18.0.0/15 is reserved for tests of network devices.
	prefix := fmt.Sprintf("198.%d.%d.", 18+rand.IntN(2), rand.IntN(256))
	first := 4 * rand.IntN(64) // a block of four addresses; the two in the middle are for hosts
	n := &Namespace{
		NearIP: prefix + strconv.Itoa(first+1), FarIP: prefix + strconv.Itoa(first+2),
		Device: fmt.Sprintf("lsp%08x", rand.Uint32()),
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
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

// runThread runs the calls of Do on a thread in the namespace. The thread is locked to this
// goroutine and never unlocked, so the runtime ends it with the goroutine.
func (n *Namespace) runThread(tid chan<- int, failed chan<- error) {
	defer close(n.stopped)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		failed <- fmt.Errorf("make a network namespace: %w", err)
		return
	}
	tid <- unix.Gettid()
	for f := range n.calls {
		f()
	}
}

// Do runs f in the namespace, where the sockets that f opens and the processes that it starts will
// be. It returns when f has returned. A process that asks to be killed when the thread that started
// it ends is killed by Close.
func (n *Namespace) Do(f func()) {
	done := make(chan struct{})
	n.calls <- func() { defer close(done); f() }
	<-done
}

// Close ends the namespace once its sockets and processes are gone.
func (n *Namespace) Close() {
	IP("link", "delete", n.Device) // the namespace would remove it too, but later
	close(n.calls)
	<-n.stopped
}

// connect makes the link and assigns the addresses of both ends.
func (n *Namespace) connect(tid int) error {
	if err := IP("link", "add", n.Device, "type", "veth", "peer", "name", FarDevice, "netns",
		strconv.Itoa(tid)); err != nil {
		return err
	}
	if err := IP("address", "add", n.NearIP+"/30", "dev", n.Device); err != nil {
		return err
	}
	if err := IP("link", "set", n.Device, "up"); err != nil {
		return err
	}
	var err error
	n.Do(func() {
		if err = IP("address", "add", n.FarIP+"/30", "dev", FarDevice); err == nil {
			err = IP("link", "set", FarDevice, "up")
		}
	})
	return err
}

// IP runs the program ip in the network namespace of the calling thread.
func IP(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
