package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"linesplit/internal/testcert"
)

// badInput is a command line and the errors that it causes, in order.
type badInput struct {
	name string
	args []string
	want []string // a part of each error
}

func checkBadInput(t *testing.T, all []badInput) {
	t.Helper()
	for _, test := range all {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			_, err := Parse(test.args)
			checkErrors(t, err, test.want)
		})
	}
}

func TestBadCommandLines(t *testing.T) {
	checkBadInput(t, []badInput{
		{"unknown flag", []string{"-prot", "9000"}, []string{"unknown flag -prot: did you mean -port?"}},
		{"unknown flag, nothing like it", []string{"--frobnicate=1"}, []string{"unknown flag -frobnicate"}},
		{"unknown flag with a negative value", []string{"-x", "-port", "1"}, []string{"unknown flag -x"}},
		{"no flag", []string{"---port"}, []string{`"---port" is no flag`}},
		{"flag without value", []string{"-port"}, []string{"-port needs a value"}},
		{"argument", []string{"serve", "-port", "1"}, []string{`unexpected argument "serve"`}},
		{"argument behind a boolean", []string{"-tls-target", "false", "-tls-target=0"}, []string{`unexpected argument "false": a flag that is true or false takes its value with =`}},
		{"argument behind --", []string{"--", "x"}, []string{`unexpected argument "x"`}},
	})
}

func TestBadSizes(t *testing.T) {
	checkBadInput(t, []badInput{
		{"size", []string{"-buffer", "16XB"}, []string{`-buffer "16XB": not a size: write bytes such as 16384, or 16KiB`}},
		{"empty size", []string{"-buffer="}, []string{`-buffer "": not a size`}},
		{"negative size", []string{"-memory", "-1MiB"}, []string{`-memory "-1MiB": not a size`}},
		{"size with a comma", []string{"-max-line", "1,5MiB"}, []string{`-max-line "1,5MiB": not a size`}},
		{"size beyond int64", []string{"-memory", "8EiB"}, []string{`-memory "8EiB": not a size`}},
		{"size beyond uint64", []string{"-memory", "99999999999999999999EiB"}, []string{`not a size`}},
		{"zero size", []string{"-max-line", "0"}, []string{`-max-line "0": out of bounds: write a size from 16B to 1GiB`}},
		{"small buffer", []string{"-buffer", "511"}, []string{`-buffer "511": out of bounds: write a size from 512B to 1MiB`}},
		{"large buffer", []string{"-buffer", "1048577"}, []string{`-buffer "1048577": out of bounds`}},
		{"line beyond a quarter of memory", []string{"-memory", "4MiB", "-max-line", "1048577"}, []string{`-max-line "1048577": must be at most a quarter of -memory, which is 4MiB`}},
		{"margin beyond its cap", []string{"-resend-margin", "2MiB", "-resend-max", "1MiB"}, []string{`-resend-margin "2MiB": must be at most -resend-max, which is 1MiB`}},
	})
}

func TestBadDurations(t *testing.T) {
	checkBadInput(t, []badInput{
		{"duration", []string{"-stall-timeout", "soon"}, []string{`-stall-timeout "soon": not a duration: write 500ms, 30s`}},
		{"duration without unit", []string{"-dial-timeout", "5"}, []string{`-dial-timeout "5": no unit: write 5s or 5ms`}},
		{"empty duration", []string{"-resend-age="}, []string{`-resend-age "": not a duration`}},
		{"zero drain", []string{"-drain-timeout", "0"}, []string{`-drain-timeout "0": out of bounds`}},
		{"negative duration", []string{"-failback-interval", "-5m"}, []string{`-failback-interval "-5m": out of bounds`}},
		{"long duration", []string{"-dead-timeout", "9000h"}, []string{`-dead-timeout "9000h": out of bounds`}},
		{"older name", []string{"-write-timeout", "x"}, []string{`-write-timeout "x": not a duration`}},
	})
}

