//go:build linux

package testrig

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

const (
	// childEnv makes a test binary run as a target that listens on the address in this variable.
	childEnv = "RIG_CHILD_LISTEN"
	// childNameEnv makes that target serve as Named does, with the name in this variable.
	childNameEnv = "RIG_CHILD_NAME"
)

// RunIfChild runs this process as a target, and does not return, if StartChild or StartNamedChild
// has started it. The TestMain of tests that use them calls it first.
func RunIfChild() {
	addr := os.Getenv(childEnv)
	if addr == "" {
		return
	}
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with the test process
		os.Exit(1)
	}()
	fmt.Fprintln(os.Stderr, serveChild(addr, os.Getenv(childNameEnv), os.Stdout))
	os.Exit(1)
}

// serveChild accepts connections without end. Without a name it writes what it reads from them to
// out, as frames. A frame of connection 0 says that it listens, and an empty frame is the end of a
// connection.
func serveChild(addr, name string, out io.Writer) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	write := func(conn uint32, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		out.Write(appendFrame(nil, conn, b))
	}
	write(0, []byte("listening"))
	for id := uint32(1); ; id++ {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if name != "" {
				Named(name[0])(conn)
				return
			}
			if err := readChild(conn, func(b []byte) { write(id, b) }); err == io.EOF {
				write(id, nil)
			}
		}()
	}
}

// readChild reports bytes before it takes them out of the socket. If the process is killed in
// between, the sender sends again what is already counted, which is a duplicate. In the other
// order, bytes that the application had read would be lost, and not by a fault of the sender. It
// returns io.EOF at the end of the stream.
func readChild(conn net.Conn, report func([]byte)) error {
	buf := make([]byte, 16<<10)
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	for {
		n, err := 0, error(nil)
		raw.Read(func(fd uintptr) bool {
			n, _, err = syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK)
			return err != syscall.EAGAIN
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		report(buf[:n])
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return err
		}
	}
}

func appendFrame(b []byte, conn uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, conn)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// Child is a target in a process of its own, which can be killed. It belongs to the test's
// goroutine.
type Child struct {
	tb      testing.TB
	tally   *Tally
	addr    string
	name    string // of a server for connection mode; empty: a target for lines
	cmd     *exec.Cmd
	lines   atomic.Int64
	reading sync.WaitGroup
	ready   chan struct{}
}

// StartChild starts this test binary again, as a target for lines. See RunIfChild.
func StartChild(tb testing.TB, tally *Tally) *Child {
	tb.Helper()
	return startChild(tb, &Child{tb: tb, tally: tally})
}

// StartNamedChild starts this test binary again, as a server with the handler Named.
func StartNamedChild(tb testing.TB, name byte) *Child {
	tb.Helper()
	return startChild(tb, &Child{tb: tb, name: string(name)})
}

func startChild(tb testing.TB, c *Child) *Child {
	tb.Helper()
	ln, err := ListenAlone()
	if err != nil {
		tb.Fatalf("target process: %v", err)
	}
	sink.CloseListener(ln)
	c.addr = ln.Addr().String()
	c.Start()
	tb.Cleanup(c.Kill)
	return c
}

// Target returns the child's address as the -target flag takes it.
func (c *Child) Target() string { return "tcp://" + c.addr }

// Lines returns how many lines the child has read, duplicates included.
func (c *Child) Lines() int { return int(c.lines.Load()) }

// Start starts the process, again after Kill, and returns when it listens.
func (c *Child) Start() {
	c.tb.Helper()
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childEnv+"="+c.addr, childNameEnv+"="+c.name)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		_, err = c.cmd.StdinPipe() // which Wait closes, or the end of this process
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.tb.Fatalf("target process: %v", err)
	}
	c.ready = make(chan struct{})
	ready := c.ready
	c.reading.Go(func() { c.collect(out, ready) })
	WaitFor(c.tb, "the target process listens", func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
}

// Kill sends SIGKILL, and returns when everything that the process has reported is counted. It may
// be called again.
func (c *Child) Kill() {
	c.cmd.Process.Kill()
	c.reading.Wait()
	c.cmd.Wait()
}

// Suspend sends SIGSTOP: the process hangs, with its sockets open.
func (c *Child) Suspend() { c.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume sends SIGCONT, which ends what Suspend began.
func (c *Child) Resume() { c.cmd.Process.Signal(syscall.SIGCONT) }

// collect counts what is in the child's frames, until the child has ended. The bytes of a frame
// that the kill cut off had not been taken out of the socket.
func (c *Child) collect(out io.Reader, ready chan<- struct{}) {
	readers := make(map[uint32]*tally.Reader)
	in := bufio.NewReaderSize(out, 256<<10)
	defer func() {
		for _, r := range readers {
			r.End(false)
		}
	}()
	for {
		id, data, err := readFrame(in)
		switch {
		case err != nil:
			return
		case id == 0:
			close(ready)
			continue
		case readers[id] == nil:
			readers[id] = c.tally.Reader()
		}
		r := readers[id]
		if len(data) == 0 {
			r.End(true)
			delete(readers, id)
			continue
		}
		r.Feed(data)
		c.lines.Add(int64(bytes.Count(data, []byte("\n"))))
	}
}

func readFrame(in io.Reader) (conn uint32, data []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	data = make([]byte, binary.BigEndian.Uint32(head[4:]))
	_, err = io.ReadFull(in, data)
	return binary.BigEndian.Uint32(head[:4]), data, err
}
