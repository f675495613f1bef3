//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"linesplit/internal/testrig"
)

// countLines starts a server that reads all its connections to the end. It returns its address, and
// a function that returns how many lines it has read.
func countLines(t *testing.T) (addr string, lines func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int64
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					count.Add(1)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr().String(), func() int { return int(count.Load()) }
}

func TestSendEndsInOrderOnSIGINT(t *testing.T) {
	t.Parallel()
	addr, received := countLines(t)
	command := exec.Command(testrig.Binary(t), "send", "-to", addr, "-mix", "stream=2,idle=1", "-connections", "3",
		"-rate", "2000")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if !testrig.Poll(testrig.Patience, func() bool { return received() > 100 }) {
		t.Error("no lines arrive")
	}
	command.Process.Signal(os.Interrupt)
	if err := command.Wait(); err != nil {
		t.Errorf("%v: %s", err, &stderr)
	}
	var summary struct{ Lines int }
	if err := json.Unmarshal(stdout.Bytes(), &summary); err != nil || summary.Lines == 0 {
		t.Fatalf("%v, %s", err, &stdout)
	}
	if !testrig.Poll(testrig.Patience, func() bool { return received() == summary.Lines }) {
		t.Errorf("%d received of %s", received(), &stdout)
	}
}

func TestSendRepeatsStandardInput(t *testing.T) {
	t.Parallel()
	addr, received := countLines(t)
	command := exec.Command(testrig.Binary(t), "send", "-to", addr, "-file", "-", "-repeat", "3")
	command.Stdin = strings.NewReader("one\ntwo")
	text, err := command.Output()
	if err != nil || !strings.Contains(string(text), `"lines":6`) {
		t.Errorf("%v, %s", err, text)
	}
	if !testrig.Poll(testrig.Patience, func() bool { return received() == 6 }) {
		t.Errorf("%d received", received())
	}
}
