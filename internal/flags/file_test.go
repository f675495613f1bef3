package flags

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// table is a small program's options.
func table() []Option {
	return []Option{
		{Name: "config", Arg: "FILE", Help: "settings file"},
		{Name: "port", Arg: "N", Default: "9000", Help: "port"},
		{Name: "target", Arg: "ADDR", Default: "a:1", Help: "targets", Many: true},
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

// Editors on Windows begin a file with a byte order mark, which became part of the first key.
func TestByteOrderMark(t *testing.T) {
	for _, text := range []string{"\ufeffport 7\r\ndeep\r\n", "\ufeff# comment\nport 7\ndeep"} {
		s := parse(t, text)
		if n := s.Number("port", 1, 65535); n != 7 || !s.Bool("deep") || s.Err() != nil {
			t.Errorf("%q: port %d, %v", text, n, s.Err())
		}
	}
	for _, text := range []string{"\xff\xfep\x00o\x00", "\xfe\xff\x00p\x00o"} {
		if err := parse(t, text).Err(); err == nil || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Of two lines for one setting the last one silently won. They are a fault even if a flag overrides
// both.
func TestKeyGivenTwice(t *testing.T) {
	for _, test := range []struct {
		text, want string
		args       []string
	}{
		{"port 1\nport 2\n", `app.conf:2: key "port" more than once, first on line 1: leave one of them`, nil},
		{"port 1\n\nAPP_PORT 1\n", `app.conf:3: key "port" more than once, first on line 1`, nil},
		{"port 1\nport 2\n", `key "port" more than once`, []string{"-port", "3"}},
		{"deep\ndeep false\n", `key "deep" more than once`, nil},
		{"target b:1\ntarget c:1\n", "", nil},
	} {
		err := parse(t, test.text, test.args...).Err()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// Faults named the file but not the line, which is hard to find in a long file.
func TestFaultsNameTheLine(t *testing.T) {
	s := parse(t, "# comment\n\nport x\nprot 1\ntarget a:1,b\ntarget c\r\nsize\nwait 1s # soon\n  config d\nsize =\ndeep maybe")
	s.Number("port", 1, 2)
	s.Bool("deep")
	for _, entry := range s.List("target") {
		if len(entry) < 3 {
			s.FailValue("target", entry, errors.New("no port"))
		}
	}
	s.FailValue("target", "tcp://a:1", errors.New("twice")) // written in another form
	s.FailSecret("wait", errors.New("secret"))
	errs, _ := errors.AsType[Errors](s.Err())
	want := []string{
		`:4: unknown key "prot": did you mean port?`, `:7: key "size" without a value: write size SIZE`,
		`:9: misplaced key "config"`, `:10: key "size" with the value "="`, `:3: port "x": write a whole number`,
		`:11: deep "maybe": write true or false`, `:5: target "b": no port`, `:6: target "c": no port`,
		`: target "tcp://a:1": twice`, `:8: wait: secret`,
	}
	if len(errs) != len(want) {
		t.Fatalf("%d faults, want %d: %v", len(errs), len(want), errs)
	}
	for i := range want {
		if !strings.HasPrefix(errs[i].Error(), s.Text("config")+want[i]) {
			t.Errorf("fault %d: %v, want %s", i, errs[i], want[i])
		}
	}
}

// In a file, quotation marks are no syntax.
func TestQuotationMarksInAFile(t *testing.T) {
	const hint = "quotation marks are part of the value here: leave them out"
	s := parse(t, "port \"7\"\nwait 5\n")
	s.Number("port", 1, 9)
	s.Duration("wait")
	errs, _ := errors.AsType[Errors](s.Err())
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), hint) || strings.Contains(errs[1].Error(), hint) {
		t.Errorf("%v", s.Err())
	}
}

// People who come from other programs write port = 9000.
func TestKeyAndValueWithASignBetween(t *testing.T) {
	for _, line := range []string{"port = 9000", "port: 9000", "port : 9000", "port=9000", "port=", "port ="} {
		err := parse(t, line).Err()
		if err == nil || !strings.Contains(err.Error(), "with a space between them and no sign, as in port 9000") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// A tab between key and value was refused, and one before a comment became part of the value.
func TestTabsInAFile(t *testing.T) {
	s := parse(t, "port\t7\t# comment\n\twait \t 5s\t \t#\r\ndeep\nsize  1KiB \t# a\tb\ntarget\ta:1,\tb:1\n")
	if n := s.Number("port", 1, 65535); n != 7 || s.Duration("wait") != 5*time.Second || !s.Bool("deep") || s.Err() != nil {
		t.Errorf("port %d, wait %q, %v", n, s.Text("wait"), s.Err())
	}
	if size, list := s.Size("size", 1, 1<<20), s.List("target"); size != 1024 || !slices.Equal(list, []string{"a:1", "b:1"}) {
		t.Errorf("size %d, targets %q", size, list)
	}
	if s := parse(t, "target a\tb"); s.Text("target") != "a\tb" { // within a value, a tab is no separator
		t.Errorf("target %q", s.Text("target"))
	}
}

func TestFileGivenTwice(t *testing.T) {
	err := parse(t, "port 7", "-config", "/nonexistent").Err()
	if err == nil || !strings.Contains(err.Error(), "given 2 times") {
		t.Errorf("%v", err)
	}
}

// 40,000 bad keys took 17 s, and the error was longer than a line of the log may be.
func TestVeryManyFaults(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, text := range map[string]string{
		"keys":        strings.Repeat("prot 1\n", 40_000),
		"long keys":   strings.Repeat(long+" 1\n", 400),
		"long values": strings.Repeat("wait "+long+"\nport "+long+"\n", 200),
		"commas":      "target " + strings.Repeat(",", maxFileLine-8) + "\n",
	} {
		s := parse(t, text)
		s.List("target")
		s.Duration("wait")
		err := s.Err()
		errs, _ := errors.AsType[Errors](err)
		if len(errs) == 0 && name != "commas" || len(errs) > maxFaults+1 {
			t.Errorf("%s: %d errors", name, len(errs))
		}
		if err != nil && len(err.Error()) > 128<<10 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		if name == "keys" && !strings.HasPrefix(err.Error(), "40000 errors") {
			t.Errorf("%.100s", err.Error())
		}
		if name == "keys" && !strings.HasSuffix(err.Error(), "\n  and 39900 more") {
			t.Errorf("ends with %q", err.Error()[len(err.Error())-100:])
		}
	}
}
