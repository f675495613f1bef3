package service

import (
	"crypto/x509"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/internal/config"
	"linesplit/internal/testcert"
	"linesplit/target"
)

// The first TLS handshake loaded the system's authorities. In a process without descriptors that
// failed, for good: all TLS targets were unreachable until a restart. Authorities are loaded once
// in a process, so the test runs in one of its own.
func TestSystemRootsAreLoadedAtTheStart(t *testing.T) {
	const variable = "SERVICE_TEST_WITHOUT_DESCRIPTORS"
	if os.Getenv(variable) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), variable+"=1", "SSL_CERT_FILE="+testcert.New(t, t.TempDir()).CA)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	cfg := config.Config{Targets: []target.Address{{Scheme: target.SchemeTLS, Host: "h:1"}}}
	if _, err := dialOptions(cfg, nil, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := x509.SystemCertPool(); err != nil {
		t.Error(err)
	}
}
