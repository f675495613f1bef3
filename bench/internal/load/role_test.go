//go:build linux

package load

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain runs roles, as the program does, when the test binary is its own child.
func TestMain(m *testing.M) {
	if RunRole(Roles(), os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// lockThread keeps a test on one thread: the kernel kills children when the thread that started
// them ends.
func lockThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

func TestSinkFindsAlteredLines(t *testing.T) {
	lockThread(t)
	sink, err := Spawn(t.Context(), "sink", "-verify")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Stop()
	targets, err := sink.Await("listening")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Ask("expect 1200", "expecting"); err != nil {
		t.Fatal(err)
	}
	conns, err := connect(targets[:1], 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := makeLines(1, 600)
	// The first newline is missing, and one byte is there twice.
	conns[0].Write(append(append(bytes.Clone(line[:599]), line[:300]...), line[299:]...))
	conns[0].Close()
	if _, err := sink.Await("reached"); err != nil {
		t.Fatal(err)
	}
	err = CheckTotal(sink, Transfer{Line: 600, Bytes: 1200, Verify: true})
	if err == nil || !strings.Contains(err.Error(), "2 lines sent, 1 arrived, 1 of them not as they were sent") {
		t.Errorf("error = %v", err)
	}
	err = CheckTotal(sink, Transfer{Line: 600, Bytes: 1800})
	if err == nil || !strings.Contains(err.Error(), "1800 bytes sent, 1200 arrived") {
		t.Errorf("error = %v", err)
	}
}

func TestClosedSinkRefusesUntilItIsOpened(t *testing.T) {
	lockThread(t)
	sink, err := Spawn(t.Context(), "sink", "-closed")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Stop()
	targets, err := sink.Await("listening")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(targets, 2, nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before: error = %v", err)
	}
	if _, err := sink.Ask("open", "opened"); err != nil {
		t.Fatal(err)
	}
	conns, err := connect(targets, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		c.Write(makeLines(1, 600))
	}
	if _, err := sink.Ask("expect 1200", "expecting"); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Await("reached"); err != nil {
		t.Error(err)
	}
}

// Lines are told apart by their numbers, whichever connection they come on. The begin of a line at
// the end of a connection is none.
func TestTallyTellsLinesApart(t *testing.T) {
	lockThread(t)
	args := []string{"-size", "100", "-conns", "2", "-count", "50"}
	tally, err := Spawn(t.Context(), "tally", args...)
	if err != nil {
		t.Fatal(err)
	}
	defer tally.Stop()
	targets, err := tally.Await("listening")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(targets, 1, nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before: error = %v", err)
	}
	if _, err := tally.Ask("open", "opened"); err != nil {
		t.Fatal(err)
	}
	sender, err := Spawn(t.Context(), "number", append(args, "-to", strings.Join(targets, ","))...)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Stop()
	if _, err := sender.Await("connected"); err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Ask("go", "going"); err != nil {
		t.Fatal(err)
	}
	awaitAnswer(t, sender, "written", "100")
	awaitAnswer(t, tally, "total", "100 0 0")
	conns, err := connect(targets[:1], 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := stampedLine(100) // number 0
	other := bytes.Replace(line, []byte("0000"), []byte("1000"), 1)
	conns[0].Write(slices.Concat(line, other, line[1:], line[:50]))
	conns[0].Close()
	awaitAnswer(t, tally, "total", "100 1 2")
}

// awaitAnswer asks a child until the answer to word is word and then want.
func awaitAnswer(t *testing.T, c *Child, word, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		fields, err := c.Ask(word, word)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(fields, " ")
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s %s, want %s", word, got, want)
		}
	}
}

// Figures of different TLS versions or suites would not be comparable.
func TestOtherTLSVersionIsRefused(t *testing.T) {
	lockThread(t)
	dir := t.TempDir()
	certs, err := MakeCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := Spawn(t.Context(), "sink", "-certs", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Stop()
	targets, err := sink.Await("listening")
	if err != nil {
		t.Fatal(err)
	}
	config := certs.ClientTLS()
	config.MaxVersion = tls.VersionTLS12
	if _, err := connect(targets[:1], 1, config); err == nil || !strings.Contains(err.Error(), "instead of TLS 1.3") {
		t.Errorf("sender: error = %v", err)
	}
	if _, err := sink.Await("nothing"); err == nil || !strings.Contains(err.Error(), "instead of TLS 1.3") {
		t.Errorf("target: error = %v", err)
	}
}

func TestCallerReportsWrongReplies(t *testing.T) {
	lockThread(t)
	const messageSize = 100
	ln, err := Listen(AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for _, reply := range []string{"short", strings.Repeat("x", messageSize)} {
			if c, err := ln.Accept(); err == nil {
				io.ReadFull(c, make([]byte, messageSize))
				c.Write([]byte(reply))
				c.Close()
			}
		}
	}()
	for _, want := range []string{"read: unexpected EOF", "came back as \"xxx"} {
		caller, err := Spawn(t.Context(), "call", "-to", ln.Addr().String(), "-size", strconv.Itoa(messageSize))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := caller.Ask("call 1", "called"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %s", err, want)
		}
		caller.Stop()
	}
}

func TestLinesAreJSONOfTheWantedSize(t *testing.T) {
	for _, size := range []int{100, 199, 200, 600, 1000, 4 << 10, 64 << 10} {
		for name, text := range map[string][]byte{"block": makeLines(blockLines(size), size), "stamped": stampedLine(size)} {
			for line := range bytes.Lines(text) {
				if len(line) != size || !json.Valid(line) {
					t.Fatalf("%s: %d bytes instead of %d, or no JSON: %s", name, len(line), size, line)
				}
			}
		}
	}
}

// linesplit that is told to end waits for its senders: a probe that kept its connections open made
// each run five seconds longer.
func TestLatencyProbeClosesItsConnections(t *testing.T) {
	lockThread(t)
	probe, err := Spawn(t.Context(), "latency", "-ports", "1", "-conns", "2", "-rate", "2000", "-count", "1100")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Stop()
	targets, err := probe.Await("listening")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan error, 2)
	for range cap(ended) {
		go func() { ended <- passOn(ln, targets[0]) }()
	}
	if _, err := probe.Ask("go "+ln.Addr().String(), "latency"); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a connection is still open")
		}
	}
}

// passOn passes what one connection of a listener sends to a target. It returns when the sender has
// closed it, and then the target.
func passOn(ln net.Listener, target string) error {
	from, err := ln.Accept()
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if err := to.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, to)
	return err
}
