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
