package config

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/internal/testcert"
)

func TestTOMLOfOneService(t *testing.T) {
	clearEnv(t)
	p := mustParseAll(t, "-config", writeTOML(t, `
listen = ["tcp://:514", "udp://:514"]
target = "10.0.0.1:9999"
max-line = "2MiB"
queue = 64
reuse-port = false
`), "-queue", "7")
	if p.Named() || len(p.Services) != 1 || len(p.Listen) != 2 || p.Lines.MaxLine != 2<<20 || p.Queue != 7 {
		t.Errorf("%+v", p.Config)
	}
}

const twoServices = `
admin = "127.0.0.1:9091"
memory = "64MiB"
queue = 9
health-path = "/x"
drain-timeout = "3s"
addr = "127.0.0.1"

[service.lines]
listen = ["tcp://:514", "udp://:514"]
target = "10.0.0.1:9999"
memory = "16MiB"

[service.web]
mode = "connection"
port = 8080
target = ["10.0.0.2:80?weight=2", "10.0.0.3:80"]
health = "tcp"
drain-timeout = "1m"
`

func TestServices(t *testing.T) {
	clearEnv(t)
	p := mustParseAll(t, "-config", writeTOML(t, twoServices), "-loops", "2", "-max-line", "2MiB")
	if !p.Named() || len(p.Services) != 2 || p.Admin != "127.0.0.1:9091" || p.Memory != 64<<20 || p.Loops != 2 {
		t.Fatalf("%+v", p)
	}
	lines, web := p.Services[0], p.Services[1]
	if lines.Name != "lines" || lines.Mode != LineMode || len(lines.Listen) != 2 || lines.Queue != 9 || lines.Memory != 16<<20 ||
		lines.DrainTimeout != 3*time.Second || lines.Lines.MaxLine != 2<<20 || lines.Loops != 2 {
		t.Errorf("%+v", lines)
	}
	if web.Name != "web" || web.Mode != ConnectionMode || web.Listen[0].String() != "tcp://127.0.0.1:8080" ||
		len(web.Targets) != 2 || !web.Health.Check.Enabled() || web.DrainTimeout != time.Minute {
		t.Errorf("%+v", web)
	}
	has := func(c Config, name string) bool {
		return slices.ContainsFunc(c.Shown, func(s admin.Setting) bool { return s.Name == name })
	}
	if !has(p.Config, "admin") || has(p.Config, "queue") || has(lines, "admin") || !has(lines, "queue") || has(web, "queue") {
		t.Error("the settings are not where they belong")
	}
}

// A default outside the tables was an error for a service on which it has no effect.
func TestDefaultsWithoutEffectOnAService(t *testing.T) {
	clearEnv(t)
	certs := testcert.New(t, t.TempDir())
	text := `
tls-cert = "` + certs.ServerCert + `"
tls-key = "` + certs.ServerKey + `"
tls-target-ca = "` + certs.CA + `"
port = 9000
stall-timeout = "1m"
resolver = "10.0.0.53"
discovery-empty = "drain"
key-missing = "drop"
key-down = "wait"
record-lines = 5
[service.tls]
write-timeout = "5s"
target = "tls://a:1"
[service.plain]
listen = "tcp://:9001"
`
	p := mustParseAll(t, "-config", writeTOML(t, text))
	tls, plain := p.Services[0], p.Services[1]
	if !tls.ListensTLS() || tls.TargetTLS.CA == "" || tls.Delivery.StallTimeout != 5*time.Second {
		t.Errorf("%+v", tls)
	}
	if plain.ListensTLS() || plain.ServerTLS.Cert != "" || plain.TargetTLS.CA != "" || plain.Delivery.StallTimeout != time.Minute {
		t.Errorf("%+v", plain)
	}
	if plain.Delivery.StayHome || plain.Lines.RecordLines != tls.Lines.RecordLines || plain.Lines.RecordLines == 5 {
		t.Errorf("%+v", plain)
	}
}

