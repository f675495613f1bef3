package target

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// opensslServer is a running openssl s_server.
type opensslServer struct {
	commands io.Writer     // its input
	said     <-chan string // lines of its output
}

// startOpenSSL starts a TLS 1.3 server, which is stopped when the test ends.
func startOpenSSL(t *testing.T, files testcert.Files) *opensslServer {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	server := exec.Command(openssl, "s_server", "-accept", "127.0.0.1:0", "-tls1_3",
		"-cert", files.ServerCert, "-key", files.ServerKey)
	commands, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	said := make(chan string, 10_000)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	return &opensslServer{commands: commands, said: said}
}

// next waits for a line that contains what and returns it.
func (s *opensslServer) next(t *testing.T, what string) string {
	t.Helper()
	for {
		select {
		case line, ok := <-s.said:
			if !ok {
				t.Fatalf("openssl ended before it said %q", what)
			}
			if strings.Contains(line, what) {
				return line
			}
		case <-time.After(wait):
			t.Fatalf("openssl did not say %q", what)
		}
	}
}

// The peer's key update, with a request for ours, comes in the middle of the lines. Go's server
// cannot send one.
func TestTLSKeyUpdate(t *testing.T) {
	t.Parallel()
	files := certs(t)
	server := startOpenSSL(t, files)
	_, host, found := strings.Cut(server.next(t, "ACCEPT"), "ACCEPT ")
	if !found {
		t.Skip("this openssl does not print its address")
	}
	a := Address{Scheme: SchemeTLS, Host: strings.TrimSpace(host)}
	c, err := DialTracked(t.Context(), a, &Options{TLS: files.ClientTLS, Timeout: wait})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for round := range 5 {
		for i := range 100 {
			mustWrite(t, c, fmt.Appendf(nil, "round %d line %d\n", round, i))
		}
		for i := range 100 {
			want := fmt.Sprintf("round %d line %d", round, i)
			if got := server.next(t, "round"); got != want {
				t.Fatalf("openssl read %q, want %q", got, want)
			}
		}
		through := c.wire.position()
		if _, err := io.WriteString(server.commands, "K\n"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "our key update", func() bool { return c.wire.position() > through })
	}
	mustWrite(t, c, []byte("round and out\n"))
	server.next(t, "round and out")
	allAcked(t, c)
	if p := c.Progress(); p.Err != nil || p.FIN {
		t.Errorf("%+v after key updates", p)
	}
}
