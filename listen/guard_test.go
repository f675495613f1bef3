package listen

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestParsePrefixNormalizes(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{in: "10.0.0.0/8", want: "10.0.0.0/8"},
		{in: "192.0.2.7", want: "192.0.2.7/32"},
		{in: "0.0.0.0/0", want: "0.0.0.0/0"},
		{in: "::/0", want: "::/0"},
		{in: "2001:db8::/32", want: "2001:db8::/32"},
		{in: "::1", want: "::1/128"},
		{in: "::ffff:10.0.0.0/104", want: "10.0.0.0/8"},
		{in: "::ffff:192.0.2.7", want: "192.0.2.7/32"},
		{in: "10.1.2.3/8", err: "write 10.0.0.0/8, or the address alone"},
		{in: "::ffff:10.1.2.3/104", err: "write 10.0.0.0/8"},
		{in: "2001:db8::1/32", err: "write 2001:db8::/32"},
		{in: "10.0.0.0/33", err: "is not a network"},
		{in: "10.0.0/8", err: "is not a network"},
		{in: "10.0.0.0/", err: "is not a network"},
		{in: "", err: "neither an address nor a network"},
		{in: "localhost", err: "neither an address nor a network"},
		{in: "10.0.0.1:80", err: "neither an address nor a network"},
		{in: "fe80::1%eth0", err: "neither an address nor a network"},
		{in: "fe80::%eth0/64", err: "is not a network"},
	}
	for _, tt := range tests {
		got, err := ParsePrefix(tt.in)
		switch {
		case tt.err == "" && (err != nil || got.String() != tt.want):
			t.Errorf("%q: %v, %v, want %s", tt.in, got, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: %v, %v, want %q", tt.in, got, err, tt.err)
		}
	}
}

func TestGuardAdmitsByLists(t *testing.T) {
	tests := []struct {
		name        string
		allow, deny []netip.Prefix
		from        string
		want        bool
	}{
		{"no lists", nil, nil, "10.0.0.1:1", true},
		{"allowed", prefixes("10.0.0.0/8"), nil, "10.0.0.1:1", true},
		{"in none", prefixes("10.0.0.0/8"), nil, "11.0.0.1:1", false},
		{"denied", nil, prefixes("10.0.0.0/8"), "10.0.0.1:1", false},
		{"not denied", nil, prefixes("10.0.0.0/8"), "11.0.0.1:1", true},
		{"deny first", prefixes("10.0.0.0/8"), prefixes("10.0.0.1"), "10.0.0.1:1", false},
		{"beside it", prefixes("10.0.0.0/8"), prefixes("10.0.0.1"), "10.0.0.2:1", true},
		{"mapped", prefixes("10.0.0.0/8"), nil, "[::ffff:10.0.0.1]:1", true},
		{"mapped, denied", nil, prefixes("10.0.0.0/8"), "[::ffff:10.0.0.1]:1", false},
		{"the other family", prefixes("0.0.0.0/0"), nil, "[::1]:1", false},
		{"zone", prefixes("fe80::/10"), nil, "[fe80::1%1]:1", true},
	}
	for _, tt := range tests {
		g := &Guard{Allow: tt.allow, Deny: tt.deny}
		if got := g.admits(netip.MustParseAddrPort(tt.from)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if denied := g.Stats().Denied; (denied == 0) != tt.want {
			t.Errorf("%s: %d denied", tt.name, denied)
		}
	}
	if none := (*Guard)(nil); !none.admits(netip.MustParseAddrPort("10.0.0.1:1")) {
		t.Error("denied without a guard")
	}
}

// Refusals named a peer as [::ffff:127.0.0.1]:1, which no other message does.
func TestRefusalsNamePeersAsOtherMessagesDo(t *testing.T) {
	var logs bytes.Buffer
	g := &Guard{Deny: prefixes("127.0.0.1"), Logger: slog.New(slog.NewTextHandler(&logs, nil))}
	from := netip.MustParseAddrPort("[::ffff:127.0.0.1]:41956")
	g.admits(from)
	g.headerFailed(from, errNoHeader)
	if n := strings.Count(logs.String(), "peer=127.0.0.1:41956"); n != 2 {
		t.Errorf("the address is named %d times:\n%s", n, &logs)
	}
}

// A denied connection is reset before anything is read, and others are served.
func TestDeniedConnectionIsReset(t *testing.T) {
	g := &Guard{Deny: prefixes("127.0.0.2")}
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	denied := dialFrom(t, "127.0.0.2", ln)
	meet(t, ln)
	wantReset(t, denied)
	if s := g.Stats(); s.Denied != 1 || s.ProxyErrors != 0 {
		t.Errorf("%+v", s)
	}
}

func TestUnixIsNotGuarded(t *testing.T) {
	g := &Guard{Allow: prefixes("192.0.2.1"), ProxyFrom: prefixes("0.0.0.0/0", "::/0")}
	ln := openGuarded(t, "unix://"+t.TempDir()+"/s", g)
	meet(t, ln)
}

func prefixes(values ...string) (all []netip.Prefix) {
	for _, v := range values {
		p, err := ParsePrefix(v)
		if err != nil {
			panic(err)
		}
		all = append(all, p)
	}
	return all
}

func openGuarded(t *testing.T, value string, g *Guard) net.Listener {
	t.Helper()
	ln, err := Open(t.Context(), mustParse(t, value), nil, g)
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dialFrom(t *testing.T, host string, ln net.Listener) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	conn, err := d.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Skipf("no address %s here: %v", host, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// FuzzParsePrefix checks that ParsePrefix returns networks in normalized form only.
func FuzzParsePrefix(f *testing.F) {
	seeds := []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "::1", "10.1.2.3/8", "fe80::1%x", "::ffff:0:0/90"}
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePrefix(text)
		if err != nil {
			return
		}
		if !p.IsValid() || p.Masked() != p || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Errorf("ParsePrefix(%q) = %v", text, p)
		}
		if again, err := ParsePrefix(p.String()); err != nil || again != p {
			t.Errorf("ParsePrefix(%q) = %v, %v", p, again, err)
		}
	})
}
