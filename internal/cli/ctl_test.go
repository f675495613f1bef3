package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCtlUsage(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		args []string
		code int
		want string // part of its output
	}{
		{[]string{"-help"}, exitOK, "drain NAME"},
		{nil, exitUsage, "no command: write one of"},
		{[]string{"-jso", "targets"}, exitUsage, "unknown flag -jso: did you mean -json?"},
		{[]string{"-admin", "http://a", "-token-file", empty, "nothing"}, exitUsage, `unknown command "nothing"`},
		{[]string{"-admin", "http://a", "-token-file", empty, "nothing"}, exitUsage, `unknown scheme "http"`},
		{[]string{"-admin", "http://a", "-token-file", empty, "nothing"}, exitUsage, "no such file"},
		{[]string{"targets", "-admin", "127.0.0.1:1"}, exitCannotRun, "connection refused"},
		{[]string{"weight", "a", "-json", "b", "-admin", "127.0.0.1:1"}, exitFailed, "write a number"},
	} {
		var out, errs bytes.Buffer
		code := runCommand(t.Context(), "ctl", tt.args, &out, &errs)
		if code != tt.code || !strings.Contains(out.String()+errs.String(), tt.want) {
			t.Errorf("%q: exit code %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, out.String(), errs.String())
		}
	}
}

func TestCtlTakesItsAddressFromTheEnvironment(t *testing.T) {
	t.Setenv("LINESPLIT_ADMIN", "unix:///nowhere/at/all.sock")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LINESPLIT_ADMIN_TOKEN_FILE", token)
	var out, errs bytes.Buffer
	code := runCommand(t.Context(), "ctl", []string{"targets"}, &out, &errs)
	if code != exitCannotRun || !strings.Contains(errs.String(), "/nowhere/at/all.sock") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}
