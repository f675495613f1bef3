package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
	"linesplit/spool"
)

// openSpool opens a spool for the groups main and archive, and runs it until the result is called.
func openSpool(t *testing.T, dir string, pool *linebuf.Pool) (s *spool.Spool, stop func()) {
	t.Helper()
	s, err := spool.Open(spool.Options{Dir: dir, Size: spool.MinSize, Groups: []string{"main", "archive"}, Buffers: pool})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	return s, sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// fillSpool leaves buffers in a spool, each of which waits for the groups.
func fillSpool(t *testing.T, dir string, f framing.Framing, groups linebuf.Groups, buffers ...string) {
	t.Helper()
	pool := linebuf.NewPool(0)
	s, stop := openSpool(t, dir, pool)
	defer stop()
	for _, text := range buffers {
		b := pool.MustGet(len(text))
		b.B, b.Framing, b.Read = append(b.B, text...), f, time.Now().Add(-time.Hour)
		b.Lines = f.Count(b.B)
		for {
			room := s.Room()
			_, err := s.Append(b, groups, groups)
			if err == nil {
				break
			}
			if !errors.Is(err, spool.ErrBusy) {
				t.Fatal(err)
			}
			<-room
		}
	}
}

// inSegments returns the one segment file that has a text, and the offset.
func inSegments(t *testing.T, dir, text string) (file string, at int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(content, []byte(text)); at >= 0 {
			return file, at
		}
	}
	t.Fatalf("no segment has %q", text)
	return "", 0
}

func damage(t *testing.T, dir, text string) {
	t.Helper()
	file, at := inSegments(t, dir, text)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("#"), int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// spoolRun is a command line of linesplit spool, and what it has to do.
type spoolRun struct {
	args           []string
	code           int
	stdout, stderr string // parts; empty: nothing at all
}

func (r spoolRun) check(t *testing.T) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := runCommand(t.Context(), "spool", r.args, &stdout, &stderr)
	if code != r.code || !strings.Contains(stdout.String(), r.stdout) || !strings.Contains(stderr.String(), r.stderr) {
		t.Errorf("%q: exit code %d, want %d, %q and %q\n%s%s", r.args, code, r.code, r.stdout, r.stderr, &stdout, &stderr)
	}
	if r.stdout == "" && stdout.Len() > 0 || r.stderr == "" && stderr.Len() > 0 {
		t.Errorf("%q: both streams: %s%s", r.args, &stdout, &stderr)
	}
}

func TestSpoolCommandLines(t *testing.T) {
	dir := t.TempDir()
	for _, r := range []spoolRun{
		{[]string{}, exitUsage, "", "which directory? Write linesplit spool DIR"},
		{[]string{"verify"}, exitUsage, "", "which directory? Write linesplit spool verify DIR"},
		{[]string{"check", dir}, exitUsage, "", `unknown verb "check": write linesplit spool list, or verify, or export DIR`},
		{[]string{"list", dir, "x"}, exitUsage, "", `unexpected argument "x": linesplit spool takes one directory`},
		{[]string{"-group", "main", dir}, exitUsage, "", `-group "main": only valid with export`},
		{[]string{"verify", "-quarantined", dir}, exitUsage, "", `-quarantined "true": only valid with export`},
		{[]string{"export", "-json", dir}, exitUsage, "", `-json "true": only valid with list and verify`},
		{[]string{"export", "-quarantined", "-framing", "nul", dir}, exitUsage, "", "-framing"},
		{[]string{"export", "-framing", "auto", dir}, exitUsage, "", "one of newline, octet and nul"},
		{[]string{dir}, exitCannotRun, "", "is no directory of a spool"},
		{[]string{"export", dir}, exitCannotRun, "", "is no directory of a spool"},
		{[]string{filepath.Join(dir, "none")}, exitCannotRun, "", "no such file or directory"},
		{[]string{"-help"}, exitOK, "linesplit spool verify DIR", ""},
	} {
		r.check(t)
	}
}

