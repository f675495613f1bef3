//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// Senders that write on at SIGTERM, to targets that read or hang, and lines with keys or without:
// each line that linesplit says it has received is confirmed or in the spool, and it says how many
// are. Lines that were read after the workers had ended were lost, or linesplit waited for a disk
// that had room.
func TestEndsWhileSendersWrite(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"overflow":           nil,
		"always":             {"-spool-mode", "always"},
		"overflow with keys": {"-key", "connection"},
		"always with keys":   {"-key", "connection", "-spool-mode", "always"},
	} {
		for _, hangs := range []string{"", ", targets hang"} {
			t.Run(name+hangs, func(t *testing.T) {
				t.Parallel()
				s := newSpoolStage(t, append(args, "-memory", "16MiB", "-spool-size", "256MiB")...)
				a, b := s.StartTwoSinks()
				s.start()
				if hangs != "" {
					a.Pause()
					b.Pause()
				}
				senders := s.writeOn(4, 12_000, 8*time.Millisecond)
				s.waitUntilReceived(5000)
				s.Terminate(0)
				senders.Wait()
				received, torn := s.lastCount("received_lines"), s.lastCount("dropped_lines.torn")
				a.Resume()
				b.Resume()
				if r := s.deliverRest(); r.Distinct != received-torn || r.Corrupt+r.NeverSent > 0 {
					t.Errorf("of %d lines that linesplit had read, and %d torn ones: %s\n%s",
						received-torn, torn, r, r.Details())
				}
			})
		}
	}
}

// writeOn starts n senders that write until linesplit ends their connections. They have so many
// lines each, and pause after each 50.
func (s *spoolStage) writeOn(n int, lines uint64, pause time.Duration) *sync.WaitGroup {
	s.Helper()
	var senders sync.WaitGroup
	for range n {
		s.LastID++
		s.Sent[s.LastID] = lines
		records := testrig.Records(s.LastID, int(lines), 200)
		conn, err := net.Dial("tcp", s.Process.Listeners[0])
		if err != nil {
			s.Fatal(err)
		}
		senders.Go(func() {
			defer conn.Close()
			for len(records) > 0 {
				n, err := conn.Write(records[:min(10_000, len(records))])
				if err != nil {
					return
				}
				records = records[n:]
				time.Sleep(pause)
			}
		})
	}
	return &senders
}

// lastCount returns a count of the report of a linesplit that has ended, or 0 if it is left out.
func (s *spoolStage) lastCount(key string) uint64 {
	s.Helper()
	report := s.DrainReport()
	if !strings.Contains(report, "received_lines=") {
		s.Fatalf("the log has no report: %s", report)
	}
	m := regexp.MustCompile(regexp.QuoteMeta(key) + `=(\d+)`).FindStringSubmatch(report)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// The end of standard input is the end, also if there are files of an earlier run without lines.
// linesplit did not know what was in them at the start, and waited for lines from there for ever.
func TestEndOfInputWithASpoolOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t)
	s.StartTwoSinks()
	s.start()
	s.send(100, 100)
	s.WaitForAllLines()
	s.kill()
	o := testrig.NewProcessOptions(s.targets, append(s.args, "-listen", "stdin:")...)
	o.Stdin = bytes.NewReader(s.NumberedLines(100, 100))
	s.Process = testrig.StartProcess(t, o)
	if code := s.Process.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := s.Tally.Report(s.Sent); r.Err() != nil {
		t.Errorf("%s\n%s", r, r.Details())
	}
}

// The account of a run has the lines that made room for others, those that were in memory at the
// end included, and is a warning then: it said that no line was missing.
func TestAccountHasDroppedLines(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t, "-spool-mode", "always", "-spool-size", "16MiB", "-spool-full", "drop-oldest")
	a, b := s.StartTwoSinks()
	s.start()
	a.Pause()
	b.Pause()
	const lines = 100_000
	s.send(lines, 400)
	s.waitUntilReceived(lines)
	s.Terminate(0)
	dropped, kept := s.lastCount("spool_dropped_lines"), s.lastCount("spool_lines")
	if report := s.DrainReport(); dropped == 0 || kept == 0 || !strings.Contains(report, "level=WARN") {
		t.Errorf("the account is %s", report)
	}
	testrig.ExpectContains(t, s.Process.Stderr(), "dropped to make room", "lines_so_far="+strconv.FormatUint(dropped, 10))
	a.Resume()
	b.Resume()
	if r := s.deliverRest(); r.Distinct < lines-dropped || r.Corrupt+r.NeverSent > 0 {
		t.Errorf("%d lines were dropped: %s\n%s", dropped, r, r.Details())
	}
}

