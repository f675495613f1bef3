package service

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"linesplit/admin"
	"linesplit/internal/config"
)

// Started gets a Status that is still valid after Run has returned, when it holds the final counts.
func TestRunReportsItsState(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go readConnections(target)
	cfg := mustParseAll(t, "-listen", "tcp://127.0.0.1:0", "-target", target.Addr().String(), "-resend-age", "1ms")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	calls := 0
	var status func() admin.Status
	err = Run(ctx, cfg, Options{Version: "v1.2.3", Started: func(r Running) {
		calls++
		status = r.Status
		if s := r.Status(); s.Version != "v1.2.3" || s.Draining || len(r.Listeners) != 1 || s.Listeners[0] != r.Listeners[0] {
			t.Errorf("listeners %v, status %+v", r.Listeners, s)
		}
		go func() {
			defer end()
			if err := sendLine(strings.TrimPrefix(r.Listeners[0], "tcp://")); err != nil {
				t.Error(err)
			}
		}()
	}})
	if err != nil || calls != 1 {
		t.Fatalf("%d calls of Started, error %v", calls, err)
	}
	if s := status(); !s.Draining || s.Ready || s.Ledger.Confirmed != (admin.Amount{Lines: 1, Bytes: 6}) {
		t.Errorf("status %+v, ledger %+v", s, s.Ledger)
	}
}

// A reload that the end of the process cut off was logged as failed, behind the account, which is
// the last line of the log.
func TestAccountIsTheLastLineOfTheLog(t *testing.T) {
	cfg := mustParseAll(t, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1")
	var log bytes.Buffer
	logger := newLogs(cfg.Config, nil, &log)
	s := newProcess(cfg, "", logger)
	reading, answer := make(chan struct{}), make(chan struct{})
	defer close(answer)
	s.reread = func() (config.Process, error) {
		close(reading)
		<-answer
		return cfg, nil
	}
	hangups := make(chan os.Signal, 1)
	s.hangups = hangups
	ctx, end := context.WithCancel(t.Context())
	defer end()
	err := s.run(ctx, func(Running) {
		go func() {
			hangups <- syscall.SIGHUP
			<-reading
			end()
		}()
	})
	logger.close()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if err != nil || !strings.Contains(lines[len(lines)-1], `msg="drain ended"`) ||
		strings.Contains(log.String(), "reload failed") || !strings.Contains(log.String(), "reload given up") {
		t.Errorf("error %v; log:\n%s", err, log.String())
	}
}

// sendLine returns when the line has been received or, in the backlog, will be.
func sendLine(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.WriteString(c, "hello\n")
	return err
}

func readConnections(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(io.Discard, c)
		}()
	}
}

func TestRunThatCannotOpenItsListener(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log strings.Builder
	cfg := mustParseAll(t, "-listen", "tcp://"+taken.Addr().String())
	err = Run(t.Context(), cfg, Options{Stderr: &log, Started: func(Running) { t.Error("started") }})
	for _, want := range []string{"linesplit failed", "address already in use"} {
		if err == nil || !strings.Contains(log.String(), want) {
			t.Errorf("error %v, want %q in the log:\n%s", err, want, &log)
		}
	}
}

// The line for a Unix socket had the bare path, which neither -admin nor ctl takes as an address.
func TestAdminListenerIsLoggedAsAdminTakesIt(t *testing.T) {
	socket := "unix://" + filepath.Join(t.TempDir(), "admin.sock")
	for _, tt := range []struct{ value, want string }{{"127.0.0.1:0", "tcp://127.0.0.1:"}, {socket, socket + "\n"}} {
		var log bytes.Buffer
		cfg := mustParseAll(t, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-admin", tt.value)
		ctx, end := context.WithCancel(t.Context())
		if err := Run(ctx, cfg, Options{Stderr: &log, Started: func(Running) { end() }}); err != nil {
			t.Error(err)
		}
		if want := `msg="admin listening" address=` + tt.want; !strings.Contains(log.String(), want) {
			t.Errorf("-admin %s: want %q in the log:\n%s", tt.value, want, &log)
		}
	}
}
