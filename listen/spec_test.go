package listen

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"linesplit/internal/framing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseIsCanonical(t *testing.T) {
	longest := "/" + strings.Repeat("x", maxPath-1)
	tests := []struct {
		in   string
		want Spec
		out  string // canonical form, if different
	}{
		{"tcp://0.0.0.0:9000", unsetSpec("tcp", "0.0.0.0:9000"), ""},
		{"tcp://:9000", unsetSpec("tcp", ":9000"), ""},
		{"tcp://[::1]:0", unsetSpec("tcp", "[::1]:0"), ""},
		{"tcp://[fe80::1%eth0]:65535", unsetSpec("tcp", "[fe80::1%eth0]:65535"), ""},
		{"tls://localhost:6514", unsetSpec("tls", "localhost:6514"), ""},
		{"udp://0.0.0.0:514", unsetSpec("udp", "0.0.0.0:514"), ""},
		{"unix:///run/a.sock", unsetSpec("unix", "/run/a.sock"), ""},
		{"unix:///run/a.sock?", unsetSpec("unix", "/run/a.sock"), "unix:///run/a.sock"},
		{"unix:///run/a%20b", unsetSpec("unix", "/run/a%20b"), ""},
		{"unix:///run/a.sock?gid=20&mode=660&uid=root",
			Spec{scheme: "unix", address: "/run/a.sock", mode: 0o660, uid: 0, gid: 20},
			"unix:///run/a.sock?mode=0660&uid=0&gid=20"},
		{"unix:///run/a.sock?mode=0",
			Spec{scheme: "unix", address: "/run/a.sock", mode: 0, uid: unset, gid: unset}, "unix:///run/a.sock?mode=0000"},
		{"unix://" + longest, unsetSpec("unix", longest), ""},
		{"systemd:", unsetSpec("systemd", ""), ""},
		{"systemd:linesplit.socket?tls=true",
			Spec{scheme: "systemd", address: "linesplit.socket", mode: unset, uid: unset, gid: unset, secure: true}, ""},
		{"stdin:", unsetSpec("stdin", ""), ""},
		{"tcp://:9000?framing=octet", framedSpec("tcp", ":9000", framing.Octet), ""},
		{"tls://:9000?framing=newline", unsetSpec("tls", ":9000"), "tls://:9000"},
		{"unix:///x?framing=nul", framedSpec("unix", "/x", framing.NUL), ""},
		{"systemd:?framing=auto", framedSpec("systemd", "", framing.Auto), ""},
		{"http://:8080", webSpec("http", ":8080", Web{}), ""},
		{"http://:8080/?max-request=4MiB&timeout=45s", webSpec("http", ":8080", Web{Path: "/"}), "http://:8080/"},
		{"https://[::1]:8443/a/b?timeout=1m0s&max-request=1536KiB&token-file=/x%20y%26",
			webSpec("https", "[::1]:8443", Web{Path: "/a/b", TokenFile: "/x y&", MaxRequest: 1536 << 10, Timeout: time.Minute}),
			"https://[::1]:8443/a/b?token-file=/x%20y%26&max-request=1536KiB&timeout=1m0s"},
		{"http://h:1?max-request=1025", webSpec("http", "h:1", Web{MaxRequest: 1025}), ""},
	}
	if runtime.GOOS == "linux" {
		tests = append(tests, tests[0])
		tests[len(tests)-1].in, tests[len(tests)-1].want = "unix://@linesplit", unsetSpec("unix", "@linesplit")
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Spec{})); diff != "" {
				t.Error(diff)
			}
			if tt.out == "" {
				tt.out = tt.in
			}
			if got.String() != tt.out {
				t.Errorf("String() = %q, want %q", got.String(), tt.out)
			}
			if again, err := Parse(got.String()); err != nil || again != got {
				t.Errorf("Parse(String()) = %v, %v", again, err)
			}
			if got.TLS() != (strings.Contains(tt.in, "tls") || strings.HasPrefix(tt.in, "https")) || got.UDP() != strings.HasPrefix(tt.in, "udp") ||
				got.Stdin() != (tt.in == "stdin:") {
				t.Errorf("TLS %v, UDP %v, Stdin %v", got.TLS(), got.UDP(), got.Stdin())
			}
		})
	}
}

// webSpec returns a Spec with these options, and the defaults of the others.
func webSpec(scheme, address string, w Web) Spec {
	s := unsetSpec(scheme, address)
	w.On = true
	if w.MaxRequest == 0 {
		w.MaxRequest = DefaultMaxRequest
	}
	if w.Timeout == 0 {
		w.Timeout = DefaultWebTimeout
	}
	s.web = w
	return s
}

