package acked

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/target"
)

// lumberSink is a process with the server of go-lumber, which can be killed; see
// tools/servers/lumbersink.
type lumberSink struct {
	program, file string
	addr          string
	cmd           *exec.Cmd
}

// newLumberSink returns one that is not started yet, or skips the test.
func newLumberSink(t *testing.T) *lumberSink {
	t.Helper()
	const program = "../../bin/servers/lumbersink"
	if _, err := os.Stat(program); err != nil {
		t.Skip("needs lumbersink, with the server of github.com/elastic/go-lumber: run make servers")
	}
	s := &lumberSink{program: program, file: filepath.Join(t.TempDir(), "events"), addr: "127.0.0.1:0"}
	t.Cleanup(s.kill)
	return s
}

// start starts the process, again after kill, and returns when it listens.
func (s *lumberSink) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(s.program, s.addr, s.file)
	var log bytes.Buffer
	s.cmd.Stderr = &log
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		_, err = s.cmd.StdinPipe() // the end of this process ends the other
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.kill()
		t.Fatalf("lumbersink %s: %v\n%s", s.addr, err, log.String())
	}
	s.addr = strings.TrimSuffix(line, "\n")
}

// kill sends SIGKILL. It may be called again.
func (s *lumberSink) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// events returns how many times each event is in the file, by its message or number.
func (s *lumberSink) events(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range bytes.Lines(text) {
		var e struct {
			Message string
			N       *int
		}
		if json.Unmarshal(line, &e) != nil {
			continue // empty, or a kill cut it off
		}
		if e.N != nil {
			e.Message = fmt.Sprintf(`{"n":%d}`, *e.N)
		}
		count[e.Message]++
	}
	return count
}

// The server of Elastic's go-lumber is killed and started again, several times. What it had not
// acknowledged is sent again, and no line is lost.
func TestLumberjackServerIsKilled(t *testing.T) {
	const lines, kills, perBatch = 20_000, 3, 500
	sink := newLumberSink(t)
	for _, options := range []string{"", "&compress=zlib"} {
		t.Run("options"+options, func(t *testing.T) {
			sink.file, sink.addr = filepath.Join(t.TempDir(), "events"), "127.0.0.1:0"
			sink.start(t)
			a := address(t, fmt.Sprintf("lumberjack://%s?batch-lines=%d&linger=1ms%s", sink.addr, perBatch, options))
			b, _ := mixed(lines)
			left := b.B
			for range kills {
				left = left[sendAndKill(t, a, sink, left, len(b.B)/(kills+1)):]
				sink.start(t)
			}
			c := dialLumber(t, a, &Options{})
			if err := writeAll(t.Context(), c, left); err != nil {
				t.Fatal(err)
			}
			if p := waitFor(t, c, acknowledged(len(left))); p.Err != nil {
				t.Fatal(p.Err)
			}
			sink.kill()
			events, again := sink.events(t), 0
			for line := range strings.Lines(string(b.B)) {
				n := events[strings.TrimSuffix(line, "\n")]
				if n == 0 {
					t.Errorf("lost: %s", line)
				}
				again += max(0, n-1)
			}
			if len(events) != lines || again > kills*perBatch {
				t.Errorf("%d different events, want %d; %d came again", len(events), lines, again)
			}
		})
	}
}

// sendAndKill kills the server when it has acknowledged half of the first size bytes of lines. The
// others are sent then, so that the connection fails. It returns how many bytes were acknowledged.
func sendAndKill(t *testing.T, a target.Address, sink *lumberSink, lines []byte, size int) int {
	t.Helper()
	c := dialLumber(t, a, &Options{})
	size = bytes.LastIndexByte(lines[:size], '\n') + 1
	if err := writeAll(t.Context(), c, lines[:size]); err != nil {
		t.Fatal(err)
	}
	if p := waitFor(t, c, func(p target.Progress) bool { return int(p.Acked) >= size/2 || p.Err != nil }); p.Err != nil {
		t.Fatal(p.Err)
	}
	sink.kill()
	if err := writeAll(t.Context(), c, lines[size:]); err == nil {
		t.Error("all lines were written, and the server is dead")
	}
	p := waitFor(t, c, failed)
	t.Logf("%d bytes acknowledged: %v", p.Acked, p.Err)
	if int(p.Acked) > size {
		t.Errorf("%d bytes are acknowledged, and the server got %d", p.Acked, size)
	}
	return int(p.Acked)
}

// writeAll writes lines in parts, until the connection fails.
func writeAll(ctx context.Context, c *Conn, lines []byte) error {
	for len(lines) > 0 {
		n := len(lines)
		if n > 4<<10 {
			n = bytes.LastIndexByte(lines[:4<<10], '\n') + 1
		}
		b := buffer()
		b.B, b.Lines = lines[:n], bytes.Count(lines[:n], newline)
		c.Announce(b, n, false)
		if _, err := c.Write(b.B, ctx.Err); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}
