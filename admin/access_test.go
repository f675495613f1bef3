package admin

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testcert"
	"linesplit/tlsconf"
)

// shortReading is the read timeout of servers in tests that outlast it, and longReading that of all
// others: a busy machine may take seconds for a request.
const (
	shortReading = 3 * time.Second
	longReading  = time.Minute
)

// served is a server on a real listener, with a client that is connected to it.
type served struct {
	client  *http.Client
	url     string
	address string // of a TCP listener
	control *fake
}

// serveOn serves on the listener for value, as for -admin, until the test ends.
func serveOn(t *testing.T, value string, files tlsconf.ServerFiles, o Options) served {
	t.Helper()
	return serveReading(t, value, files, o, longReading)
}

// serveReading is serveOn with a read timeout.
func serveReading(t *testing.T, value string, files tlsconf.ServerFiles, o Options, reading time.Duration) served {
	t.Helper()
	ln, err := Listen(t.Context(), value, files)
	if err != nil {
		t.Fatal(err)
	}
	control := &fake{}
	o.Control = control
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := New(o)
	server.reading = reading
	go func() { ended <- server.Serve(ctx, ln) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	s := served{client: &http.Client{Transport: transport, Timeout: time.Minute}, control: control}
	switch a := ln.Addr().(type) {
	case *net.UnixAddr:
		s.url = "http://linesplit"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", a.Name)
		}
	case *net.TCPAddr:
		s.address = fmt.Sprintf("127.0.0.1:%d", a.Port)
		s.url = "http://" + s.address
	}
	return s
}

// status sends a request, with headers as pairs, and returns the status of the response.
func (s served) status(t *testing.T, method, path string, headers ...string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	r, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode
}

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func loadToken(t *testing.T) *Token {
	t.Helper()
	token, err := LoadToken(tokenFile(t, "open-sesame\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// operations has requests for each level of access, the levels in the order of the table in
// access.go.
var operations = []struct{ method, path string }{
	{"GET", "/healthz"}, {"GET", "/metrics"}, // probe
	{"GET", "/"}, {"GET", "/api/v1/status"}, {"GET", "/api/v1/openapi.json"}, // read
	{"GET", "/api/v1/connections"}, {"GET", "/api/v1/config"}, // inspect
	{"POST", "/api/v1/reload"}, {"DELETE", "/api/v1/targets/tcp:%2F%2F10.0.0.1:9999"}, // change
	{"GET", "/debug/pprof/goroutine"},
}

// allowedAs is the number of operations that are allowed up to each column of the table in
// access.go.
var allowedAs = map[string]int{"probe": 2, "read": 5, "inspect": 7, "change": len(operations)}

func TestAccess(t *testing.T) {
	dir := t.TempDir()
	certs := testcert.New(t, dir)
	plain := tlsconf.ServerFiles{Cert: certs.ServerCert, Key: certs.ServerKey}
	mutual := plain
	mutual.ClientCA = certs.CA
	bearer := []string{"Authorization", "bearer open-sesame"}
	for _, test := range []struct {
		name, listen string
		files        tlsconf.ServerFiles
		token        bool
		headers      []string
		may          string
		refused      int // status of operations that are not allowed
	}{
		{"loopback", "127.0.0.1:0", plain, false, nil, "inspect", 403},
		{"loopback, needless token", "127.0.0.1:0", plain, false, bearer, "inspect", 403},
		{"loopback, no token sent", "127.0.0.1:0", plain, true, nil, "read", 401},
		{"loopback, wrong token", "127.0.0.1:0", plain, true, []string{"Authorization", "Bearer open-sesam"}, "read", 401},
		{"loopback, wrong scheme", "127.0.0.1:0", plain, true, []string{"Authorization", "Basic open-sesame"}, "read", 401},
		{"loopback, token", "127.0.0.1:0", plain, true, bearer, "change", 0},
		{"anywhere", "0.0.0.0:0", plain, false, nil, "probe", 403},
		{"anywhere, as localhost", "0.0.0.0:0", plain, false, []string{"Host", "localhost"}, "probe", 403},
		{"anywhere, no token sent", "0.0.0.0:0", plain, true, nil, "read", 401},
		{"anywhere, token", "0.0.0.0:0", plain, true, bearer, "change", 0},
		{"socket of the owner", "unix://" + dir + "/a", plain, false, nil, "change", 0},
		{"socket of the owner, no token sent", "unix://" + dir + "/b", plain, true, nil, "change", 0},
		{"socket for all users", "unix://" + dir + "/c?mode=0666", plain, false, nil, "inspect", 403},
		{"socket for all users, token", "unix://" + dir + "/d?mode=0666", plain, true, bearer, "change", 0},
		{"TLS anywhere", "tls://0.0.0.0:0", plain, false, nil, "probe", 403},
		{"TLS loopback", "tls://127.0.0.1:0", plain, false, nil, "inspect", 403},
		{"TLS anywhere, token", "tls://0.0.0.0:0", plain, true, bearer, "change", 0},
		{"certificate anywhere", "tls://0.0.0.0:0", mutual, false, nil, "change", 0},
		{"certificate anywhere, no token sent", "tls://0.0.0.0:0", mutual, true, nil, "change", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Profiling: true}
			if test.token {
				o.Token = loadToken(t)
			}
			s := serveOn(t, test.listen, test.files, o)
			if strings.HasPrefix(test.listen, "tls:") {
				s.speakTLS(t, certs)
			}
			for i, ask := range operations {
				allowed := i < allowedAs[test.may]
				got := s.status(t, ask.method, ask.path, test.headers...)
				if allowed && got/100 != 2 || !allowed && got != test.refused {
					t.Errorf("%s %s: %d", ask.method, ask.path, got)
				}
			}
			if calls := s.control.called(); (len(calls) > 1) != (test.may == "change") { // one reads the connections
				t.Errorf("calls: %v", calls)
			}
		})
	}
}

// speakTLS makes the client speak TLS, with a certificate for servers that request one.
func (s *served) speakTLS(t *testing.T, certs testcert.Files) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certs.ClientCert, certs.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	s.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	s.url = "https://" + s.address
}

