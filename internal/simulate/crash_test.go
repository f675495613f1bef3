package simulate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/linebuf"
)

// fakeProgram is the simplest program that loses nothing when it is killed: it keeps every line,
// and sends all of them to one target each time that it starts. The fields set its faults.
type fakeProgram struct {
	loseEvery int    // drops each n-th line
	miscount  uint64 // lines that the ledger reports in excess, after each start
	repeats   bool   // sends everything twice, although it was not killed
	fail      error  // of Start

	addr string
	ln   net.Listener // nil: not running
	out  net.Conn
	runs sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	cond   sync.Cond  // kept or ended has changed
	kept   []byte
	ended  bool
	count  int // lines read, of all runs
	ledger Ledger
}

func (f *fakeProgram) Start(_ context.Context, targets []string) (string, error) {
	if f.fail != nil {
		return "", f.fail
	}
	addr := f.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var err error
	if f.ln, err = net.Listen("tcp", addr); err != nil {
		return "", err
	}
	if f.out, err = net.Dial("tcp", targets[0]); err != nil {
		return "", err
	}
	f.addr = f.ln.Addr().String()
	f.cond.L = &f.mu
	f.ended, f.ledger = false, Ledger{Received: linebuf.Count{Lines: f.miscount}}
	f.runs.Go(f.accept)
	f.runs.Go(f.write)
	return f.addr, nil
}

func (f *fakeProgram) Ledger() (Ledger, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ledger, nil
}

func (f *fakeProgram) Kill() {
	if f.ln == nil {
		return
	}
	f.ln.Close()
	f.out.Close()
	f.mu.Lock()
	f.ended = true
	f.cond.Broadcast()
	f.mu.Unlock()
	f.runs.Wait()
	f.ln = nil
}

func (f *fakeProgram) Stop() error {
	f.Kill()
	return nil
}

func (f *fakeProgram) accept() {
	for {
		conn, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.runs.Go(func() { f.read(conn) })
	}
}

// read ends when the sender closes. No sender is connected when a program is killed.
func (f *fakeProgram) read(conn net.Conn) {
	defer conn.Close()
	var text []byte
	b := make([]byte, 64<<10)
	for {
		n, err := conn.Read(b)
		text = append(text, b[:n]...)
		whole := bytes.LastIndexByte(text, '\n') + 1
		f.keep(text[:whole])
		text = append(text[:0], text[whole:]...)
		if err != nil {
			return
		}
	}
}

func (f *fakeProgram) keep(lines []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for line := range bytes.Lines(lines) {
		f.count++
		f.ledger.Received.Add(linebuf.Count{Lines: 1, Bytes: uint64(len(line))})
		f.ledger.Spooled = f.ledger.Received
		if f.loseEvery == 0 || f.count%f.loseEvery > 0 {
			f.kept = append(f.kept, line...)
		}
		if f.repeats {
			f.ledger.Confirmed = f.ledger.Received
			f.kept = append(f.kept, line...)
		}
	}
	f.cond.Broadcast()
}

// write sends what is kept, from its beginning.
func (f *fakeProgram) write() {
	for done := 0; ; {
		f.mu.Lock()
		for len(f.kept) == done && !f.ended {
			f.cond.Wait()
		}
		next := f.kept[done:]
		ended := f.ended
		f.mu.Unlock()
		if ended {
			return
		}
		if _, err := f.out.Write(next); err != nil {
			return
		}
		done += len(next)
	}
}

func TestCrashDemo(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    *fakeProgram
		want string // pattern of the error; "" for no error
	}{
		{name: "lossless", p: &fakeProgram{}},
		{name: "loses", p: &fakeProgram{loseEvery: 100},
			want: `^not every line arrived as it was sent: [1-9]\d* of \d+ lines lost$`},
		{name: "miscounts", p: &fakeProgram{miscount: 3}, want: `: \d+ lines \(\d+ bytes\) sent, but \d+ \(\d+\) received`},
		{name: "repeats", p: &fakeProgram{repeats: true}, want: `duplicated, but only [1-9]\d* were received before the kill`},
		{name: "does not start", p: &fakeProgram{fail: errFake}, want: `^start linesplit: port 9000 is taken$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := CrashDemo(t.Context(), &out, tt.p, short)
			if tt.want == "" && err != nil ||
				tt.want != "" && (err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error())) {
				t.Errorf("error = %v, want %q\n%s", err, tt.want, out.String())
			}
			if tt.want == "" {
				for _, part := range []string{`lines arrived whole: 0 lost, 0 torn, [1-9]`, `all targets hang`,
					`killed linesplit \(SIGKILL\), with [1-9]`, `started linesplit again`, `The senders paused before the kill`} {
					if !regexp.MustCompile(part).MatchString(out.String()) {
						t.Errorf("no %q in:\n%s", part, out.String())
					}
				}
			}
			checkWidth(t, out.String())
		})
	}
}

// An interrupt before the kill ends the demonstration without it.
func TestCrashDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	o := short
	o.Duration = time.Minute
	if err := CrashDemo(ctx, &out, &fakeProgram{}, o); err != nil {
		t.Error(err)
	}
	if text := out.String(); !strings.Contains(text, "interrupted: all ") || strings.Contains(text, "killed linesplit") {
		t.Errorf("got:\n%s", text)
	}
}

// Where linesplit cannot say what it has received, it is not killed: lines might be lost.
func TestCrashDemoWithoutALedger(t *testing.T) {
	var out bytes.Buffer
	err := CrashDemo(t.Context(), &out, silentProgram{&fakeProgram{}}, short)
	if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(out.String(), "killed linesplit") {
		t.Errorf("error = %v\n%s", err, out.String())
	}
}

type silentProgram struct{ *fakeProgram }

func (silentProgram) Ledger() (Ledger, error) { return Ledger{}, io.ErrUnexpectedEOF }
