package splitter

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/intake"
)

// testLog is a log that goroutines write to while the test reads it.
type testLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// with returns the lines that have all of the parts.
func (l *testLog) with(parts ...string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
line:
	for line := range strings.Lines(l.text.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue line
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func (l *testLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// Without the admin listener nothing told the operator that lines were dropped: no line in the log,
// at any level.
func TestDroppedLinesAreLogged(t *testing.T) {
	for name, tt := range map[string]struct {
		policy Oversize
		in     string
		broken bool // the sender resets its connection
		want   []string
	}{
		"oversize": {in: "short\n" + strings.Repeat("x", 99) + "\n",
			want: []string{`msg="lines dropped"`, "reason=oversize", "lines=1", "bytes=100", "max_line=64"}},
		"close": {policy: Close, in: "short\n" + strings.Repeat("x", 99) + "\nnext\n",
			want: []string{`msg="lines dropped"`, "reason=oversize", "lines=1", "bytes=100", "max_line=64"}},
		"closed": {policy: Close, in: "short\n" + strings.Repeat("x", 99) + "\nnext\n",
			want: []string{`msg="lines dropped"`, "reason=closed", "lines=1", "bytes=5"}},
		"truncated": {policy: Truncate, in: "short\n" + strings.Repeat("x", 99) + "\n",
			want: []string{`msg="lines truncated"`, "reason=truncated", "lines=1", "bytes=36", "max_line=64"}},
		"torn": {in: "short\nhalf", broken: true,
			want: []string{`msg="lines dropped"`, "reason=torn", "lines=1", "bytes=4", "err=", "reset"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log testLog
			r := newRig(t, listenTCP(t), plenty, Options{
				Tuning: Tuning{MaxLine: 64, Oversize: tt.policy}, Logger: log.logger(),
			})
			c := dial(t, r.addr)
			write(t, c, tt.in)
			r.until("the first line", func() bool { return r.Stats().Queued.Lines > 0 })
			if tt.broken {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
			want := append(tt.want, "level=WARN", "listener=tcp://"+r.addr.String(), "peer="+c.LocalAddr().String())
			r.until("the loss in the log", func() bool { return len(log.with(want...)) > 0 })
		})
	}
}

func TestLinesDroppedForMemoryAreLogged(t *testing.T) {
	var log testLog
	const budget = 512 << 10
	r := newRig(t, listenTCP(t), budget, Options{Tuning: Tuning{MaxLine: 128 << 10}, Logger: log.logger()})
	for range 6 {
		write(t, dial(t, r.addr), strings.Repeat("x", 100<<10))
	}
	r.until("the loss in the log", func() bool {
		return len(log.with(`msg="lines dropped"`, "level=WARN", "reason=memory", "lines=1", "peer=127.0.0.1:")) > 0
	})
}

// What is dropped within one period makes two lines: the first at once, the sum at its end.
func TestDroppedLinesAreLoggedInSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testLog
		ln := newFakeListener()
		r := newRig(t, ln, plenty, Options{Tuning: Tuning{MaxLine: 16}, Logger: log.logger()})
		near, far := net.Pipe()
		ln.next <- far
		long := strings.Repeat("x", 99) + "\n"
		for range 1000 {
			write(t, near, long)
		}
		near.Close()
		synctest.Wait()
		if n := len(log.with("lines dropped")); n != 1 {
			t.Fatalf("%d lines at once, want 1", n)
		}
		time.Sleep(time.Minute)
		r.FlushLog()
		if all, sum := log.with("lines dropped"), log.with("lines=999", "bytes=99900"); len(all) != 2 || len(sum) != 1 {
			t.Errorf("want two lines, the second for 999 lines and 99900 bytes:\n%s", strings.Join(all, ""))
		}
	})
}

func TestFlushLogTellsTheRest(t *testing.T) {
	var log testLog
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxLine: 16}, Logger: log.logger()})
	c := dial(t, r.addr)
	for i := range 3 {
		write(t, c, strings.Repeat("x", 99)+"\n")
		r.until("the drop", func() bool { return dropped(r.Stats(), intake.ReasonOversize).Lines == uint64(i+1) })
	}
	c.Close()
	r.end()
	r.FlushLog()
	if all := log.with("lines dropped"); len(all) < 2 || !strings.Contains(all[len(all)-1], "reason=oversize") {
		t.Errorf("want a line at once and one at the end:\n%s", strings.Join(all, ""))
	}
}
