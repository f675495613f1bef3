package discovery

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func httpSpec(t *testing.T, server *httptest.Server, path string) *httpSource {
	return newHTTPSource(mustSpec(t, "discover+"+server.URL+path))
}

func TestHTTP(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Prometheus-Refresh-Interval-Seconds", "42")
		fmt.Fprintf(w, `[{"targets":[%q]}]`, fmt.Sprintf("a%d:1", len(r.URL.RawQuery)))
		if got := r.Header.Get("Authorization"); r.URL.Path == "/secret" && got != "Bearer sesame" {
			t.Errorf("authorization: %q", got)
		}
	}))
	defer server.Close()
	for path, want := range map[string]string{
		"/sd?scheme=tls&passing": "tls://a7:1", "/secret?token-file=" + token: "tcp://a0:1",
	} {
		a, err := ask(t, httpSpec(t, server, path))
		if diff := cmp.Diff([]string{want}, written(a)); diff != "" || err != nil || a.TTL != 42*time.Second {
			t.Errorf("%s: valid for %v, %v %s", path, a.TTL, err, diff)
		}
	}
}

// A server that hangs, lies, floods or redirects in circles is no answer, and takes limited time.
func TestHTTPServerMisbehaves(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		fmt.Fprint(w, "[]\x1b[31m no\tleader")
	})
	mux.HandleFunc("/circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) })
	mux.HandleFunc("/flood", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `[{"targets":["a:1"]}]`)
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in") })
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[]`) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect) })
	for path, want := range map[string]string{
		"/error": "503 Service Unavailable: [] [31m no leader", "/circle": "more than 3 redirects", "/flood": "more than 4194304 bytes",
		"/half": "unexpected EOF", "/hang": "deadline exceeded", "/drip": "deadline exceeded", "/page": "not a JSON list",
		"/none": "404 Not Found", "/ok": "", "/moved": "",
	} {
		t.Run(path, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			if strings.Contains(want, "deadline") {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			a, err := httpSpec(t, server, path).lookup(ctx)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || len(a.Targets) > 0 {
				t.Errorf("%v, %v, want %q", a, err, want)
			}
		})
	}
	if _, err := ask(t, newHTTPSource(mustSpec(t, "discover+http://127.0.0.1:1/"))); err == nil {
		t.Error("an answer from nowhere")
	}
}

// A redirect from HTTPS to HTTP would let anyone on the way name the targets.
func TestHTTPSIsNotLeft(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[{"targets":["evil:1"]}]`) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }))
	defer secure.Close()
	src := httpSpec(t, secure, "/")
	if _, err := ask(t, src); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	src.client.Transport = secure.Client().Transport
	if _, err := ask(t, src); err == nil || !strings.Contains(err.Error(), "not followed") {
		t.Error(err)
	}
}
