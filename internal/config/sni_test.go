package config

import (
	"slices"
	"testing"

	"linesplit/internal/testcert"
	"linesplit/listen"
)

func TestServerNames(t *testing.T) {
	clearEnv(t)
	c := mustParse(t, "-mode", "connection", "-listen", "tls://:443", "-tls-passthrough", "-sni", "A.example,*.b.example", "-sni-default", "no-name")
	if !c.Routes() || !c.TLSPassthrough || c.Wanted.Rest != listen.NoName ||
		!slices.Equal(c.Wanted.Names, []string{"a.example", "*.b.example"}) {
		t.Errorf("%+v", c.Wanted)
	}
	c = mustParse(t, "-mode", "connection", "-tls-passthrough")
	if c.Wanted.Rest != listen.AllRest || !slices.Equal(names(c.Listen), []string{"tls://:9000"}) {
		t.Errorf("without names: %+v at %v", c.Wanted, c.Listen)
	}
	if c = mustParse(t); c.Routes() {
		t.Error("without any of it, clients are told apart")
	}
}

func TestBadServerNames(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	pair := []string{"-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}
	through := []string{"-mode", "connection", "-listen", "tls://:1", "-tls-passthrough"}
	checkBadInput(t, []badInput{
		{"no name", append([]string{"-sni", "10.0.0.1,a..b,*"}, pair...), []string{
			`-sni "10.0.0.1": an address: clients that connect to an address name no server`,
			`-sni "a..b": an empty label`, `-sni "*": an asterisk may only stand for the whole first label`}},
		{"twice", append([]string{"-sni", "a.example,A.example."}, pair...), []string{`-sni "A.example.": given twice`}},
		{"kind", append([]string{"-sni-default", "others"}, pair...), []string{`-sni-default "others": write all, unknown-name, no-name or ech`}},
		{"names without TLS", []string{"-listen", "tcp://:1", "-sni", "a.example", "-sni-default", "all"}, []string{
			`-sni "a.example": no listener speaks TLS`, `-sni-default "all": no listener speaks TLS`}},
		{"passthrough without TLS", []string{"-mode", "connection", "-listen", "tcp://:1", "-tls-passthrough"}, []string{
			`-tls-passthrough "true": no listener speaks TLS`}},
		{"passthrough of lines", []string{"-listen", "tls://:1", "-tls-passthrough"}, []string{
			`-tls-passthrough "true": only valid with -mode connection`}},
		{"passthrough with a certificate", append(slices.Clone(through), pair...), []string{
			`-tls-cert "` + certs.ServerCert + `": has no effect with -tls-passthrough`, `-tls-key`}},
		{"passthrough to TLS", append([]string{"-target", "tls://a:1"}, through...), []string{
			`-target "tls://a:1": the client's TLS would be wrapped in TLS once more`}},
	})
}

func TestServerNamesAcrossReloads(t *testing.T) {
	clearEnv(t)
	certs := testcert.New(t, t.TempDir())
	parse := func(args ...string) Config {
		return mustParse(t, append([]string{"-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}, args...)...)
	}
	old, other, none := parse("-sni", "a.example"), parse("-sni", "b.example", "-sni-default", "all"), parse()
	changed, needRestart := Diff(old, other)
	if !slices.Equal(changed, []string{"sni", "sni-default"}) || len(needRestart) != 0 {
		t.Errorf("changed %q, need a restart %q", changed, needRestart)
	}
	changed, needRestart = Diff(old, none)
	if len(changed) != 0 || !slices.Equal(needRestart, []string{"sni"}) {
		t.Errorf("without names: changed %q, need a restart %q", changed, needRestart)
	}
	if kept := none.Keeping(old, needRestart); !slices.Equal(kept.Wanted.Names, []string{"a.example"}) {
		t.Errorf("kept %+v", kept.Wanted)
	}
}

// twoAtOneAddress is a file of two services at one address.
func twoAtOneAddress(certs testcert.Files, a, b string) string {
	return `
listen = "tls://:443"
tls-cert = "` + certs.ServerCert + `"
tls-key = "` + certs.ServerKey + `"
[service.a]
` + a + `
[service.b]
` + b
}

func TestServicesShareAListener(t *testing.T) {
	clearEnv(t)
	certs := testcert.New(t, t.TempDir())
	p := mustParseAll(t, "-config", writeTOML(t, twoAtOneAddress(certs, `sni = ["a.example", "*.example"]`, `
mode = "connection"
tls-passthrough = true
sni = "b.example"
sni-default = "all"`)))
	a, b := p.Services[0], p.Services[1]
	if a.ServerTLS.Cert == "" || a.TLSPassthrough || !slices.Equal(a.Wanted.Names, []string{"a.example", "*.example"}) {
		t.Errorf("%+v", a)
	}
	if b.ServerTLS.Cert != "" || !b.TLSPassthrough || b.Wanted.Rest != listen.AllRest {
		t.Errorf("%+v", b)
	}
}

// Defaults for server names have no effect on a service without TLS.
func TestServerNamesAtTheTop(t *testing.T) {
	clearEnv(t)
	p := mustParseAll(t, "-config", writeTOML(t, `
mode = "connection"
tls-passthrough = true
sni = "a.example"
[service.through]
listen = "tls://:443"
[service.plain]
listen = "tcp://:444"
[service.lines]
mode = "line"
port = 445
`))
	if through, plain, lines := p.Services[0], p.Services[1], p.Services[2]; !through.Routes() || plain.Routes() || lines.Routes() {
		t.Errorf("%+v", p.Services)
	}
}

func TestServicesThatCannotShareAListener(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	const names = `sni = "a.example"`
	for _, test := range []struct{ name, a, b, want string }{
		{"no names", "", "", "the services a and b both listen on tls://:443: give one of them another address, or each server names"},
		{"names of one", names, "", "share tls://:443, and b has no sni: give it server names, or sni-default"},
		{"passthrough without names", names, "mode = \"connection\"\ntls-passthrough = true", "b has no sni"},
		{"same name", names, `sni = ["b.example", "A.example"]`, "both have the server name a.example"},
		{"same rest", names + "\nsni-default = [\"ech\", \"no-name\"]", `sni-default = "no-name"`, "both have the clients no-name"},
		{"other access", names + "\nallow = \"10.0.0.0/8\"", `sni = "b.example"`, "differ in allow, which comes before the server name"},
		{"plain text", names, `listen = "tcp://:443"`, "both listen on tcp://:443: give one of them another address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			_, err := Parse([]string{"-config", writeTOML(t, twoAtOneAddress(certs, test.a, test.b))})
			checkErrors(t, err, []string{test.want})
		})
	}
}
