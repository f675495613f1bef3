package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/convert"
)

func TestConvertExitCodes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := write("whole.cfg", "listen db\n bind *:5432\n server a 10.0.0.1:5432 check\n")
	part := write("part.cfg", "listen db\n bind *:5432\n server a 10.0.0.1:5432 cookie x\n")
	wrong := write("wrong.cfg", "hello\n")
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{whole}, exitOK, "[service.db]", ""},
		{[]string{"-from", "haproxy", whole}, exitOK, "[service.db]", ""},
		{[]string{part}, exitFailed, "# no counterpart: line 3: server a … cookie x\n", "1 line without a counterpart: see the comments"},
		{[]string{wrong}, exitUsage, "", "no section such as"},
		{[]string{"-from", "mixctl", whole}, exitUsage, "", "as a configuration of mixctl"},
		{[]string{"-from", "nginx", whole}, exitUsage, "", "write gobetween, haproxy, mixctl"},
		{[]string{}, exitUsage, "", "which file?"},
		{[]string{whole, part}, exitUsage, "", "takes one file"},
		{[]string{filepath.Join(dir, "none.cfg")}, exitCannotRun, "", "no such file"},
		{[]string{dir}, exitCannotRun, "", "directory"},
		{[]string{"-help"}, exitOK, "Usage:\n  linesplit convert", ""},
	} {
		var stdout, stderr bytes.Buffer
		code := runCommand(t.Context(), "convert", c.args, &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: exit code %d, want %d\n%s%s", c.args, code, c.code, &stdout, &stderr)
		}
		if c.stderr == "" && stderr.Len() > 0 || c.stdout == "" && stdout.Len() > 0 {
			t.Errorf("%q: both streams: %s%s", c.args, &stdout, &stderr)
		}
	}
}

// The help names every origin.
func TestConvertNamesOrigins(t *testing.T) {
	var help bytes.Buffer
	runCommand(t.Context(), "convert", []string{"-help"}, &help, &help)
	for _, o := range convert.Origins() {
		if !strings.Contains(help.String(), string(o)) {
			t.Errorf("no %s in\n%s", o, &help)
		}
	}
}