func TestBadWebListeners(t *testing.T) {
	for value, want := range map[string]string{
		"http://":                        "no address: write HOST:PORT",
		"http:8080":                      "write http://:8080",
		"https://h":                      "port",
		"http://u:p@h:1":                 "write ?token-file=FILE",
		"http://h:1/a%20b":               "without escapes, such as /lines",
		"http://h:1?framing=octet":       "the records of a request end in newlines",
		"http://h:1?token=x":             "known are token-file, max-request and timeout",
		"http://h:1?token-file=":         "no file",
		"http://h:1?max-request=2GiB":    "want a size from 1KiB to 1GiB, such as 4MiB",
		"http://h:1?timeout=0s":          "want a duration from 1s to 1h, such as 45s",
		"http://h:1?timeout=5s&timeout=": "given 2 times",
	} {
		if _, err := Parse(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

// The short forms that other programs take were refused.
func TestParseShortForms(t *testing.T) {
	for short, want := range map[string]string{
		"-": "stdin:", "stdin": "stdin:", ":9000": "tcp://:9000", "127.0.0.1:9000": "tcp://127.0.0.1:9000",
		"localhost:9000": "tcp://localhost:9000", "[::1]:9000": "tcp://[::1]:9000",
	} {
		if got, err := Parse(short); err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", short, got, err, want)
		}
	}
}

func framedSpec(scheme, address string, f framing.Framing) Spec {
	s := unsetSpec(scheme, address)
	s.framing = f
	return s
}

// unsetSpec returns a Spec without mode, uid and gid.
func unsetSpec(scheme, address string) Spec {
	return Spec{scheme: scheme, address: address, mode: unset, uid: unset, gid: unset}
}

// parseErrors holds values and the text that their errors contain.
var parseErrors = []struct{ in, want string }{
	{"", "known are tcp://host:port, tls://host:port, udp://host:port, http://host:port/path, https://host:port/path, relp://host:port, relp+tls://host:port, unix:///path, unix://@name, " +
		"systemd:name and stdin:"},
	{"localhost", "no port: write localhost:PORT"},
	{"9000", "a port alone: write :9000 or HOST:9000"},
	{"::1:9999", "an IPv6 address needs brackets: write [::1]:9999"},
	{":::9999", "write [::]:9999"},
	{"fe80::1%eth0:99", "write [fe80::1%eth0]:99"},
	{"/run/a.sock", "no scheme: write unix:///run/a.sock"},
	{":http", `port "http": want a number`},
	{"[fe80::1]:99", "fe80::1 is a link-local address, which needs its interface: [fe80::1%eth0]:99"},
	{"dccp://:514", `unknown scheme "dccp": known are`},
	{"TCP://:514", `unknown scheme "TCP": known are`},
	{"tcp:1.2.3.4:9000", "no // after the scheme: write tcp://1.2.3.4:9000"},
	{"unix:/run/x", "no // after the scheme: write unix:///run/x"},
	{"unix:", "no // after the scheme: known are"},
	{"stdin://", "nothing after the colon"},
	{"tcp://0.0.0.0", "no port: write 0.0.0.0:PORT"},
	{"udp://:", "no port: write :PORT"},
	{"udp:514", "no // after the scheme: write udp://:514"},
	{"udp://:514?mode=0600", "udp:// takes no options"},
	{"tls://[::1]", "no port: write [::1]:PORT"},
	{"tcp://::1:9000", "write [::1]:9000"},
	{"tcp://:", "no port: write :PORT"},
	{"tcp://:65536", `port "65536": want a number from 1 to 65535, or 0`},
	{"tcp://:-1", `port "-1": want a number`},
	{"tcp://:http", `port "http": want a number`},
	{"tcp://:9000/", `port "9000/": want a number`},
	{"tcp://me@host:9000", `"me@host" is neither a host name`},
	{"tcp://$HOST:9000", `"$HOST" is neither a host name nor an IP address: a variable that was not replaced?`},
	{"127.0.0.256:9000", `"127.0.0.256" is no IPv4 address`},
	{"unix:run/x", "write unix:// and the absolute path"},
	{"unix:99", "write unix:// and the absolute path"},
	{"tcp://:9000?mode=0660", `unknown option "mode": known is framing`},
	{"tcp://:9000?framing=lf", `framing="lf": use newline, octet, nul or auto`},
	{"tcp://:9000?framing=nul&framing=nul", "option framing is given 2 times"},
	{"udp://:9000?framing=nul", "udp:// takes no options"},
	{"stdin:?framing=nul&mode=0660", "nothing after the colon but ?framing"},
	{"systemd:x?framing=crlf", `framing="crlf"`},
	{"unix:///a\x1b[2Jb", "cannot be printed"},
	{"unix:///a\xffb", "cannot be printed"},
	{"systemd:a\u202eb", "cannot be printed"},
	{"unix://", "no path: want unix:///run/linesplit.sock"},
	{"unix://@", "no path"},
	{"unix://run/x", "want three of them, unix:///run/x"},
	{"unix://./x.sock", `path "./x.sock" is not absolute: write unix:// and the absolute path`}, // once unix:///./x.sock
	{"unix://~/x.sock", `path "~/x.sock" is not absolute`},
	{"unix:///run/", "names a directory"},
	{"unix:///" + strings.Repeat("x", maxPath), "a socket path may have at most"},
	{"unix:///run/x?mode=0999", `mode "0999": want octal permissions such as 0660`},
	{"unix:///run/x?mode=1777", `mode "1777": want octal`},
	{"unix:///run/x?mode=rw", `mode "rw": want octal`},
	{"unix:///run/x?mode", `mode "": want octal`},
	{"unix:///run/x?mode=600&mode=660", "option mode is given 2 times"},
	{"unix:///run/x?perm=0600", `unknown option "perm": known are framing, mode, uid and gid`},
	{"unix:///run/x?uid=unknown-here", `no user "unknown-here" on this machine`},
	{"unix:///run/x?gid=unknown-here", `no group "unknown-here" on this machine`},
	{"unix:///run/x?uid=4294967295", `user "4294967295": want a name, or a number from 0 to 4294967294`},
	{"unix:///run/x?gid=99999999999", `group "99999999999": want`},
	{"unix:///run/x?mode=%zz", "options: invalid URL escape"},
}

func TestParseErrorsTellTheRightForm(t *testing.T) {
	tests := slices.Clone(parseErrors)
	if runtime.GOOS == "linux" {
		tests = append(tests, struct{ in, want string }{
			"unix://@x?mode=0600", "option mode: an abstract socket has no file"})
	} else {
		tests = append(tests, struct{ in, want string }{"unix://@x", "Linux only"})
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err == nil {
				t.Fatalf("accepted: %+v", got)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), `"`) {
				t.Errorf("error %q, want the value and %q", err, tt.want)
			}
			if got != (Spec{}) {
				t.Errorf("a Spec beside the error: %+v", got)
			}
		})
	}
}

