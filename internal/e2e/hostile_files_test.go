//go:build linux

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"linesplit/internal/testcert"
	"linesplit/internal/testrig"
)

// A certificate and a token that became pipes stopped all handshakes and all requests that need a
// token, since the pipes waited for their writers, and SIGTERM with them.
func TestFilesThatBecomePipesStopNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certs := testcert.New(t, dir)
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("open-sesame-0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, "-listen", "tls://127.0.0.1:0", "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey,
		"-admin-token-file", token)
	client := testrig.Client{TLS: certs.ClientTLS()}
	allowed := func() bool { return mayChange(s, "open-sesame-0123") }
	served := func(when string) {
		t.Helper()
		conn, err := client.Dial(t, s.Process.Listeners[0])
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		conn.Close()
	}
	served("before")
	cert, err := os.ReadFile(certs.ServerCert)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{certs.ServerCert, token} {
		fileStep(t, os.Remove(file))
		fileStep(t, syscall.Mkfifo(file, 0o600))
	}
	testrig.WaitFor(t, "the pipe is noticed", func() bool {
		served("with a pipe in place of the certificate")
		return s.CountLogLines("tls files have changed and cannot be used", "is a pipe") > 0
	})
	testrig.WaitFor(t, "the token's pipe is noticed", func() bool {
		return allowed() && s.CountLogLines("admin token has changed and cannot be used", "is a pipe") > 0
	})
	fileStep(t, os.Remove(certs.ServerCert))
	fileStep(t, os.WriteFile(certs.ServerCert, cert, 0o600))
	testrig.WaitFor(t, "the certificate is read again", func() bool {
		served("after the certificate is back")
		return s.CountLogLines("tls files reloaded") > 0
	})
	if code := s.Process.Terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// mayChange reports whether a request with a token may see what needs one.
func mayChange(s *testrig.Stage, token string) bool {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.Process.Admin+"/api/v1/config", nil)
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Timeout: testrig.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		s.Fatalf("ask with the token: %v", err)
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func fileStep(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
