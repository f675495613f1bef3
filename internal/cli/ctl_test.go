package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/testcert"
)

func TestCtlUsage(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		args []string
		code int
		want string // part of its output
	}{
		{[]string{"-help"}, exitOK, "drain NAME"},
		{[]string{"help"}, exitOK, "drain NAME"},
		{nil, exitUsage, "no command: write one of"},
		{[]string{"-jso", "targets"}, exitUsage, "unknown flag -jso: did you mean -json?"},
		{[]string{"-admin", "http://a", "-token-file", empty, "nothing"}, exitUsage, `unknown command "nothing"`},
		{[]string{"-admin", "http://a", "-token-file", empty, "nothing"}, exitUsage, `unknown scheme "http"`},
		{[]string{"-admin", "http://a", "-token-file", empty, "nothing"}, exitUsage, "no such file"},
		{[]string{"-token-file", writeFile(t, "two words\n"), "targets"}, exitUsage, "is not one word of visible ASCII"},
		{[]string{"targets", "-admin", "127.0.0.1:1"}, exitCannotRun, "connection refused"},
		// These faults of the command line had exit code 1, "linesplit refused", or 3, "not
		// reached".
		{[]string{"weight", "a", "-json", "b", "-admin", "127.0.0.1:1"}, exitUsage, "write a whole number"},
		{[]string{"weight", "a:1", "2.5"}, exitUsage, `weight "2.5": write a whole number from 1 to 1000000`},
		{[]string{"weight", "a:1", "-1"}, exitUsage, `linesplit ctl: weight "-1": write a whole number`},
		{[]string{"connections", "many"}, exitUsage, `limit "many": write a whole number`},
		{[]string{"add", "nonsense"}, exitUsage, `target "nonsense": no port: write nonsense:PORT`},
		{[]string{"balance", "nonsense"}, exitUsage, `balance "nonsense": use one of round-robin,`},
		{[]string{"drain", ""}, exitUsage, "drain: NAME is empty"},
		{[]string{"-admin", "unix://tmp/x.sock", "targets"}, exitUsage, "want three of them, unix:///tmp/x.sock"},
		{[]string{"-admin", "unix:/tmp/x.sock", "targets"}, exitUsage, "write unix:///tmp/x.sock"},
		{[]string{"-admin", "/tmp/x.sock", "targets"}, exitUsage, "write unix:///tmp/x.sock"},
		{[]string{"-admin", "localhost:abc", "targets"}, exitUsage, `port "abc"`},
		{[]string{"-admin", "::1:9091", "targets"}, exitUsage, "write [::1]:9091"},
		// These flags were ignored without a word.
		{[]string{"-tls-ca", empty, "-admin", "127.0.0.1:1", "targets"}, exitUsage,
			`-tls-ca "` + empty + `": the address does not speak TLS: write tls://HOST:PORT in -admin`},
		{[]string{"-tls-server-name", "a", "-admin", "unix:///a", "targets"}, exitUsage, `the address does not speak TLS`},
	} {
		var out, errs bytes.Buffer
		code := runCommand(t.Context(), "ctl", tt.args, &out, &errs)
		if code != tt.code || !strings.Contains(out.String()+errs.String(), tt.want) {
			t.Errorf("%q: exit code %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, out.String(), errs.String())
		}
	}
}

// Faults of files named every flag that takes a file, or none.
func TestFaultsOfTLSFilesNameTheFlag(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, tt := range []struct{ args, want string }{
		{"ctl -admin tls://a:1 -tls-cert " + certs.ClientCert + " targets", `-tls-cert "` + certs.ClientCert + `": needs -tls-key too`},
		{"ctl -admin tls://a:1 -tls-cert " + certs.ClientCert + " -tls-key " + certs.ServerKey + " targets",
			`-tls-key "` + certs.ServerKey + `": not usable with the certificate ` + certs.ClientCert},
		{"ctl -admin tls://a:1 -tls-ca " + certs.ServerKey + " targets", `-tls-ca "` + certs.ServerKey + `": holds a private key, not a certificate`},
		{"send -to tls://a:1 -tls-ca " + certs.ServerKey, `-tls-ca "` + certs.ServerKey + `": holds a private key`},
		{"sink -listen tls://127.0.0.1:0 -tls-cert " + certs.ServerKey + " -tls-key " + certs.ServerKey,
			`-tls-cert "` + certs.ServerKey + `": holds a private key`},
	} {
		words := strings.Fields(tt.args)
		var out, errs bytes.Buffer
		code := runCommand(t.Context(), words[0], words[1:], &out, &errs)
		if code != exitUsage || !strings.HasPrefix(errs.String(), "linesplit "+words[0]+": "+tt.want) {
			t.Errorf("%s: exit code %d, want %s\n%s", tt.args, code, tt.want, errs.String())
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

	// Errors did not say that the values were not the command line's.
	t.Setenv("LINESPLIT_ADMIN", "9091")
	t.Setenv("LINESPLIT_ADMIN_TOKEN_FILE", token+"x")
	errs.Reset()
	code = runCommand(t.Context(), "ctl", []string{"targets"}, &out, &errs)
	for _, want := range []string{
		`-admin "9091": from the environment variable LINESPLIT_ADMIN: a port alone`,
		`from the environment variable LINESPLIT_ADMIN_TOKEN_FILE: open ` + token + "x",
	} {
		if code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("exit code %d: %s, want %s", code, errs.String(), want)
		}
	}
}
