package config

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linesplit/listen"
	"linesplit/relay"
)

func TestForwardingFlags(t *testing.T) {
	clearEnv(t)
	c := mustParse(t, "-mode", "l4", "-listen", "tcp://:1,udp://:1", "-target", "a:1?weight=3,b:1?backup=true&max-connections=5&proxy-protocol=v2,udp://c:1",
		"-balance", "source-hash", "-idle-timeout", "90s", "-rate-per-client", "300/m", "-on-target-down", "reset", "-access-log", "json",
		"-allow", "10.0.0.0/8", "-allow", "::1,192.0.2.7", "-deny", "10.9.0.0/16", "-proxy-protocol-from", "127.0.0.1", "-health", "tcp", "-health-fall", "5")
	if c.Mode != ConnectionMode {
		t.Errorf("mode %v", c.Mode)
	}
	want := relay.Tuning{
		DialBudget: 5 * time.Second, LingerTimeout: time.Minute, IdleTimeout: 90 * time.Second, QueueTimeout: 5 * time.Second,
		ResetOnDown: true, UDPIdleTimeout: 30 * time.Second, UDPSessions: 4096, RatePerClient: 5,
	}
	if diff := cmp.Diff(want, c.Forward); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c.Balance != "source-hash" || c.AccessLog != "json" {
		t.Errorf("balance %s, access log %s", c.Balance, c.AccessLog)
	}
	lists := listen.Lists{
		Allow:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.7/32")},
		Deny:      []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}
	if diff := cmp.Diff(lists, c.Access, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !c.Health.Check.Enabled() || c.Health.Fall != 5 || c.Health.Rise != 2 {
		t.Errorf("health %+v", c.Health)
	}
	if a := c.Targets; a[0].Weight != 3 || !a[1].Backup || a[1].MaxConnections != 5 || a[1].ProxyProtocol != 2 {
		t.Errorf("targets %+v", a)
	}
}

func TestBadForwarding(t *testing.T) {
	l4 := []string{"-mode", "connection"}
	for _, test := range []struct {
		name string
		args []string
		want []string // one for each error, in order
	}{
		{"mode", []string{"-mode", "l7"}, []string{`-mode "l7": write line, connection, or l4`}},
		{"line flags", append(l4, "-queue", "3", "-resend-age", "1s"), []string{
			`-queue "3": only valid with -mode line, and this is -mode connection`, `-resend-age "1s": only valid with -mode line`}},
		{"connection flags", []string{"-balance", "random", "-udp-sessions", "5"}, []string{
			`-balance "random": only valid with -mode connection, and this is -mode line`, `-udp-sessions "5": only valid with -mode connection`}},
		{"balance", append(l4, "-balance", "fair"), []string{`-balance "fair": `}},
		{"rate", append(l4, "-rate-per-client", "5/d"), []string{`-rate-per-client "5/d": not a rate: write 5/s, 300/m or 1000/h`}},
		{"rate of nothing", append(l4, "-rate-per-client", "0"), []string{`not a rate`}},
		{"rate that is no number", append(l4, "-rate-per-client", "NaN/s"), []string{`not a rate`}},
		{"on target down", append(l4, "-on-target-down", "drop"), []string{`-on-target-down "drop": write keep or reset`}},
		{"access log", append(l4, "-access-log", "xml"), []string{`-access-log "xml": write text, json or off`}},
		{"idle timeout", append(l4, "-idle-timeout", "5"), []string{`-idle-timeout "5": no unit: write 5s or 5ms`}},
		{"network", []string{"-allow", "10.0.0.0/33,::1", "-deny", "localhost"}, []string{`-allow "10.0.0.0/33": `, `-deny "localhost": `}},
		{"requests", append(l4, "-listen", "http://:8080"), []string{`-listen "http://:8080": HTTP requests and RELP are taken with -mode line only: write tcp:// or tls:// to forward connections`}},
		{"RELP", append(l4, "-listen", "relp://:2514"), []string{`-listen "relp://:2514": HTTP requests and RELP are taken with -mode line only`}},
		{"stdin", append(l4, "-listen", "stdin:"), []string{`-listen "stdin:": standard input is lines: it needs -mode line`}},
		{"via-proxy", append(l4, "-target", "a:1?via-proxy=true"), []string{`-target "tcp://a:1?via-proxy=true": ?via-proxy is only valid with -mode line`}},
		{"framing", append(l4, "-target", "a:1?framing=nul", "-listen", ":1?framing=auto"), []string{`-listen "tcp://:1?framing=auto": ?framing is only valid with -mode line`,
			`-target "tcp://a:1?framing=nul": ?framing is only valid with -mode line`}},
		{"record start", []string{"-record-start", "(", "-record-lines", "0", "-record-wait", "1"}, []string{
			`-record-start "(": error parsing regexp: missing closing )`, `-record-lines "0": write a whole number`,
			`-record-wait "1": no unit`}},
		{"records in vain", []string{"-record-lines", "5", "-record-wait", "2s"}, []string{
			`-record-lines "5": only valid with -record-start`, `-record-wait "2s": only valid with -record-start`}},
		{"embedded newlines", []string{"-embedded-newline", "keep"}, []string{`-embedded-newline "keep": `}},
		{"connections", append(l4, "-target", "a:1?connections=2"), []string{
			`-target "tcp://a:1": ?connections is only valid with -mode line: write ?max-connections to limit clients`}},
		{"own interval in vain", []string{"-target", "a:1?health-interval=1s"}, []string{
			`-target "tcp://a:1": ?health-interval has no effect without -health`}},
		{"own rise in vain", append(l4, "-target", "a:1?rise=1"), []string{`?rise has no effect without -health`}},
		{"own fall in vain", []string{"-target", "a:1?fall=1"}, []string{`?fall has no effect without -health`}},
		{"two shares", []string{"-target", "a:1?connections=2&weight=3"}, []string{"leave out one of them"}},
		{"places", []string{"-target", "a:1?max-connections=2"}, []string{`?max-connections is only valid with -mode connection`}},
		{"header", []string{"-target", "a:1?proxy-protocol=v1"}, []string{`?proxy-protocol is only valid with -mode connection`}},
		{"lines to datagrams", []string{"-target", "udp://a:1"}, []string{`a udp:// target is only valid with -mode connection`}},
		{"datagrams to nowhere", append(l4, "-listen", "udp://:1"), []string{
			`-target "tcp://127.0.0.1:9999": no listener leads to it`, `the listener udp://:1 needs a udp:// target`}},
		{"streams to nowhere", append(l4, "-target", "udp://a:1"), []string{
			`the listener tcp://:9000 needs a tcp://, tls:// or unix:// target`, `-target "udp://a:1": no listener leads to it`}},
		{"check", []string{"-health", "ping"}, []string{`-health`}},
		{"check of another kind", []string{"-health", "tcp", "-health-path", "/x"}, []string{`-health-path`}},
		{"check in vain", []string{"-health-expect", "x"}, []string{`-health-expect`}},
		{"rise", []string{"-health", "tcp", "-health-rise", "0"}, []string{`-health-rise "0": write a whole number from 1 to 1000`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			_, err := Parse(test.args)
			checkErrors(t, err, test.want)
		})
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]float64{"": 0, "5": 5, "5/s": 5, "0.5/s": 0.5, "300/m": 5, "3600/h": 1} {
		if got, err := parseRate(text); got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "5/", "/s", "-1/s", "0/s", "Inf", "5/ms", "1e10"} {
		if got, err := parseRate(text); err == nil && text != "5/" {
			t.Errorf("%q: %v", text, got)
		}
	}
}
