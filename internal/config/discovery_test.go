package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSourcesAreParsed(t *testing.T) {
	clearEnv(t)
	c := mustParse(t, "-target", "dns://a:1,10.0.0.1:9", "-target", "srv://_b._tcp.test?scheme=tls", "-resolver", "10.0.0.53",
		"-discovery-empty", "drain", "-tls-target-skip-verify")
	if got := c.SourceNames(MainGroup); !slices.Equal(got, []string{"dns://a:1", "srv://_b._tcp.test?scheme=tls"}) || len(c.Targets) != 1 {
		t.Errorf("%q, %v", got, c.Targets)
	}
	if !c.Discovery.DrainEmpty || c.Resolver != "udp://10.0.0.53:53" || !c.DialsTLS() {
		t.Errorf("%+v, %s", c.Discovery, c.Resolver)
	}
}

func TestBadSources(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	target := func(text string, more ...string) []string { return append([]string{"-target", text}, more...) }
	checkBadInput(t, []badInput{
		{"unknown scheme", target("consul://a:1"), []string{`-target "consul://a:1": unknown scheme "consul": use tcp, tls, unix, udp, http, https, http+bulk, https+bulk, relp, relp+tls, lumberjack or lumberjack+tls; sources of targets are dns, srv,`}},
		{"given twice", target("dns://a:1,dns://a:1"), []string{"given twice"}},
		{"not executable", target("exec://" + plain), []string{plain + " is not executable: run chmod +x"}},
		{"no program", target("exec:///nonexistent"), []string{"the program /nonexistent cannot be started: no such file"}},
		{"no port", target("dns://a"), []string{`-target "dns://a": no port: write a:PORT`}},
		{"backup in line mode", target("dns://a:1?proxy-protocol=v2"), []string{"?proxy-protocol is only valid with -mode connection"}},
		{"via-proxy in connection mode", target("dns://a:1?via-proxy=true", "-mode", "connection"), []string{"?via-proxy is only valid with -mode line"}},
		{"max-age in connection mode", target("10.0.0.1:9?max-age=5m", "-mode", "connection"), []string{"?max-age is only valid with -mode line"}},
		{"udp in line mode", target("dns://a:1?scheme=udp"), []string{"a udp:// target is only valid with -mode connection"}},
		{"streams alone", target("dns://a:1", "-mode", "connection", "-listen", "udp://:1"), []string{"no listener leads to it", "needs a udp:// target"}},
		{"resolver alone", target("10.0.0.1:9", "-resolver", "10.0.0.53"), []string{"no source that asks DNS"}},
		{"resolver beside a file", target("file:///a.json", "-resolver", "10.0.0.53"), []string{"no source that asks DNS"}},
		{"resolver by name", target("dns://a:1", "-resolver", "dns.test"), []string{"-resolver"}},
		{"empty alone", target("10.0.0.1:9", "-discovery-empty", "drain"), []string{"no source of targets"}},
		{"empty", target("dns://a:1", "-discovery-empty", "perhaps"), []string{"write keep or drain"}},
	})
}

// A reload applies other sources. Options that targets cannot take over while they run are named.
func TestSourcesInReloads(t *testing.T) {
	clearEnv(t)
	old := mustParse(t, "-mode", "connection", "-target", "dns://a:1")
	for target, want := range map[string]string{
		"dns://a:1?weight=3&refresh=5s": "", "dns://b:1": "", "dns://a:1?scheme=tls,dns://b:1": "",
		"dns://a:1?backup=true,dns://b:1": "target dns://a:1?backup=true (",
	} {
		changed, restart := Diff(old, mustParse(t, "-mode", "connection", "-target", target))
		if !slices.Contains(changed, "target") || (len(restart) > 0) != (want != "") || !strings.Contains(strings.Join(restart, " "), want) {
			t.Errorf("%s: changed %q, restart for %q", target, changed, restart)
		}
	}
}