func TestBadValues(t *testing.T) {
	checkBadInput(t, []badInput{
		{"port out of range", []string{"-port", "65536"}, []string{`-port "65536": not a port: write a number from 0 to 65535`}},
		{"negative port", []string{"-port", "-1"}, []string{`-port "-1": not a port`}},
		{"named port", []string{"-port", "http"}, []string{`-port "http": not a port`}},
		{"addr with port", []string{"-addr", "0.0.0.0:9000"}, []string{`-addr "0.0.0.0:9000": neither a host name nor an IP address: the port has a flag of its own, -port`}},
		{"addr with scheme", []string{"-addr", "tcp//x"}, []string{`-addr "tcp//x": neither`}},
		{"addr of a template", []string{"-addr", "$HOST"}, []string{`-addr "$HOST": "$HOST" is neither a host name nor an IP address: a variable`}},
		{"number", []string{"-connections", "many"}, []string{`-connections "many": write a whole number from 1 to 1024`}},
		{"no connections", []string{"-connections", "0"}, []string{`-connections "0"`}},
		{"no queue", []string{"-queue", "0"}, []string{`-queue "0": write a whole number from 1 to 1048576`}},
		{"negative senders", []string{"-max-connections", "-1"}, []string{`-max-connections "-1"`}},
		{"policy", []string{"-oversize", "keep"}, []string{`-oversize "keep": `}},
		{"level", []string{"-log-level", "loud"}, []string{`-log-level "loud": write debug, info, warn or error`}},
		{"format", []string{"-log-format", "xml"}, []string{`-log-format "xml": write text or json`}},
		{"admin", []string{"-admin", "9091"}, []string{`-admin "9091": a port alone: write :9091 or HOST:9091`}},
		{"admin port", []string{"-admin", ":99999"}, []string{`-admin ":99999": port "99999": want a number`}},
	})
}

func TestBadTargets(t *testing.T) {
	file, err := filepath.Abs("faults_test.go")
	if err != nil {
		t.Fatal(err)
	}
	checkBadInput(t, []badInput{
		{"target without port", []string{"-target", "10.0.0.1"}, []string{`-target "10.0.0.1": no port: write 10.0.0.1:PORT`}},
		{"target port out of range", []string{"-target", "10.0.0.1:70000"}, []string{`-target "10.0.0.1:70000": `}},
		{"link-local target", []string{"-target", "[fe80::1]:99"}, []string{`which needs its interface: [fe80::1%eth0]:99`}},
		{"target scheme", []string{"-target", "sctp://10.0.0.1:1"}, []string{`-target "sctp://10.0.0.1:1": unknown scheme "sctp"`}},
		{"duplicate target", []string{"-target", "a:1,b:1", "-target", "tcp://A:1?via-proxy=true"}, []string{`-target "tcp://A:1?via-proxy=true": given twice`}},
		{"no target", []string{"-target", ""}, []string{`-target "": no target`}},
		{"only commas", []string{"-target", " , "}, []string{`no target`}},
		{"stray comma", []string{"-target", "a:1,"}, []string{`-target "a:1,": an empty entry: one comma too many?`}},
		{"a directory for a socket", []string{"-target", "unix://" + filepath.Dir(file)}, []string{"is a directory, not a socket"}},
		{"a file for a socket", []string{"-target", "unix://" + file}, []string{"faults_test.go is a file, not a socket"}},
		{"two bad targets", []string{"-target", "a,b"}, []string{`-target "a": `, `-target "b": `}},
	})
}

