package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDeadLetter(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, "-target", "http://a:1", "-dead-letter", filepath.Join(dir, "x"), "-dead-letter-size", "2MiB")
	if c.DeadLetter != filepath.Join(dir, "x") || c.DeadLetterSize != 2<<20 || !c.Acknowledges() {
		t.Errorf("%+v", c)
	}
	if mustParse(t, "-target", "a:1").Acknowledges() {
		t.Error("a plain target acknowledges")
	}
	checkBadInput(t, []badInput{
		{"a directory", []string{"-dead-letter", dir}, []string{"must be a regular file"}},
		{"no directory", []string{"-dead-letter", dir + "/a/b"}, []string{"there is no directory " + dir + "/a"}},
		{"connection mode", []string{"-mode", "connection", "-dead-letter", dir + "/x"}, []string{"-dead-letter"}},
		{"http in connection mode", []string{"-mode", "connection", "-target", "http://a:1"}, []string{"only valid with -mode line: write tcp://"}},
		{"no file", []string{"-target", "http://a:1?reject=file"}, []string{"?reject=file needs -dead-letter"}},
		{"empty token", []string{"-target", "http://a:1?token-file=" + token}, []string{"token-file " + token + ": it is empty"}},
	})
}