func TestCheckFindsWhatIsInTheWay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Symlink(file, filepath.Join(dir, "link")))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	live := mustOpen(t, "unix://"+filepath.Join(dir, "live"))
	defer live.Close()
	makeStale(t, filepath.Join(dir, "stale"))
	tests := []struct{ value, want string }{
		{"tcp://127.0.0.1:1", ""},
		{"stdin:", ""},
		{"unix://" + dir + "/new", ""},
		{"unix://" + dir + "/stale", ""},
		{"unix://" + dir + "/live", ""}, // only Open can find this
		{"unix://" + dir + "/none/x", "directory " + dir + "/none: no such file"},
		{"unix://" + file + "/x", file + " is not a directory"},
		{"unix://" + file, "is a file, not a socket"},
		{"unix://" + dir + "/link", "is a symbolic link, not a socket"},
		{"unix://" + dir + "/dir", "is a directory, not a socket"},
	}
	if runtime.GOOS == "linux" {
		tests = append(tests, struct{ value, want string }{"unix://@linesplit-check", ""})
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			s := mustParse(t, tt.value)
			err := s.Check()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), s.String()) {
				t.Errorf("error %v, want the value and %q", err, tt.want)
			}
		})
	}
	if data, err := os.ReadFile(file); err != nil || len(data) != 0 {
		t.Errorf("the file that was in the way: %q, %v", data, err)
	}
}

func mustParse(t *testing.T, value string) Spec {
	t.Helper()
	s, err := Parse(value)
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzParse checks that Parse accepts the canonical form of all values that it accepts.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"tcp://:9000", "tls://[::1]:1", "udp://0.0.0.0:514", "unix:///a?mode=0660&uid=0",
		"unix://@a", "stdin:", "tcp:", "://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s, err := Parse(value)
		if err != nil {
			if s != (Spec{}) {
				t.Errorf("%+v beside %v", s, err)
			}
			return
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", s.String(), again, err, s)
		}
	})
}
