//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/internal/testrig"
)

// Linesplit does not interpret what is between two newlines.
func TestLinesPassByteForByte(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	garbage := make([]byte, 1<<20)
	random.Read(garbage)
	tests := []struct {
		name  string
		bytes []byte
		step  int // bytes per write; 0: all at once
	}{
		{"garbage", append(garbage, '\n'), 0},
		{"one byte at a time", []byte("a\nbc\n\n{\"k\":1}\r\n\x00\x00\n\xff\xfe\n"), 1},
		{"empty lines", bytes.Repeat([]byte("\n"), 50_000), 0},
		{"CRLF", bytes.Repeat([]byte("GET / HTTP/1.1\r\n\r\n"), 10_000), 0},
		{"split CRLF", bytes.Repeat([]byte("x\r\n"), 100), 2},
		{"NUL", append(make([]byte, 100_000), "\n"...), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewForeignStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b})
			conn := s.Dial()
			conn.SetNoDelay(true)
			for rest := test.bytes; len(rest) > 0; {
				n := len(rest)
				if test.step > 0 {
					n = min(n, test.step)
				}
				s.Write(conn, rest[:n])
				rest = rest[n:]
			}
			conn.Close()
			want := make(map[string]int)
			for line := range bytes.Lines(test.bytes) {
				want[strings.TrimSuffix(string(line), "\n")]++
				s.OtherLines++
			}
			testrig.WaitFor(t, "the lines arrive", func() bool { return a.Lines()+b.Lines() >= s.OtherLines })
			if diff := cmp.Diff(want, s.Tally.Foreign()); diff != "" {
				t.Errorf("lines differ (-sent +received):\n%.2000s", diff)
			}
			s.FinishLineMode(testrig.NoDuplicates)
		})
	}
}

// Lines as long as the buffers or as the limit, and one byte shorter or longer.
func TestLinesAtTheLimits(t *testing.T) {
	t.Parallel()
	const buffer, limit = 16 << 10, 1 << 20
	tests := []struct {
		name     string
		oversize string
		sizes    []int
		dropped  float64
	}{
		{"around the buffer", "drop", []int{buffer - 1, buffer, buffer + 1, 2 * buffer, 2*buffer + 1,
			8*buffer - 1, 8 * buffer, 8*buffer + 1}, 0},
		{"below the limit", "close", []int{limit - 1, limit}, 0},
		{"above the limit", "drop", []int{limit + 1, limit + buffer, 3*limit + 1}, 1},
	}
	for _, test := range tests {
		for _, size := range test.sizes {
			t.Run(fmt.Sprintf("%s/%d", test.name, size), func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				sink := s.StartSink(testrig.SinkOptions{})
				s.StartLineMode([]testrig.Target{sink}, "-oversize", test.oversize)
				conn := s.Dial()
				s.Write(conn, s.NumberedLines(10, 150))
				if test.dropped > 0 {
					s.OtherLines++
					s.Write(conn, testrig.Records(0, 1, size))
				} else {
					s.Write(conn, s.NumberedLines(3, size))
				}
				s.Write(conn, s.NumberedLines(10, 150))
				conn.Close()
				s.FinishLineMode(testrig.NoDuplicates)
			})
		}
	}
}

