package hostport

import (
	"net"
	"strings"
	"testing"
)

// An IPv6 address without brackets was answered with an example of another address, and a target's
// with a text that had 127.0.0.1 before it.
func TestSplitTellsTheRightForm(t *testing.T) {
	for address, want := range map[string]string{
		"":                    "no address: write HOST:PORT",
		"9000":                "a port alone: write :9000 or HOST:9000",
		"127.0.0.1:09000":     "a port that begins with 0: write 127.0.0.1:9000",
		"[::1]:0001":          "a port that begins with 0: write [::1]:1",
		"::1:9999":            "an IPv6 address needs brackets: write [::1]:9999",
		":::9999":             "an IPv6 address needs brackets: write [::]:9999",
		"2001:db8::1:9999":    "an IPv6 address needs brackets: write [2001:db8::1]:9999",
		"fe80::1%eth0:99":     "an IPv6 address needs brackets: write [fe80::1%eth0]:99",
		"::ffff:10.0.0.1:99":  "an IPv6 address needs brackets: write [::ffff:10.0.0.1]:99",
		"1:2:3:4:5:6:7:8:99":  "an IPv6 address needs brackets: write [1:2:3:4:5:6:7:8]:99",
		"1:2:3:4:5:6:7:8":     "and a port behind them: write [1:2:3:4:5:6:7:8]:PORT",
		"fe80::1%eth0":        "and a port behind them: write [fe80::1%eth0]:PORT",
		"2001:db8::1":         "and a port behind them: write [2001:db8::1]:PORT",
		"::":                  "and a port behind them: write [::]:PORT",
		"[::1]":               "no port: write [::1]:PORT",
		"[::1]9999":           "no colon before the port: write [::1]:9999",
		"localhost":           "no port: write localhost:PORT",
		"localhost:":          "no port: write localhost:PORT",
		"[::1]:":              "no port: write [::1]:PORT",
		":":                   "no port: write :PORT",
		"10.0.0.1":            "no port: write 10.0.0.1:PORT",
		"a:b:c":               "not host and port: write HOST:PORT, such as",
		"a:1 b:1":             "not one address: separate several with commas",
		"a:1;b:1":             "not one address",
		"[::1":                "not host and port",
		"[::1]x":              "not host and port",
		"[::1]::1":            "not host and port",
		"10.0.0.1:99:99":      "not host and port",
		"0":                   "no port: write 0:PORT",
		"65536":               "no port: write 65536:PORT",
		"::1:99999":           "not host and port",
		"2001:db8::1:9999:80": "an IPv6 address needs brackets: write [2001:db8::1:9999]:80",
	} {
		if host, port, err := Split(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Split(%q) = %q, %q, %v; want %q", address, host, port, err, want)
		}
	}
}

// A template whose variable was not replaced, and an address with a typing error, were taken for
// the names of hosts, and the target was down for ever.
func TestCheckHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	for host, want := range map[string]string{
		"10.0.0.1": "", "::1": "", "fe80::1%eth0": "", "::ffff:1.2.3.4": "", "localhost": "", "a-b.example.com.": "",
		"my_host": "", "_srv.x": "", "3com.com": "", "1.2.3.4.example": "", "xn--bcher-kva": "", label + "." + label: "",
		"h1": "", "1a": "", "A.B": "",
		"$HOST": "a variable that was not replaced?", "{{.Host}}": "not replaced?", "<host>": "not replaced?",
		"127.0.0.256": "is no IPv4 address: write four numbers", "127.1": "no IPv4 address", "1.2.3.4.5": "no IPv4 address",
		"01.02.03.04": "no IPv4 address", "1": "no IPv4 address", "1.2.3.4.": "no IPv4 address", "x.7": "no IPv4 address",
		"": "neither", ".": "neither", "a..b": "neither", ".a": "neither", "-a": "neither", "a-.b": "neither", "a b": "neither",
		"b\u00fccher": "neither", "a,b": "neither", "me@h": "neither", "a/b": "neither", "h%eth0": "neither", label + "a": "neither",
		strings.Repeat(label+".", 4): "neither", "a:b": "neither",
	} {
		err := CheckHost(host)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckHost(%q) = %v, want %q", host, err, want)
		}
	}
}

// A form that an error proposes is one that can be split.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"h:1", "[::1]:1", "::1:1", "fe80::1%eth0:99", "[::1]9", "h", "99", "]1", "[[a]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		host, port, err := Split(address)
		wantHost, wantPort, wantErr := net.SplitHostPort(address)
		good := wantErr == nil && wantPort != ""
		if host != wantHost && err == nil || port != wantPort && err == nil || (err == nil) != good {
			t.Errorf("Split(%q) = %q, %q, %v", address, host, port, err)
		}
		if err == nil {
			return
		}
		_, proposed, found := strings.Cut(err.Error(), ": write ")
		if !found {
			t.Fatalf("Split(%q): %v: nothing is proposed", address, err)
		}
		proposed, _, _ = strings.Cut(proposed, " or HOST")
		proposed, _, _ = strings.Cut(proposed, ", such as")
		proposed, _, _ = strings.Cut(proposed, ",HOST")
		if _, _, err := net.SplitHostPort(proposed); err != nil && !strings.ContainsAny(address, "[]") {
			t.Errorf("Split(%q) proposes %q: %v", address, proposed, err)
		}
	})
}
