package admin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"linesplit/tlsconf"
)

func TestParseSpec(t *testing.T) {
	for value, want := range map[string]string{
		"127.0.0.1:9091":                "tcp://127.0.0.1:9091",
		":9091":                         "tcp://:9091",
		"[::1]:0":                       "tcp://[::1]:0",
		"tcp://127.0.0.1:9091":          "tcp://127.0.0.1:9091",
		"tls://0.0.0.0:9091":            "tls://0.0.0.0:9091",
		"unix:///run/a":                 "unix:///run/a?mode=0660",
		"unix:///run/a?":                "unix:///run/a?mode=0660",
		"unix:///run/a?mode=0600":       "unix:///run/a?mode=0600",
		"unix:///run/a?uid=0":           "unix:///run/a?mode=0660&uid=0",
		"unix:///run/a?uid=0&mode=0666": "unix:///run/a?mode=0666&uid=0",
		"unix:///run/mode=?gid=0&uid=0": "unix:///run/mode=?mode=0660&uid=0&gid=0",
	} {
		spec, err := ParseSpec(value)
		if err != nil || spec.String() != want {
			t.Errorf("%s: %s, %v", value, spec, err)
		}
	}
	for value, want := range map[string]string{
		"":                  "write 127.0.0.1:9091",
		"9091":              "a port alone: write :9091",
		"localhost":         "no port: write localhost:PORT",
		"::1:9091":          "write [::1]:9091",
		"/run/a.sock":       "no scheme: write unix:///run/a.sock",
		"unix:/run/a.sock":  "write unix:///run/a.sock",
		"http://a:1":        `unknown scheme "http": write 127.0.0.1:9091, tls://HOST:PORT or unix:///PATH`,
		"-":                 "unknown scheme",
		"stdin":             "unknown scheme",
		"127.0.0.1:http":    "port",
		"127.0.0.1:99999":   "port",
		"udp://127.0.0.1:1": "unknown scheme",
		"stdin:":            "unknown scheme",
		"systemd:admin":     "unknown scheme",
		"unix://run/a":      "does not begin with a slash",
		"unix:///a?mode=9":  "octal",
		"tls://127.0.0.1":   "port",
	} {
		if spec, err := ParseSpec(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", value, spec, err)
		}
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for value, want := range map[string]string{
		taken.Addr().String():    "another program listens there",
		"nonsense":               "nonsense",
		"tls://127.0.0.1:0":      "certificate",
		"unix:///nowhere/at/all": "no such file",
	} {
		if ln, err := Listen(t.Context(), value, tlsconf.ServerFiles{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", value, ln, err)
		}
	}
}

func TestSocketHasItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(t.Context(), "unix://"+path, tlsconf.ServerFiles{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	ln.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is left")
	}
}

// An abstract socket has no file whose mode could limit its users.
func TestAbstractSocketIsOpenToTheMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux only")
	}
	ln, err := Listen(t.Context(), "unix://@linesplit-admin-test", tlsconf.ServerFiles{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got := trustIn(ln)(); got != fromMachine {
		t.Errorf("trust %d", got)
	}
}

// The trust in the clients of a socket was read once: after a chmod all users of the machine had
// the rights of its owner. A connection from a time of less trust keeps that.
func TestTrustFollowsTheSocketsFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions")
	}
	path := filepath.Join(t.TempDir(), "s")
	s := serveOn(t, "unix://"+path, tlsconf.ServerFiles{}, Options{})
	early := &http.Client{Transport: &http.Transport{DialContext: s.client.Transport.(*http.Transport).DialContext}}
	defer early.CloseIdleConnections()
	reload := func(client *http.Client, want int) {
		t.Helper()
		r, err := client.Post(s.url+"/api/v1/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil { // keeps the connection
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s, want %d", r.Status, want)
		}
	}
	chmod := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	reload(s.client, 200)
	chmod(0o666)
	reload(s.client, 403)
	reload(early, 403)
	chmod(0o660)
	reload(s.client, 200) // a connection from before the chmod
	reload(early, 403)    // one from when everyone could connect
	early.CloseIdleConnections()
	reload(early, 200)
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reload(s.client, 403) // the file is not this socket's
}

func TestServeLogsUnsafeListeners(t *testing.T) {
	for _, test := range []struct {
		listen string
		token  bool
		want   string
	}{
		{"127.0.0.1:0", false, ""},
		{"127.0.0.1:0", true, ""},
		{"0.0.0.0:0", false, "metrics and probes only"},
		{"0.0.0.0:0", true, "unencrypted"},
	} {
		ln, err := Listen(t.Context(), test.listen, tlsconf.ServerFiles{})
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		o := Options{Control: &fake{}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if test.token {
			o.Token = loadToken(t)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := New(o).Serve(ctx, ln); err != nil {
			t.Error(err)
		}
		if got := log.String(); !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s, %v: %q", test.listen, test.token, got)
		}
	}
}
