package cli

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// -check judges everything that a start would, and neither listens, resolves nor dials.
func TestCheck(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	good := writeFile(t, "target no-such-host.invalid:9999\nmax-line 2MiB\n")
	bad := writeFile(t, "target x\nprot 9000\nmax-line 2GiB\n")
	for _, test := range []struct {
		args []string
		env  string // LINESPLIT_MAX_LINES
		code int
		want []string
	}{
		{args: []string{"-check"}, want: []string{"the configuration is valid"}},
		{args: []string{"-t", "-listen", busy.Addr().String(), "-config", good}, want: []string{"is valid"}},
		{args: []string{"-check", "-mode", "connection", "-target", "no-such-host.invalid:1", "-health", "tcp"},
			want: []string{"is valid"}},
		{args: []string{"-check"}, env: "3", want: []string{"is valid", "warning: ", "LINESPLIT_MAX_LINE?"}},
		{args: []string{"-config", bad, "-check", "-port", "x"}, code: exitUsage, want: []string{
			"4 errors", bad + `:1: target "x"`, `"prot"`, bad + `:3: max-line "2GiB"`, `-port "x"`}},
		// A warning may be about the variable that was to set what is missing.
		{args: []string{"-check", "-port", "x"}, env: "3", code: exitUsage, want: []string{`-port "x"`, "LINESPLIT_MAX_LINE?"}},
		{args: []string{"-check", "-t=maybe"}, code: exitUsage, want: []string{`-t "maybe": write true or false`}},
		{args: []string{"-check", "-config", writeFile(t, "check\n")}, code: exitUsage, want: []string{"misplaced key"}},
	} {
		clearEnv(t)
		t.Setenv("LINESPLIT_CHECK", "1") // would keep linesplit from ever starting: for the command line only
		t.Setenv("LINESPLIT_MAX_LINES", test.env)
		var out bytes.Buffer
		code := Main(t.Context(), "v1.2.3", test.args, &out, &out)
		for _, want := range test.want {
			if code != test.code || !strings.Contains(out.String(), want) {
				t.Errorf("%q: exit code %d, want %d and %q:\n%s", test.args, code, test.code, want, &out)
			}
		}
	}
}