func TestFaultsOfServices(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"bad values", "[service.a]\nqueue = 0\n[service.b]\nport = 1\nmemory = \"1\"",
			[]string{`FILE:2: service a: queue "0": `, `FILE:5: service b: memory "1": out of bounds`}},
		{"once", "queue = 0\n[service.a]\n[service.b]\nport = 1", []string{`FILE:1: service a: queue "0": `}},
		{"another mode", "[service.a]\nmode = \"connection\"\nqueue = 1",
			[]string{`FILE:3: service a: queue "1": only valid with -mode line`}},
		{"process", "admin = \"x\"\n[service.a]\n[service.b]\nport = 1", []string{`FILE:1: admin "x": `}},
		{"one listener", "[service.a]\nlisten = \"tcp://:514\"\n[service.b]\nlisten = [\"udp://:514\", \"tcp://:514\"]",
			[]string{`the services a and b both listen on tcp://:514: give one of them another address`}},
		{"round", "[service.a]\nlisten = \"tcp://:1\"\ntarget = \"127.0.0.1:2\"\n[service.b]\nlisten = \"tcp://127.0.0.1:2\"\ntarget = [\"x:1\", \"localhost:3\"]\n" +
			"[service.c]\nlisten = \"tcp://:3\"\ntarget = \"127.0.0.1:1\"",
			[]string{`the services send to each other, a to b to c to a: what is sent there would go round for ever`}},
		{"itself", "[service.a]\nlisten = \"tcp://:1\"\ntarget = \"127.0.0.1:1\"", []string{`FILE:3: service a: target "tcp://127.0.0.1:1": linesplit itself listens there`}},
		{"long lines", "memory = \"8MiB\"\nmax-line = \"2MiB\"\n[service.a]\nport = 1\n[service.b]\nport = 2\nmax-line = \"64KiB\"",
			[]string{`service a: -max-line and -buffer must be at most a quarter of the memory that the service can count on, which is 2.0 MiB`}},
		{"more memory than there is", "memory = \"8MiB\"\n[service.a]\nmemory = \"9MiB\"",
			[]string{`service a: memory is 9.0 MiB, and at the top of the file 8.0 MiB for all services`}},
		{"bad memory", "memory = \"much\"\n[service.a]\nport = 1\n[service.b]\nport = 2", []string{`FILE:1: memory "much": not a size`}},
		{"start-partial", "start-partial = true\ntarget = \"a:1\"", []string{`FILE:1: start-partial "true": only valid with several services`}},
		{"defaults alone", "[service.a]\n[service.b]", []string{`the services a and b both listen on tcp://:9000`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			file := writeTOML(t, test.text)
			_, err := Parse([]string{"-config", file})
			var want []string
			for _, w := range test.want {
				want = append(want, strings.ReplaceAll(w, "FILE", file))
			}
			checkErrors(t, err, want)
		})
	}
}

// Listeners of two services may share a port where those of one service may.
func TestListenersOfServicesBesideEachOther(t *testing.T) {
	clearEnv(t)
	mustParseAll(t, "-config", writeTOML(t, "[service.a]\nlisten=\"tcp://[::]:514\"\n[service.b]\nlisten=\"tcp://0.0.0.0:514\""))
}

func TestLostServices(t *testing.T) {
	clearEnv(t)
	had := mustParseAll(t, "-config", writeTOML(t, twoServices))
	for _, test := range []struct{ text, want string }{
		{"target = \"a:1\"", "holds no service, where it held 2"},
		{strings.Replace(twoServices, `target = "10`, `#target = "10`, 1), "service lines: no target in the file"},
		{"[service.web]\ntarget = \"a:1\"", ""},
	} {
		err := had.CheckLost(mustParseAll(t, "-config", writeTOML(t, test.text)))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.text, err, test.want)
		}
	}
}

// The file in docs/services.md is valid.
func TestServicesDocument(t *testing.T) {
	clearEnv(t)
	text, err := os.ReadFile("../../docs/services.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n    admin = ")
	example, _, _ := strings.Cut("    admin = "+rest, "\n- **")
	if p := mustParseAll(t, "-config", writeTOML(t, example)); len(p.Services) != 2 {
		t.Errorf("%d services in\n%s", len(p.Services), example)
	}
}
