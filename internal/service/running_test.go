package service

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/config"
	"linesplit/internal/simulate/sink"
)

// running is a process with named services, whose file a test writes. Its log is whole once the run
// has ended.
type running struct {
	*testing.T
	*process
	file  string
	log   *lockedBuffer
	out   *lockedBuffer // access logs
	end   context.CancelFunc
	ended chan error
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs what a file says, and waits until everything listens.
func start(t *testing.T, text string, args ...string) *running {
	t.Helper()
	r := prepare(t, text, args...)
	ctx, end := context.WithCancel(t.Context())
	r.end = end
	listening := make(chan struct{})
	go func() {
		err := r.run(ctx, func(Running) { close(listening) })
		r.logger.close()
		r.ended <- err
	}()
	select {
	case <-listening:
	case err := <-r.ended:
		t.Fatalf("%v\n%s", err, r.log)
	}
	t.Cleanup(func() { end(); r.wait() })
	return r
}

func prepare(t *testing.T, text string, args ...string) *running {
	t.Helper()
	r := &running{T: t, file: filepath.Join(t.TempDir(), "services.toml"), log: &lockedBuffer{}, out: &lockedBuffer{}, ended: make(chan error, 1)}
	r.write(text)
	cfg, err := config.Parse(append([]string{"-config", r.file}, args...))
	if err != nil {
		t.Fatal(err)
	}
	r.process = newProcess(cfg, "", newLogs(cfg.Config, r.out, r.log))
	return r
}

func (r *running) write(text string) {
	r.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// wait returns the error of the run once it has ended.
func (r *running) wait() error {
	err := <-r.ended
	r.ended <- err
	return err
}

// reload writes the file anew and reads it.
func (r *running) reload(text string) (changed, needRestart []string) {
	r.Helper()
	r.write(text)
	changed, needRestart, err := r.Reload(r.Context())
	if err != nil {
		r.Fatalf("%v\n%s", err, r.log)
	}
	return changed, needRestart
}

// find returns a service, or nil.
func (r *running) find(name string) *service {
	for _, s := range r.all() {
		if s.title() == name {
			return s
		}
	}
	return nil
}

func (r *running) names() (all []string) {
	for _, s := range r.all() {
		all = append(all, s.title())
	}
	return all
}

// address returns that of the first listener of a service.
func (r *running) address(name string) string {
	return strings.TrimPrefix(r.find(name).in.names()[0], "tcp://")
}

// eventually waits until cond holds.
func (r *running) eventually(what string, cond func() bool) {
	r.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("never: %s\n%s", what, r.log)
		}
	}
}

// echoServer answers each connection with what it sends.
func echoServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	return ln.Addr().String()
}

// echo is one connection to an echo server behind linesplit.
type echo struct {
	net.Conn
	in *bufio.Reader
}

func (r *running) dial(name string) echo {
	r.Helper()
	c, err := net.Dial("tcp", r.address(name))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { c.Close() })
	return newEcho(c)
}

func newEcho(c net.Conn) echo { return echo{c, bufio.NewReader(c)} }

func (e echo) say(t *testing.T, text string) {
	t.Helper()
	fmt.Fprintln(e, text)
	if got, err := e.in.ReadString('\n'); err != nil || got != text+"\n" {
		t.Fatalf("%q, %v; want %q", got, err, text)
	}
}

func lineService(name, listen, target string) string {
	return fmt.Sprintf("[service.%s]\nlisten = %q\ntarget = %q\nresend-age = \"1ms\"\n", name, "tcp://"+listen, target)
}

func webService(name, listen, target string) string {
	return fmt.Sprintf("[service.%s]\nmode = \"connection\"\nlisten = %q\ntarget = %q\n", name, "tcp://"+listen, target)
}

const anyPort = "127.0.0.1:0"

// discard is a target for lines.
func discard(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go readConnections(ln)
	return ln.Addr().String()
}

// freeAddress is one where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
