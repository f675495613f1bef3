package deadletter

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// read returns the records of a file.
func read(t *testing.T, name string) (all []record) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

func letter(line string) []Letter { return []Letter{{[]byte(line), "400: no"}} }

func TestAppend(t *testing.T) {
	name := filepath.Join(t.TempDir(), "dead")
	f, err := Open(name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := []string{`{"a":"<b>"}`, "", "\xff\x00"}
	for _, l := range lines {
		if _, err := f.Append("http://h:80/", letter(l)); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, name)
	if len(got) != 3 {
		t.Fatalf("%d records", len(got))
	}
	for i, r := range got {
		line := string(r.Base64)
		if r.Line != nil {
			line = *r.Line
		}
		if line != lines[i] || r.Target != "http://h:80/" || r.Answer != "400: no" || r.Time.IsZero() || (i == 2) != (r.Line == nil) {
			t.Errorf("%+v", r)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Another program moves the file away, or truncates it, and linesplit goes on.
func TestMovedAway(t *testing.T) {
	name := filepath.Join(t.TempDir(), "dead")
	f, err := Open(name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, change := range []func() error{
		func() error { return os.Rename(name, name+".1") },
		func() error { return os.Remove(name) },
		func() error { return os.Truncate(name, 0) },
	} {
		_, before := f.Append("t", letter("before"))
		changed := change()
		_, after := f.Append("t", letter("after"))
		if err := errors.Join(before, changed, after); err != nil {
			t.Fatal(err)
		}
		if got := read(t, name); len(got) != 1 || *got[0].Line != "after" {
			t.Errorf("%+v", got)
		}
	}
}

// A file has a limit, beyond which nothing is written, and room again once it was moved away. Of
// many letters as many are written as have room.
func TestFull(t *testing.T) {
	name := filepath.Join(t.TempDir(), "dead")
	const most = 200 << 10
	f, err := Open(name, most)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var letters []Letter
	for range 5000 {
		letters = append(letters, letter("x")...)
	}
	n, err := f.Append("t", letters)
	info, _ := os.Stat(name)
	if err != ErrFull || n < 1000 || n == len(letters) || len(read(t, name)) != n || info.Size() > most || info.Size() < most-200 {
		t.Errorf("%v: %d letters, %d bytes", err, n, info.Size())
	}
	if n, err := f.Append("t", letter("x")); n != 0 || err != ErrFull {
		t.Errorf("%d, %v", n, err)
	}
	must(t, os.Remove(name))
	if n, err := f.Append("t", letter("x")); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none", "dead"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(dir, 1); err == nil {
		t.Error("a directory was opened")
	}
	pipe := filepath.Join(dir, "pipe")
	if err := exec.Command("mkfifo", pipe).Run(); err == nil {
		if _, err := Open(pipe, 1); err == nil {
			t.Error("a pipe was opened")
		}
	}
	if _, err := Open("/dev/null", 1); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Error(err)
	}
}
