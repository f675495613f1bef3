package flags

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// table is a small program's options.
func table() []Option {
	return []Option{
		{Name: "config", Arg: "FILE", Help: "settings file"},
		{Name: "port", Arg: "N", Default: "9000", Help: "port"},
		{Name: "target", Arg: "ADDR", Default: "a:1", Help: "targets"},
		{Name: "size", Arg: "SIZE", Default: "16KiB", Help: "size"},
		{Name: "wait", Arg: "TIME", Default: "5s", Help: "wait"},
		{Name: "deep", Help: "go deep"},
	}
}

// parse reads a command line, and a file if text is not empty.
func parse(t *testing.T, text string, args ...string) *Set {
	t.Helper()
	if text != "" {
		path := filepath.Join(t.TempDir(), "app.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"-config", path}, args...)
	}
	s := New(table())
	if err := s.ParseArgs(args); err != nil {
		t.Fatal(err)
	}
	s.ParseEnvAndFile(FileOptions{EnvPrefix: "APP", FileFlag: "config"})
	return s
}

// A key behind the longest line that is allowed is read: ff's parser takes a longer line for the
// end of the file.
func TestKeyBehindTheLongestLine(t *testing.T) {
	comment := "#" + strings.Repeat("x", maxFileLine-1)
	s := parse(t, comment+"\nport 7")
	if n := s.Number("port", 1, 65535); n != 7 || s.Err() != nil {
		t.Errorf("port %d, %v", n, s.Err())
	}
}

func TestFileLimits(t *testing.T) {
	for name, text := range map[string]string{
		"the limit is 65535": "#" + strings.Repeat("x", maxFileLine) + "\nport 7",
		"more than 1048576":  strings.Repeat("#\n", maxFile/2+1),
	} {
		if err := parse(t, text).Err(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

func TestUnknownKeysAreIgnoredOnlyWhenAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.conf")
	if err := os.WriteFile(path, []byte("colour red\nport 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ignore := range []bool{false, true} {
		s := New(table())
		if err := s.ParseArgs([]string{"-config", path}); err != nil {
			t.Fatal(err)
		}
		s.ParseEnvAndFile(FileOptions{EnvPrefix: "APP", FileFlag: "config", IgnoreUnknown: ignore})
		if fault := s.Err(); (fault == nil) != ignore || s.Text("port") != "7" {
			t.Errorf("ignore %t: port %s, %v", ignore, s.Text("port"), fault)
		}
	}
}