func TestCertificateOfAnotherCAIsRefused(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	files := tlsconf.ServerFiles{Cert: certs.ServerCert, Key: certs.ServerKey, ClientCA: certs.CA}
	s := serveOn(t, "tls://127.0.0.1:0", files, Options{})
	certs.ClientCert, certs.ClientKey = certs.StrangerCert, certs.StrangerKey
	s.speakTLS(t, certs)
	if r, err := s.client.Get(s.url + "/healthz"); err == nil {
		r.Body.Close()
		t.Errorf("answered: %s", r.Status)
	}
}

// DNS rebinding: to a browser, a page whose name resolves to 127.0.0.1 has the same origin as
// this server.
func TestForeignHostIsRefused(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{Token: loadToken(t)})
	for host, want := range map[string]int{
		"evil.example": 421, "evil.example:80": 421, "localhost.evil.example": 421,
		"localhost": 200, "LOCALHOST:9091": 200, "a.localhost": 200, "127.0.0.1": 200, "[::1]:9091": 200, "[::1]": 200,
	} {
		if got := s.status(t, "GET", "/api/v1/status", "Host", host); got != want {
			t.Errorf("%s: %d", host, got)
		}
		if got := s.status(t, "GET", "/", "Host", host); got != want {
			t.Errorf("the page, %s: %d", host, got)
		}
		if got := s.status(t, "GET", "/metrics", "Host", host); got != want {
			t.Errorf("metrics, %s: %d", host, got)
		}
		if got := s.status(t, "GET", "/healthz", "Host", host); got != 200 {
			t.Errorf("probe, %s: %d", host, got)
		}
	}
	if got := s.status(t, "POST", "/api/v1/reload", "Host", "name.example", "Authorization", "Bearer open-sesame"); got != 200 {
		t.Errorf("with the token: %d", got)
	}
}

// Pages of other origins cannot use credentials that a browser sends on its own, here those of a
// socket.
func TestCrossOriginChangesAreRefused(t *testing.T) {
	s := serveOn(t, "unix://"+t.TempDir()+"/s", tlsconf.ServerFiles{}, Options{})
	for _, headers := range [][]string{
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
	} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if got := s.status(t, method, "/api/v1/reload", headers...); got != 403 {
				t.Errorf("%v %s: %d", headers, method, got)
			}
		}
		if got := s.status(t, "GET", "/api/v1/reload", headers...); got != 405 {
			t.Errorf("%v GET: %d", headers, got)
		}
	}
	if calls := s.control.called(); len(calls) > 0 {
		t.Errorf("calls: %v", calls)
	}
	if got := s.status(t, "POST", "/api/v1/reload", "Sec-Fetch-Site", "same-origin"); got != 200 {
		t.Errorf("its own page: %d", got)
	}
	if got := s.status(t, "POST", "/api/v1/reload", "Origin", "http://linesplit"); got != 200 {
		t.Errorf("its own page in an old browser: %d", got)
	}
}

// No GET changes anything, even if its path, query and headers claim to be another method.
func TestGetChangesNothing(t *testing.T) {
	s := serveOn(t, "unix://"+t.TempDir()+"/s", tlsconf.ServerFiles{}, Options{})
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for _, path := range []string{
			"/reload", "/balance?rule=random", "/targets?address=a:1", "/targets/a/drain", "/targets/a/resume",
			"/targets/a/weight?weight=3", "/targets/a?_method=DELETE",
		} {
			s.status(t, method, apiPrefix+path, "X-HTTP-Method-Override", "POST")
		}
	}
	if calls := s.control.called(); len(calls) > 0 {
		t.Errorf("calls: %v", calls)
	}
}

// A body that does not arrive costs only its connection, and that for a short time.
func TestSlowBodyEndsSoon(t *testing.T) {
	t.Parallel()
	const head = "POST /api/v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
	for _, test := range []struct {
		name, authorization string
		status              int
		reading, min, max   time.Duration
	}{
		{"not authenticated: the answer does not wait for the body", "", 401, longReading, 0, longReading / 2},
		{"authenticated", "Authorization: Bearer open-sesame\r\n", 408, shortReading, shortReading * 9 / 10, longReading / 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serveReading(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{Token: loadToken(t)}, test.reading)
			conn, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			asked := time.Now()
			fmt.Fprintf(conn, "%s%s\r\n{", head, test.authorization)
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if took := time.Since(asked); r.StatusCode != test.status || !r.Close || took < test.min || took > test.max {
				t.Errorf("%s after %v, connection kept: %v", r.Status, took, !r.Close)
			}
		})
	}
}

func TestOversizedBodyIsRefused(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{Token: loadToken(t)})
	for token, want := range map[string]int{"open-sesame": 413, "": 401} {
		long := strings.NewReader(`"` + strings.Repeat("x", maxBody) + `"`)
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/api/v1/targets", long)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", asJSON)
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%q: %s", token, answer.Status)
		}
	}
}
