package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBadWebListeners(t *testing.T) {
	open := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(open, []byte("open-sesame"), 0o604); err != nil {
		t.Fatal(err)
	}
	checkBadInput(t, []badInput{
		{"two paths", []string{"-listen", "http://:8080/a,http://:8080/b"}, []string{`-listen "http://:8080/b": given twice`}},
		{"two protocols", []string{"-listen", ":8080,http://:8080/b"}, []string{`-listen "http://:8080/b": given twice`}},
		{"large requests", []string{"-listen", "http://:8080?max-request=9MiB", "-memory", "64MiB"}, []string{
			`-listen "http://:8080?max-request=9MiB": ?max-request must be at most a sixteenth of -memory, which is 64MiB`}},
		{"no token", []string{"-listen", "http://:8080?token-file=/no/such/file"}, []string{`listener token file /no/such/file: `}},
		{"open token", []string{"-listen", "http://:8080?token-file=" + open}, []string{`makes it world-readable: chmod 600 it`}},
		{"no certificate", []string{"-listen", "https://:8443"}, []string{`the listener https:// needs -tls-cert and -tls-key`}},
	})
}
