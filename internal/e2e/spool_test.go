//go:build linux

package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

var crashes = flag.Int("crashes", 40, "how often linesplit is killed at any moment")

// spoolStage starts one linesplit after the other with the same spool. The targets outlive them.
type spoolStage struct {
	*testrig.Stage
	dir     string
	targets []testrig.Target
	args    []string
	kills   int
}

func newSpoolStage(t *testing.T, args ...string) *spoolStage {
	s := &spoolStage{Stage: testrig.NewStage(t), dir: filepath.Join(t.TempDir(), "spool")}
	s.args = append([]string{"-spool", s.dir, "-spool-size", "64MiB"}, args...)
	return s
}

// newSyncedStage is newSpoolStage for senders that wait, at the address of a listener: an answer to
// them means that each line is at a target, or on disk.
func newSyncedStage(t *testing.T, listen string, args ...string) *spoolStage {
	return newSpoolStage(t, append(args, "-spool-mode", "always", "-spool-sync", "write", "-connections", "2", "-listen", listen)...)
}

// start starts a linesplit with the targets that the stage has now.
func (s *spoolStage) start() {
	s.Helper()
	if s.targets == nil {
		for _, sink := range s.Sinks {
			s.targets = append(s.targets, sink)
		}
	}
	s.Process = s.StartLinesplit(s.targets, s.args...)
}

// kill ends linesplit as a crash does.
func (s *spoolStage) kill() {
	s.kills++
	s.Process.Signal(syscall.SIGKILL)
	testrig.WaitFor(s.T, "the process to end", s.Process.Ended)
}

// send writes n numbered lines on a connection of its own and closes it.
func (s *spoolStage) send(n, size int) {
	s.Helper()
	s.LastID++
	conn := s.Dial()
	s.Write(conn, testrig.Records(s.LastID, n, size))
	conn.Close()
	s.Sent[s.LastID] = uint64(n)
}

// waitUntilReceived waits until linesplit has read all that was sent to it since its start.
func (s *spoolStage) waitUntilReceived(lines int) {
	s.Helper()
	s.WaitForMetric(float64(lines), "linesplit_received_lines_total")
}

// finish delivers what waits, ends linesplit, and demands that each line has arrived.
func (s *spoolStage) finish() testrig.Report {
	s.Helper()
	s.WaitForAllLines()
	s.waitUntilEmpty()
	s.Terminate(0)
	r := s.Tally.Report(s.Sent)
	if r.Torn <= s.broken() {
		r.Torn = 0
	}
	if err := r.Err(); err != nil {
		s.Errorf("%s\n%s", r, r.Details())
	}
	return r
}

// deliverRest starts linesplit again, ends it once nothing waits in the spool, and returns the
// account of all lines.
func (s *spoolStage) deliverRest() testrig.Report {
	s.Helper()
	s.start()
	s.waitUntilEmpty()
	s.Terminate(0)
	return s.Tally.Report(s.Sent)
}

// waitUntilEmpty waits until nothing waits in the spool.
func (s *spoolStage) waitUntilEmpty() {
	s.Helper()
	testrig.WaitFor(s.T, "nothing waits in the spool", func() bool {
		m := s.Process.Metrics()
		return m.Sum("linesplit_spool_unconfirmed_lines")+m.Sum("linesplit_spool_unscanned_bytes") == 0
	})
}

// broken returns how many connections to targets kills may have ended in the middle of a line.
func (s *spoolStage) broken() uint64 {
	const each = 4 // -connections, at most
	return uint64(s.kills * each * len(s.Sinks))
}

// What linesplit has read when it is killed comes from the spool of the next one.
func TestKilledWithLinesInTheSpool(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t, "-spool-mode", "always")
	a, b := s.StartTwoSinks()
	s.start()
	a.Pause()
	b.Pause()
	const lines = 20_000
	s.send(lines, 300)
	s.waitUntilReceived(lines)
	s.kill()
	a.Resume()
	b.Resume()
	s.start()
	s.finish()
}

// linesplit is killed several times, at random moments. Each connection has lost at most its end:
// what linesplit had not read, or was about to write.
func TestKilledAtAnyMoment(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	s := newSpoolStage(t, "-spool-mode", "always", "-connections", "2")
	s.StartTwoSinks()
	written := uint64(0) // lines, at the least
	for range *crashes {
		s.start()
		written += s.crashWithin(rng, time.Duration(rng.IntN(40))*time.Millisecond)
	}
	r := s.deliverRest()
	if r.Corrupt+r.NeverSent > 0 || r.Distinct < written {
		t.Errorf("seed %d: of %d lines in the spool %d arrived: %s\n%s", seed, written, r.Distinct, r, r.Details())
	}
	if r.Torn > s.broken() {
		t.Errorf("seed %d: %d lines torn, want %d at most", seed, r.Torn, s.broken())
	}
	for _, sender := range r.Senders {
		if sender.Lost > 0 && (len(sender.LostSpans) != 1 || sender.LostSpans[0].First != sender.Distinct) {
			t.Errorf("seed %d: sender %d has lost lines before others that arrived: %v", seed, sender.ID, sender.LostSpans)
		}
	}
}

