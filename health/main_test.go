package health

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/target"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "16") // those in parallel wait for time to pass, not for processors; the command line wins
	goleak.VerifyTestMain(m)
}

// wait bounds what must happen, limit what a check must give up on.
const (
	wait  = time.Minute
	limit = 3 * time.Second
)

// server answers each connection with serve and closes it. It ends, with all that it started,
// when the test does. Its address is of the scheme given, but it speaks TLS only if serve does.
func server(t *testing.T, scheme string, serve func(conn net.Conn)) target.Address {
	t.Helper()
	network, where := "tcp", "127.0.0.1:0"
	if scheme == target.SchemeUnix {
		network, where = "unix", t.TempDir()+"/s"
	}
	ln, err := net.Listen(network, where)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(wait))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return target.Address{Scheme: scheme, Host: ln.Addr().String()}
}

// answering reads until what the client says ends as given, and answers.
func answering(request, answer string) func(net.Conn) {
	return func(conn net.Conn) {
		if until(conn, request) {
			io.WriteString(conn, answer)
		}
	}
}

func until(r io.Reader, end string) bool {
	b, got := bufio.NewReader(r), ""
	for !strings.HasSuffix(got, end) {
		c, err := b.ReadByte()
		if err != nil {
			return false
		}
		got += string(c)
	}
	return true
}

// dripping answers too, a byte at a time, and never gets to the end before the check does.
func dripping(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := 0; ; i++ {
			if _, err := conn.Write([]byte{answer[i%len(answer)]}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// hanging reads and never answers.
func hanging(conn net.Conn) { io.Copy(io.Discard, conn) }

// closing closes the connection without an answer.
func closing(net.Conn) {}

func mustCheck(t *testing.T, s Settings) Check {
	t.Helper()
	c, err := NewCheck(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

var errBad = errors.New("bad")

// rig is a checker whose checks and background dials are functions of the test.
type rig struct {
	*Checker
	target  *target.Target
	begun   time.Time
	checked []time.Duration // when each began, since begun
}

func newRig(o Options, result func(ctx context.Context, n int) error) *rig {
	r := &rig{target: target.New(target.Address{Scheme: target.SchemeTCP, Host: "h:1"}, nil), begun: time.Now()}
	r.Checker = New([]*target.Target{r.target}, o)
	r.check = func(ctx context.Context, _ target.Address) error {
		r.checked = append(r.checked, time.Since(r.begun))
		return result(ctx, len(r.checked))
	}
	r.dial = r.check
	return r
}

// run runs the checker for d.
func (r *rig) run(t *testing.T, d time.Duration, meanwhile func()) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	if meanwhile != nil {
		meanwhile()
	}
	<-ended
}

// gap returns the time between check n-1 and check n, counted from 1.
func (r *rig) gap(n int) time.Duration { return r.checked[n-1] - r.checked[n-2] }

// about reports whether d is want, within the jitter.
func about(d, want time.Duration) bool { return d >= want*89/100 && d <= want*111/100 }
