package asynclog

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a writer that blocks until it is opened.
type gate struct {
	open chan struct{}
	bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Buffer.Write(p)
}

const line = "level=INFO msg=something 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\n"

func TestLinesAreWrittenInOrder(t *testing.T) {
	var out bytes.Buffer
	w := New(&out)
	var want strings.Builder
	for i := range 1000 {
		l := strings.Repeat("x", i) + "\n"
		want.WriteString(l)
		w.Write([]byte(l))
	}
	w.Close(time.Minute)
	if out.String() != want.String() || w.Dropped() != 0 {
		t.Errorf("%d bytes written, %d lines dropped, want all %d bytes", out.Len(), w.Dropped(), want.Len())
	}
}

func TestStoppedReaderBlocksNoWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		w := New(g)
		const lines = 100_000
		var writers sync.WaitGroup
		for range 10 {
			writers.Go(func() {
				for range lines / 10 {
					w.Write([]byte(line))
				}
			})
		}
		writers.Wait()
		begin := time.Now()
		w.Close(time.Second)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		close(g.open)
		synctest.Wait()
		written := bytes.Count(g.Bytes(), []byte{'\n'})
		if written+int(w.Dropped()) != lines || g.Len() < capacity-len(line) || g.Len() > 2*capacity {
			t.Errorf("%d lines written, %d dropped, %d bytes kept", written, w.Dropped(), g.Len())
		}
	})
}

// broken is a pipe whose reader has ended.
type broken struct{ takes int }

func (b *broken) Write(p []byte) (int, error) {
	n := min(b.takes, len(p))
	b.takes -= n
	return n, errors.New("broken pipe")
}

func TestLinesThatABrokenPipeRefusesAreCounted(t *testing.T) {
	w := New(&broken{takes: 3})
	for range 10 {
		w.Write([]byte("ab\n"))
	}
	w.Close(time.Minute)
	if n := w.Dropped(); n != 9 {
		t.Errorf("%d lines dropped, want 9", n)
	}
	w.Write([]byte("late\n"))
	if n := w.Dropped(); n != 10 {
		t.Errorf("%d lines dropped, want 10: the last came after Close", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	w := New(writerFunc(func(p []byte) (int, error) { return len(p), nil }))
	defer w.Close(time.Minute)
	l := []byte(line)
	b.ReportAllocs()
	for b.Loop() {
		w.Write(l)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
