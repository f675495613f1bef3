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

func testIsland(t *testing.T) *island {
	t.Helper()
	i, err := newIsland()
	if err != nil {
		t.Skip("needs a network namespace: ", err)
	}
	t.Cleanup(i.close)
	return i
}

func TestIslandCanBeCutOffAndJoinedAgain(t *testing.T) {
	i := testIsland(t)
	var ln net.Listener
	var err error
	i.do(func() { ln, err = net.Listen("tcp", net.JoinHostPort(i.host, "0")) })
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
	if err := i.cut(); err != nil {
		t.Fatal(err)
	}
	if err := dial(300 * time.Millisecond); !os.IsTimeout(err) {
		t.Errorf("with the cable cut: %v, want a timeout", err)
	}
	if err := i.mend(); err != nil {
		t.Fatal(err)
	}
	if err := dial(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestIslandLeavesNothingBehind(t *testing.T) {
	i, err := newIsland()
	if err != nil {
		t.Skip("needs a network namespace: ", err)
	}
	if _, err := net.InterfaceByName(i.device); err != nil {
		t.Error(err)
	}
	i.close()
	if _, err := net.InterfaceByName(i.device); err == nil {
		t.Errorf("%s is still there", i.device)
	}
}

// cutOff is a process that says the name of a cable and then waits to be killed, with traffic under way that gets nowhere.
func cutOff() int {
	i, err := newIsland()
	if err != nil {
		fmt.Println()
		return 1
	}
	var ln net.Listener
	i.do(func() { ln, err = net.Listen("tcp", net.JoinHostPort(i.host, "0")) })
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
	i.cut()
	conn.Write([]byte("nobody hears this"))
	far.Write([]byte("nor that"))
	fmt.Println(i.device)
	select {}
}

func TestKilledProcessLeavesNoCableBehind(t *testing.T) {
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