// crashWithin lets a few senders write, one of the targets hang now and then, and kills linesplit
// after some time. It returns how many lines linesplit had written to the spool shortly before.
func (s *spoolStage) crashWithin(rng *rand.Rand, d time.Duration) (written uint64) {
	s.Helper()
	var senders sync.WaitGroup
	for range 1 + rng.IntN(3) {
		s.LastID++
		n := 1 + rng.IntN(4000)
		s.Sent[s.LastID] = uint64(n)
		lines := testrig.Records(s.LastID, n, 100+rng.IntN(400))
		conn, err := net.Dial("tcp", s.Process.Listeners[0])
		if err != nil {
			s.Fatal(err)
		}
		piece := 1 + rng.IntN(100_000)
		senders.Go(func() {
			defer conn.Close()
			for len(lines) > 0 {
				n, err := conn.Write(lines[:min(piece, len(lines))])
				if err != nil {
					return
				}
				lines = lines[n:]
			}
		})
	}
	sink := s.Sinks[rng.IntN(len(s.Sinks))]
	if rng.IntN(2) == 0 {
		sink.Pause()
	}
	time.Sleep(d) // the kill may come at any moment
	if m, err := s.Process.Scrape(); err == nil {
		written = uint64(m.Sum("linesplit_spool_appended_lines_total"))
	}
	s.kill()
	senders.Wait()
	sink.Resume()
	return written
}

// An outage of all targets holds up no sender, although it is ten times as long as memory lasts.
// What has waited arrives, with new lines among it, and memory stays in its budget.
func TestOutageLongerThanMemory(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t, "-memory", "4MiB", "-connections", "2")
	a, b := s.StartTwoSinks()
	s.start()
	a.Pause()
	b.Pause()
	for range 10 {
		s.send(10_000, 400) // each more than memory holds at 4 MB
	}
	s.waitUntilReceived(s.Sent.Lines())
	m := s.Process.Metrics()
	if n := m.Sum("linesplit_memory_bytes"); n > 4<<20 {
		t.Errorf("%.0f bytes of memory are held", n)
	}
	if n := m.Sum("linesplit_spool_bytes"); n < 30e6 {
		t.Errorf("%.0f bytes are in the spool", n)
	}
	a.Resume()
	b.Resume()
	s.send(10_000, 400)
	r := s.finish()
	if r.Duplicated > 20_000 {
		t.Errorf("%d duplicates of lines that never left their target", r.Duplicated)
	}
}

// At SIGTERM what is not confirmed stays in the spool: linesplit ends within a second, and says how
// much waits. The next one has other targets.
func TestEndsAtOnceWithASpool(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"overflow", "always"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newSpoolStage(t, "-spool-mode", mode)
			a, b := s.StartTwoSinks()
			s.start()
			a.Pause()
			b.Pause()
			const lines = 20_000
			s.send(lines, 300)
			s.waitUntilReceived(lines)
			began := time.Now()
			s.Terminate(0)
			if took := time.Since(began); took > time.Second {
				t.Logf("it took %v; on an idle machine it takes less than a second", took)
			}
			last := s.Process.LastLines(1)
			if !bytes.Contains([]byte(last), fmt.Appendf(nil, "spool_lines=%d", lines)) {
				t.Errorf("the last line of the log does not say that %d lines wait: %s", lines, last)
			}
			c := s.StartSink(testrig.SinkOptions{})
			s.targets = []testrig.Target{c}
			s.start()
			s.finish()
			a.Resume()
			b.Resume()
		})
	}
}

// With two groups, the outage of one neither holds up the other nor repeats its lines.
func TestSpoolOfGroups(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"overflow", "always"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			archive := testrig.NewStage(t)
			b := archive.StartSink(testrig.SinkOptions{})
			s := newSpoolStage(t, "-spool-mode", mode, "-memory", "4MiB", "-group", "archive="+b.Target())
			s.StartSink(testrig.SinkOptions{})
			s.start()
			b.Pause()
			for range 3 {
				s.send(10_000, 400)
			}
			s.WaitForAllLines()
			b.Resume()
			s.send(1_000, 400)
			archive.Sent = s.Sent
			archive.Process = s.Process
			archive.WaitForAllLines()
			if r := s.finish(); r.Duplicated > 0 {
				t.Errorf("group main: %s", r)
			}
			if r := archive.Tally.Report(s.Sent); r.Err() != nil {
				t.Errorf("group archive: %s", r)
			}
		})
	}
}

// Lines with keys stay in order through the spool.
func TestSpoolKeepsTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"overflow", "always"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newSpoolStage(t, "-spool-mode", mode, "-memory", "4MiB", "-key", "connection")
			a, b := s.StartTwoSinks()
			s.start()
			s.send(1_000, 400)
			s.WaitForAllLines()
			a.Pause()
			b.Pause()
			for range 4 {
				s.send(10_000, 400)
			}
			s.waitUntilReceived(s.Sent.Lines())
			a.Resume()
			b.Resume()
			s.send(10_000, 400)
			if r := s.finish(); r.OutOfOrder > 0 {
				t.Errorf("%d lines have overtaken others: %s", r.OutOfOrder, r)
			}
		})
	}
}

// A second process does not touch a spool that is in use.
func TestSpoolInUse(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t)
	s.StartSink(testrig.SinkOptions{})
	s.start()
	other := testrig.StartProcess(t, testrig.ProcessOptions{
		Args: append([]string{"-listen", "tcp://127.0.0.1:0", "-target", s.targets[0].Target()}, s.args...),
	})
	if code := other.Wait(); code == 0 {
		t.Error("exit code 0")
	}
	testrig.ExpectContains(t, other.Stderr(), s.dir, "another process uses it")
	s.send(100, 100)
	s.finish()
}

// The files of a spool are for its owner alone.
func TestModesOfTheSpool(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t, "-spool-mode", "always")
	s.StartSink(testrig.SinkOptions{})
	s.start()
	s.send(100, 100)
	s.WaitForAllLines()
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	s.finish()
}