func TestBadListeners(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	checkBadInput(t, []badInput{
		{"listen scheme", []string{"-listen", "sctp://:1"}, []string{`-listen "sctp://:1": unknown scheme "sctp"`}},
		{"a port alone", []string{"-listen", "9000"}, []string{`-listen "9000": a port alone: write :9000`}},
		{"a path alone", []string{"-listen", "/run/x.sock"}, []string{`-listen "/run/x.sock": no scheme: write unix:///run/x.sock`}},
		{"link-local", []string{"-listen", "[fe80::1]:99"}, []string{`fe80::1 is a link-local address, which needs its interface: [fe80::1%eth0]:99`}},
		{"listen twice", []string{"-listen", "tcp://:9000,tls://:9000", "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}, []string{`-listen "tls://:9000": given twice`}},
		{"stdin twice", []string{"-listen", "stdin:", "-listen", "stdin:"}, []string{`-listen "stdin:": given twice`}},
		{"empty listen", []string{"-listen", ""}, []string{`-listen "": no listener`}},
		{"listen and addr and port", []string{"-listen", "tcp://:1", "-addr", "::", "-port", "2"}, []string{
			`-addr "::": -listen takes the place of -addr and -port`, `-port "2": -listen takes the place of -addr and -port`}},
		{"unwritable unix path", []string{"-listen", "unix:///nonexistent/dir/x.sock"}, []string{`-listen "unix:///nonexistent/dir/x.sock": directory /nonexistent/dir: no such file or directory`}},
		{"unix path taken", []string{"-listen", "unix://" + certs.CA}, []string{`is a file, not a socket`}},
	})
}

func TestBadTLSFiles(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	tlsArgs := []string{"-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}
	checkBadInput(t, []badInput{
		{"cert without key", []string{"-tls-cert", certs.ServerCert}, []string{`needs -tls-key too`}},
		{"key without cert", []string{"-tls-key", certs.ServerKey}, []string{`needs -tls-cert too`}},
		{"unreadable pair", []string{"-tls-cert", "/nonexistent/c", "-tls-key", "/nonexistent/k"}, []string{
			`-tls-cert "/nonexistent/c": no such file`, `-tls-key "/nonexistent/k": no such file`}},
		{"mismatched pair", []string{"-tls-cert", certs.ServerCert, "-tls-key", certs.ClientKey}, []string{
			`-tls-key "` + certs.ClientKey + `": not usable with the certificate ` + certs.ServerCert}},
		{"second pair mismatched", append([]string{"-tls-cert", certs.ClientCert, "-tls-key", certs.MismatchedKey}, tlsArgs...), []string{
			`-tls-key "` + certs.MismatchedKey + `": not usable with the certificate ` + certs.ClientCert}},
		{"fewer keys", append([]string{"-tls-cert", certs.ClientCert}, tlsArgs...), []string{
			`: keys: 1, and certificates: 2: give one -tls-key for each -tls-cert, in the same order`}},
		{"certificate twice", append(slices.Clone(tlsArgs), tlsArgs...), []string{`-tls-cert "` + certs.ServerCert + `": given twice`}},
		{"certificate that is none", []string{"-tls-cert", certs.ServerKey, "-tls-key", certs.ServerKey}, []string{
			`-tls-cert "` + certs.ServerKey + `": holds a private key, not a certificate`}},
		{"client authority that is none", append([]string{"-tls-client-ca", certs.ServerKey}, tlsArgs...), []string{
			`-tls-client-ca "` + certs.ServerKey + `": holds a private key, not a certificate`}},
		{"admin key", []string{"-admin", "tls://127.0.0.1:1", "-admin-tls-cert", certs.ServerCert, "-admin-tls-key", certs.ClientKey}, []string{
			`-admin-tls-key "` + certs.ClientKey + `": not usable with the certificate`}},
		{"target key", []string{"-tls-target", "-tls-target-cert", certs.ClientCert, "-tls-target-key", certs.ServerKey}, []string{
			`-tls-target-key "` + certs.ServerKey + `": not usable with the certificate`}},
		{"tls listener without cert", []string{"-listen", "tls://:1"}, []string{`-listen "tls://:1": a tls:// listener needs -tls-cert and -tls-key`}},
		{"tls listener without cert or passthrough", []string{"-mode", "connection", "-listen", "tls://:1"}, []string{
			`-listen "tls://:1": a tls:// listener needs -tls-cert and -tls-key, or -tls-passthrough if`}},
		{"cert without tls listener", []string{"-listen", "tcp://:1", "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}, []string{`no listener speaks TLS`}},
		{"revocation list without authority", append([]string{"-tls-client-crl", certs.CA}, tlsArgs...), []string{`only valid with -tls-client-ca`}},
		{"revocation list that is none", append([]string{"-tls-client-ca", certs.CA, "-tls-client-crl", certs.CA}, tlsArgs...),
			[]string{`-tls-client-crl "` + certs.CA + `": holds a certificate, not a revocation list`}},
		{"admin revocation list without authority", []string{"-admin", "tls://127.0.0.1:1", "-admin-tls-cert", certs.ServerCert,
			"-admin-tls-key", certs.ServerKey, "-admin-tls-client-crl", certs.CA}, []string{`only valid with -admin-tls-client-ca`}},
		{"client authority without cert", []string{"-tls-client-ca", certs.CA}, []string{`only valid with -tls-cert and -tls-key`}},
		{"tls version", []string{"-tls-min-version", "1.1"}, []string{`-tls-min-version "1.1": TLS 1.1 is broken`}},
		{"target cert without key", []string{"-tls-target", "-tls-target-cert", certs.ClientCert}, []string{`needs -tls-target-key too`}},
		{"unreadable target authority", []string{"-tls-target", "-tls-target-ca", "/nonexistent/ca"}, []string{`-tls-target-ca "/nonexistent/ca": no such file`}},
		{"tls options without tls target", []string{"-tls-target-ca", certs.CA, "-tls-target-server-name", "x", "-tls-target-skip-verify"}, []string{
			"-tls-target-ca", `-tls-target-server-name "x": no target speaks TLS`, "-tls-target-skip-verify"}},
		{"tls target in vain", []string{"-tls-target", "-target", "tcp://a:1"}, []string{`-tls-target "true": every target names another scheme`}},
		{"boolean", []string{"-tls-target=maybe"}, []string{`-tls-target "maybe": write true or false`}},
	})
}

func TestBadFilePaths(t *testing.T) {
	checkBadInput(t, []badInput{
		{"no file", []string{"-config", "/nonexistent/conf"}, []string{`-config "/nonexistent/conf": no such file`}},
		{"endless file", []string{"-config", "/dev/zero"}, []string{`-config "/dev/zero": is a device or a socket, not a regular file`}},
		{"directory for a file", []string{"-config", "/"}, []string{`-config "/": is a directory, not a regular file`}},
	})
}

func TestBadFile(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "prot 9000\n", `FILE:1: unknown key "prot": did you mean port?`},
		{"key written as a flag", "-port 9000", `FILE:1: unknown key "-port": did you mean port?`},
		{"equals sign", "port=9000", `with a space between them and no sign`},
		{"tab", "port\t90000", `FILE:1: port "90000": not a port`},
		{"no value", "port", `FILE:1: key "port" without a value: write port PORT`},
		{"file in a file", "config /etc/x", `misplaced key "config"`},
		{"help in a file", "help", `misplaced key "help"`},
		{"bad value", "port 70000 # high", `FILE:1: port "70000": not a port`},
		{"no setting", "# target a:1\n", `the file holds no setting, and neither a flag nor LINESPLIT_TARGET names a target`},
		{"long line", "# " + strings.Repeat("x", 64<<10) + "\nprot 1\n", `line 1 has 65538 bytes: the limit is 65535`},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			file := writeFile(t, test.text)
			_, err := Parse([]string{"-config", file})
			checkErrors(t, err, []string{strings.ReplaceAll(test.want, "FILE", file)})
		})
	}
}

// Where a flag or a variable names the targets, a file may be empty.
func TestEmptyFileBesideATarget(t *testing.T) {
	clearEnv(t)
	file := writeFile(t, "")
	mustParse(t, "-config", file, "-target", "a:1")
	t.Setenv("LINESPLIT_TARGET", "a:1")
	mustParse(t, "-config", file)
}

func TestAllErrorsAtOnce(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_BUFFER", "1XB")
	t.Setenv("LINESPLIT_PORT", "tcp://10.0.0.1:9000")
	file := writeFile(t, "max-line 9GiB\nfrobnicate 1\n")
	_, err := Parse([]string{"-prot", "1", "-queue", "0", "-config", file, "x"})
	checkErrors(t, err, []string{
		"unknown flag -prot",
		`unexpected argument "x"`,
		file + `:2: unknown key "frobnicate"`,
		`-buffer "1XB" from the environment variable LINESPLIT_BUFFER`,
		file + `:1: max-line "9GiB": `,
		`-queue "0"`,
		`Kubernetes sets this variable for a Service named linesplit`,
	})
	if text := err.Error(); !strings.HasPrefix(text, "7 errors:\n  unknown flag -prot") {
		t.Errorf("all together:\n%s", text)
	}
}

// A variable that is exported for linesplit ctl holds for linesplit itself, too, which did not
// start without -admin. The error about its file did not name it.
func TestTokenFileFromTheEnvironment(t *testing.T) {
	clearEnv(t)
	token := writeFile(t, "two words")
	t.Setenv("LINESPLIT_ADMIN_TOKEN_FILE", token)
	from := `-admin-token-file "` + token + `" from the environment variable LINESPLIT_ADMIN_TOKEN_FILE: `
	c, err := Parse([]string{"-target", "a:1"})
	want := []string{`the environment variable "LINESPLIT_ADMIN_TOKEN_FILE" sets nothing without -admin`}
	if err != nil || c.AdminToken != "" || !slices.Equal(c.Warnings, want) {
		t.Errorf("without -admin: token file %q, warnings %q, error %v", c.AdminToken, c.Warnings, err)
	}
	_, err = Parse([]string{"-target", "a:1", "-admin-token-file", token})
	checkErrors(t, err, []string{`-admin-token-file "` + token + `": only valid with -admin`})
	_, err = Parse([]string{"-target", "a:1", "-admin", "127.0.0.1:9091"})
	checkErrors(t, err, []string{from + "is not one word"})
}