// The other two policies for lines that are too long.
func TestOversizePolicies(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	long := append(bytes.Repeat([]byte("0123456789"), 10_000), '\n')
	t.Run("truncate", func(t *testing.T) {
		t.Parallel()
		s := testrig.NewForeignStage(t)
		s.StartLineMode([]testrig.Target{s.StartSink(testrig.SinkOptions{})}, "-max-line", fmt.Sprint(limit),
			"-oversize", "truncate")
		conn := s.Dial()
		s.Write(conn, s.NumberedLines(10, 150))
		s.Write(conn, long)
		s.Write(conn, s.NumberedLines(10, 150))
		conn.Close()
		s.OtherLines = 1
		s.WaitForAllLines()
		want := map[string]int{string(long[:limit-1]): 1}
		if diff := cmp.Diff(want, s.Tally.Foreign()); diff != "" {
			t.Errorf("lines differ (-want +received):\n%.2000s", diff)
		}
		s.WaitForMetric(1, "linesplit_truncated_lines_total")
		s.FinishLineMode(testrig.NoDuplicates)
	})
	t.Run("close", func(t *testing.T) {
		t.Parallel()
		s := testrig.NewStage(t)
		s.StartLineMode([]testrig.Target{s.StartSink(testrig.SinkOptions{})}, "-max-line", fmt.Sprint(limit),
			"-oversize", "close")
		conn := s.Dial()
		s.Write(conn, s.NumberedLines(10, 150))
		s.WaitForAllLines()
		conn.Write(long)
		conn.SetReadDeadline(time.Now().Add(testrig.Patience))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
			t.Errorf("the connection is still open: read %d bytes, %v", n, err)
		}
		s.OtherLines = 1
		s.StartSenders(1, testrig.SenderOptions{Lines: 100})
		s.WaitForSenders()
		s.FinishLineMode(testrig.NoDuplicates)
	})
}

// A broken or hostile sender never sends a newline.
func TestEndlessLineIsDroppedAndOtherSendersAreServed(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b})
	s.StartSenders(2, testrig.SteadySender())
	hog := s.Dial()
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 256 {
		s.Write(hog, chunk)
	}
	s.Write(hog, []byte("\n"))
	s.Write(hog, s.NumberedLines(100, 200)) // its next lines are delivered
	hog.Close()
	s.OtherLines = 1
	s.WaitForLines(s.Tally, 2_000)
	s.CheckMemory(64<<20, s.Process.Memory("VmHWM"), "peak memory")
	s.WaitForMetric(256<<20, "linesplit_dropped_bytes_total", testrig.Label("reason", "oversize"))
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}

// 1,000 senders that never send a newline, each within the limit for a line.
func TestUnfinishedLinesStayWithinTheMemoryBudget(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const senders, budget = 1_000, 64 << 20
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, "-memory", fmt.Sprint(budget))
	good := s.Dial()
	s.Write(good, s.NumberedLines(100, 600)) // before the others: while it is idle, it takes no memory
	hogs := s.DialMany(senders)
	unfinished := bytes.Repeat([]byte("x"), 1_000_000)
	var writing sync.WaitGroup
	for _, hog := range hogs {
		writing.Go(func() { hog.Write(unfinished) })
	}
	s.WaitForMetric(1, "linesplit_dropped_lines_total", testrig.Label("reason", "memory"))
	// Each of these writes arrives as a whole. Of a larger one, a line may come in two parts, far
	// apart if the machine is busy, and linesplit drops what makes no headway meanwhile.
	for range 100 {
		s.Write(good, s.NumberedLines(50, 600))
		s.WaitForAllLines()
	}
	s.StartSenders(2, testrig.SteadySender()) // senders that come later are served too
	s.WaitForLines(s.Tally, 4_000)
	writing.Wait() // linesplit reads on, because it drops unfinished lines when the budget is used up
	m := s.Process.Metrics()
	used, limit := m.Sum("linesplit_memory_bytes"), m.Sum("linesplit_memory_limit_bytes")
	if used > limit*1.1 || limit != budget {
		t.Errorf("%.0f bytes used, with a budget of %.0f", used, limit)
	}
	const program = 16 << 20 // its code, and the stacks of a thousand connections
	s.CheckMemory(2*budget+program, s.Process.Memory("VmHWM"), "peak memory with a budget of 64 MiB")
	s.StopSenders()
	good.Close()
	for _, hog := range hogs {
		hog.SetLinger(0)
		hog.Close()
	}
	s.OtherLines = senders // each sender's line is dropped, as torn or for lack of memory
	s.FinishLineMode(testrig.NoDuplicates)
}
