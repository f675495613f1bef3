package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, s *Server, method, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnswers(t *testing.T) {
	ready := func() (bool, string) { return true, "" }
	waiting := func() (bool, string) { return false, "no target is connected" }
	for _, test := range []struct {
		method, path string
		ready        func() (bool, string)
		code         int
		body         string
	}{
		{"GET", "/healthz", ready, 200, "ok\n"},
		{"GET", "/healthz", waiting, 200, "ok\n"},
		{"HEAD", "/healthz", ready, 200, "ok\n"}, // the recorder keeps the body that a server would omit
		{"GET", "/readyz", nil, 200, "ok\n"},
		{"GET", "/readyz", ready, 200, "ok\n"},
		{"GET", "/readyz", waiting, 503, "not ready: no target is connected\n"},
		{"POST", "/healthz", ready, 405, "Method Not Allowed\n"},
		{"DELETE", "/metrics", ready, 405, "Method Not Allowed\n"},
		{"GET", "/", ready, 404, "404 page not found\n"},
		{"GET", "/metrics/", ready, 404, "404 page not found\n"},
		{"POST", "/elsewhere", ready, 404, "404 page not found\n"},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			r := get(t, New(Options{Ready: test.ready}), test.method, test.path)
			if got := body(t, r); r.StatusCode != test.code || got != test.body {
				t.Errorf("%d %q, want %d %q", r.StatusCode, got, test.code, test.body)
			}
		})
	}
}

func TestZeroOptionsServeMetrics(t *testing.T) {
	r := get(t, New(Options{}), "GET", "/metrics")
	if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, "linesplit_received_lines_total 0\n") {
		t.Errorf("%d\n%s", r.StatusCode, text)
	}
}

func TestScrapeCallsStatusOnce(t *testing.T) {
	calls := 0
	s := New(Options{Status: func() Status { calls++; return Status{} }})
	for range 3 {
		get(t, s, "GET", "/metrics")
	}
	if calls != 3 {
		t.Errorf("3 scrapes called Status %d times", calls)
	}
}

// start serves on a free port until the test ends or calls end, which returns the result of Serve.
func start(t *testing.T, o Options) (url string, end func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(o).Serve(ctx, ln) }()
	end = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { end() })
	return "http://" + ln.Addr().String(), end
}

func TestServeEndsWithItsContext(t *testing.T) {
	url, end := start(t, Options{})
	client := &http.Client{Transport: &http.Transport{}}
	r, err := client.Get(url + "/healthz") // and keeps the connection open
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, r); got != "ok\n" {
		t.Errorf("got %q", got)
	}
	r.Body.Close()

	if err := end(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := client.Get(url + "/healthz"); err == nil {
		t.Error("still served")
	}
	client.CloseIdleConnections()
}

// A request that does not end delays the end of the process by no more than endTimeout.
func TestServeCutsOffRequestsThatDoNotEnd(t *testing.T) {
	asked, release := make(chan bool), make(chan bool)
	url, end := start(t, Options{Ready: func() (bool, string) { asked <- true; <-release; return true, "" }})
	answered := make(chan error, 1)
	client := &http.Client{Transport: &http.Transport{}}
	go func() {
		r, err := client.Get(url + "/readyz")
		if err == nil {
			r.Body.Close()
		}
		answered <- err
	}()
	<-asked
	if err := end(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered")
	}
	close(release)
	client.CloseIdleConnections()
}

func TestServeReturnsErrorOfListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	err = New(Options{}).Serve(t.Context(), ln)
	if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestHugeHeaderIsRefused(t *testing.T) {
	url, _ := start(t, Options{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: longReading}
	request, err := http.NewRequestWithContext(t.Context(), "GET", url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X", strings.Repeat("x", 64<<10))
	r, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %s", r.Status)
	}
}
