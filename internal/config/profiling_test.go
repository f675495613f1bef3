package config

import (
	"os"
	"path/filepath"
	"testing"

	"linesplit/internal/testcert"
)

// -profiling without anything that authenticates was accepted, and no request was ever allowed to
// see a profile.
func TestProfilingNeedsAuthentication(t *testing.T) {
	const none = "nothing authenticates any: set -admin-token-file"
	for _, address := range []string{
		"127.0.0.1:9091", "0.0.0.0:9091", "unix:///run/a?mode=0666", "unix://@a", "unix:///run/mode=0660?mode=0607",
	} {
		checkBadInput(t, []badInput{{address, []string{"-admin", address, "-profiling"}, []string{none}}})
	}
	clearEnv(t)
	certs := testcert.New(t, t.TempDir())
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("open-sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-admin", "127.0.0.1:9091", "-admin-token-file", token},
		{"-admin", "unix:///run/a"},
		{"-admin", "unix:///run/a?mode=0600&gid=0"},
		{"-admin", "tls://127.0.0.1:9091", "-admin-tls-cert", certs.ServerCert, "-admin-tls-key", certs.ServerKey,
			"-admin-tls-client-ca", certs.CA},
	} {
		if _, err := Parse(append(args, "-profiling")); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}
