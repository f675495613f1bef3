package proof

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func testNetns(t *testing.T) *netns {
	t.Helper()
	n, err := newNetns()
	if err != nil {
		t.Skip("needs a network namespace: ", err)
	}
	t.Cleanup(n.close)
	return n
}

func TestNetnsCanBeCutOffAndRestored(t *testing.T) {
	n := testNetns(t)
	var ln net.Listener
	var err error
	n.do(func() { ln, err = net.Listen("tcp", net.JoinHostPort(n.targetIP, "0")) })
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := func(limit time.Duration) error {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), limit)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := n.cut(); err != nil {
		t.Fatal(err)
	}
	if err := dial(300 * time.Millisecond); !os.IsTimeout(err) {
		t.Errorf("with the link cut: %v, want a timeout", err)
	}
	if err := n.restore(); err != nil {
		t.Fatal(err)
	}
	if err := dial(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestNetnsLeavesNothingBehind(t *testing.T) {
	n, err := newNetns()
	if err != nil {
		t.Skip("needs a network namespace: ", err)
	}
	if _, err := net.InterfaceByName(n.Device); err != nil {
		t.Error(err)
	}
	n.close()
	if _, err := net.InterfaceByName(n.Device); err == nil {
		t.Errorf("%s is still there", n.Device)
	}
}

// cutOff is a process that prints the name of a link, with packets in flight that cannot arrive,
// and waits to be killed.
func cutOff() int {
	n, err := newNetns()
	if err != nil {
		fmt.Println()
		return 1
	}
	var ln net.Listener
	n.do(func() { ln, err = net.Listen("tcp", net.JoinHostPort(n.targetIP, "0")) })
	if err != nil {
		return 1
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return 1
	}
	far, err := ln.Accept()
	if err != nil {
		return 1
	}
	n.cut()
	conn.Write([]byte("this does not arrive"))
	far.Write([]byte("nor does this"))
	fmt.Println(n.Device)
	select {}
}

func TestKilledProcessLeavesNoLinkBehind(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "cut-off")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	device := strings.TrimSpace(line)
	if device == "" {
		t.Skip("needs a network namespace")
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := net.InterfaceByName(device); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still there", device)
		}
	}
}