// Without targets, linesplit is ready as long as the spool has room: new senders are welcome.
func TestReadyWhileTheSpoolHasRoom(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t, "-spool-mode", "always", "-spool-size", "16MiB")
	sink := s.StartSink(testrig.SinkOptions{})
	s.start()
	sink.Crash(0)
	testrig.WaitFor(t, "linesplit notices that the target is down", func() bool {
		return s.Process.Metrics().Sum("linesplit_target_connections") == 0
	})
	if status, text := readiness(t, s.Process); status != http.StatusOK {
		t.Errorf("with an empty spool /readyz says %d %s", status, text)
	}
	senders := s.writeOn(2, 100_000, 0) // 40 MB
	testrig.WaitFor(t, "the spool is full", func() bool {
		status, text := readiness(t, s.Process)
		return status == http.StatusServiceUnavailable && strings.Contains(text, "no target is connected")
	})
	if err := sink.Restart(); err != nil {
		t.Fatal(err)
	}
	senders.Wait()
	s.finish()
}

// The disk is full, and each line has to be on it before a target gets it. At SIGTERM targets get
// what linesplit has read: it waited for the disk until the drain timeout, gave them nothing, and
// lost the lines.
func TestEndsWithAFullDisk(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"always": nil, "always with keys": {"-key", "connection"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpoolStage(t, append(args, "-spool-mode", "always", "-spool-size", "16MiB")...)
			mountDisk(t, filepath.Dir(s.dir), "64k")
			s.StartTwoSinks()
			s.start()
			s.send(1000, 200) // more than linesplit reads of a sender that waits
			testrig.WaitFor(t, "linesplit has read lines", func() bool {
				return s.Process.Metrics().Sum("linesplit_memory_bytes") > 4096
			})
			testrig.ExpectContains(t, s.Process.Stderr(), "could not make a segment", "no space left on device")
			if r := s.Tally.Report(s.Sent); r.Distinct > 0 {
				t.Errorf("%d lines that are not on the disk have arrived", r.Distinct)
			}
			s.Terminate(0)
			received, torn := s.lastCount("received_lines"), s.lastCount("dropped_lines.torn")
			if r := s.Tally.Report(s.Sent); received == 0 || r.Distinct != received-torn || r.Corrupt+r.NeverSent > 0 {
				t.Errorf("of %d lines that linesplit had read, and %d torn ones: %s\n%s", received, torn, r, r.Details())
			}
		})
	}
}

// The disk becomes full before SIGTERM, and the spool has not noticed, since it has had room enough.
// Workers ended after a moment all the same, and lines for which the disk had no room were lost
// although the targets were up again.
func TestEndsWithADiskThatHasBecomeFull(t *testing.T) {
	t.Parallel()
	s := newSpoolStage(t, "-spool-size", "16MiB", "-memory", "64MiB")
	mountDisk(t, filepath.Dir(s.dir), "8m")
	a, b := s.StartTwoSinks()
	s.start()
	a.Pause()
	b.Pause()
	const lines = 20_000
	s.send(lines, 300)
	s.waitUntilReceived(lines)
	fillDisk(t, filepath.Dir(s.dir))
	s.Process.Signal(syscall.SIGTERM)
	testrig.WaitFor(t, "the drain", func() bool { return strings.Contains(s.Process.Stderr(), "drain began") })
	time.Sleep(time.Second) // by then workers have ended if they are to end soon
	a.Resume()
	b.Resume()
	if code := s.Process.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	report := s.DrainReport()
	// The last lines may have had room on the disk.
	if r := s.deliverRest(); r.Distinct != lines || r.Corrupt+r.NeverSent > 0 {
		t.Errorf("%s\n%s\n%s", r, r.Details(), report)
	}
}

// fillDisk fills the file system of a directory.
func fillDisk(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// mountDisk mounts a small file system.
func mountDisk(t *testing.T, dir, size string) {
	t.Helper()
	if err := unix.Mount("spool", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("mount -t tmpfs: %v: root may do that", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}