func TestSpoolListsAndExports(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	fillSpool(t, dir, framing.Newline, 0b11, "both one\nboth two\n")
	fillSpool(t, dir, framing.Newline, 0b10, "archive only\n")
	fillSpool(t, dir, framing.Octet, 0b01, "11 main\nonly\n\n")
	for _, r := range []spoolRun{
		{[]string{dir}, exitOK, "unconfirmed  4 lines, 45 B\n", ""},
		{[]string{dir}, exitOK, "main     3              32 B\n", ""},
		{[]string{"list", dir}, exitOK, "archive  3              31 B\n", ""},
		{[]string{"verify", dir}, exitOK, "all lines in the segments are as they were written\n", ""},
		{[]string{"export", dir}, exitOK, "both one\nboth two\narchive only\nmain\\nonly\\n\n", "exported 4 lines, 45 B, 1 of them altered\n"},
		{[]string{"export", dir, "-group", "archive"}, exitOK, "both one\nboth two\narchive only\n", "exported 3 lines, 31 B\n"},
		{[]string{"export", "-group", "main", "-framing", "nul", dir}, exitOK, "both one\x00both two\x00main\nonly\n\n\x00", "exported 3 lines"},
		{[]string{"export", "-embedded-newline", "refuse", dir}, exitFailed, "both one\nboth two\narchive only\n", "1 of them left out"},
		{[]string{"export", "-group", "archiv", dir}, exitFailed, "", `no segment has lines for a group "archiv": there are main, archive`},
		{[]string{"export", "-quarantined", dir}, exitOK, "", "exported 0 lines"},
	} {
		r.check(t)
	}
}

// A damaged frame is left out and counted, by each of the verbs that read lines.
func TestSpoolWithDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	fillSpool(t, dir, framing.Newline, 0b11, "good\n", "damaged\n", "good as well\n")
	damage(t, dir, "damaged")
	for _, r := range []spoolRun{
		{[]string{"list", dir}, exitOK, "unconfirmed  3 lines", ""},
		{[]string{"verify", dir}, exitFailed, "damaged      1 line, 8 B in 1 frame: they will not be delivered\n", ""},
		{[]string{"verify", dir}, exitFailed, "frame 1 at ", ""},
		{[]string{"export", dir}, exitFailed, "good\ngood as well\n", "exported 2 lines, 18 B; damaged and left out: 1 line, 8 B\n"},
	} {
		r.check(t)
	}

	pool := linebuf.NewPool(0)
	s, stop := openSpool(t, dir, pool)
	for range 2 { // until it has found the damage; then nothing is left
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		b, err := s.Next(ctx, 0)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		done := strings.Contains(string(b.B), "good as well\n")
		b.Forsake()
		pool.Put(b)
		if done {
			break
		}
	}
	spoolRun{[]string{dir}, exitCannotRun, "", "is in use by a running linesplit: see linesplit ctl spool"}.check(t)
	stop()
	spoolRun{[]string{"list", dir}, exitOK, "quarantined  1 line, 8 B in 1 frame", ""}.check(t)
	spoolRun{[]string{"export", "-quarantined", dir}, exitOK, "#amaged\n", "exported 1 line, 8 B\n"}.check(t)
}

func TestSpoolAsJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	fillSpool(t, dir, framing.Newline, 0b11, "one\ntwo\n")
	var stdout, stderr bytes.Buffer
	if code := runCommand(t.Context(), "spool", []string{"verify", "-json", dir}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	var got spoolJSON
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	all := spoolAmount{2, 8}
	if got.Directory != dir || got.Unconfirmed != all || !got.Verified || len(got.Segments) == 0 || time.Since(got.Oldest) < time.Hour ||
		fmt.Sprint(got.Groups) != fmt.Sprint([]spoolGroup{{"main", all}, {"archive", all}}) {
		t.Errorf("got %s", &stdout)
	}
	if strings.Contains(stdout.String(), "null") {
		t.Errorf("a list is null: %s", &stdout)
	}
}

// Lines that could not be written were lost without a word, if the last of them still fitted into
// the buffer of standard output.
func TestSpoolExportToAFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	fillSpool(t, dir, framing.Newline, 1, "one\n")
	var stderr bytes.Buffer
	code := runCommand(t.Context(), "spool", []string{"export", dir}, full{}, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), "linesplit spool: write lines: "+errFull.Error()) {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
