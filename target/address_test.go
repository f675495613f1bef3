package target

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
)

func TestCutGroup(t *testing.T) {
	for value, want := range map[string][2]string{
		"archive=h:1?weight=2": {"archive", "h:1?weight=2"}, "=h:1": {"", "h:1"}, "a=": {"a", ""},
		"h:1?weight=2": {"", "h:1?weight=2"}, "unix:///a=b": {"", "unix:///a=b"}, "[::1]:1?a=b": {"", "[::1]:1?a=b"},
		"a=unix://@x=y": {"a", "unix://@x=y"}, "": {"", ""},
	} {
		if group, address, found := CutGroup(value); group != want[0] || address != want[1] || found != (len(address) < len(value)) {
			t.Errorf("%q: %q, %q, %v", value, group, address, found)
		}
	}
}

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in    string
		byTLS bool
		want  Address
	}{
		{"10.0.0.1:9999", false, Address{Scheme: SchemeTCP, Host: "10.0.0.1:9999"}},
		{"10.0.0.1:9999", true, Address{Scheme: SchemeTLS, Host: "10.0.0.1:9999"}},
		{"tcp://10.0.0.1:9999", true, Address{Scheme: SchemeTCP, Host: "10.0.0.1:9999"}},
		{"tls://logs.example.com:6514", false, Address{Scheme: SchemeTLS, Host: "logs.example.com:6514"}},
		{"[2001:db8::1]:1", false, Address{Scheme: SchemeTCP, Host: "[2001:db8::1]:1"}},
		{"[fe80::1%eth0]:65535", false, Address{Scheme: SchemeTCP, Host: "[fe80::1%eth0]:65535"}},
		{"unix:///run/x.sock", false, Address{Scheme: SchemeUnix, Host: "/run/x.sock"}},
		{"unix://@x", true, Address{Scheme: SchemeUnix, Host: "@x"}},
		{"unix:///a%20b://c", false, Address{Scheme: SchemeUnix, Host: "/a%20b://c"}},
		{"unix:///" + strings.Repeat("p", 106), false, Address{Scheme: SchemeUnix, Host: "/" + strings.Repeat("p", 106)}},
		{"h:1?via-proxy=true", false, Address{Scheme: SchemeTCP, Host: "h:1", ViaProxy: true}},
		{"h:1?via-proxy=1", false, Address{Scheme: SchemeTCP, Host: "h:1", ViaProxy: true}},
		{"h:1?via-proxy=false", false, Address{Scheme: SchemeTCP, Host: "h:1"}},
		{"h:1?", false, Address{Scheme: SchemeTCP, Host: "h:1"}},
		{"tls://h:1?via-proxy=true", false, Address{Scheme: SchemeTLS, Host: "h:1", ViaProxy: true}},
		{"unix:///x?via-proxy=true", false, Address{Scheme: SchemeUnix, Host: "/x", ViaProxy: true}},
		{"relp://10.0.0.1:2514", true, Address{Scheme: SchemeRELP, Host: "10.0.0.1:2514"}},
		{"relp://:2514", false, Address{Scheme: SchemeRELP, Host: "127.0.0.1:2514"}},
		{"relp+tls://h:2514?server-name=logs&weight=2", false,
			Address{Scheme: SchemeRELPTLS, Host: "h:2514", ServerName: "logs", Weight: 2}},
		{"relp://h:1?batch-bytes=64KiB&batch-lines=7&linger=1ms&timeout=5s&reject=block", false,
			Address{Scheme: SchemeRELP, Host: "h:1", Batching: Batching{
				Bytes: 64 << 10, Lines: 7, Linger: time.Millisecond, Timeout: 5 * time.Second, Reject: RejectBlock}}},
		{"udp://10.0.0.1:514", true, Address{Scheme: SchemeUDP, Host: "10.0.0.1:514"}},
		{"udp://h:1?weight=2&backup=true&max-connections=9", false,
			Address{Scheme: SchemeUDP, Host: "h:1", Weight: 2, Backup: true, MaxConnections: 9}},
		{"h:1?connections=1024&backup=true", false, Address{Scheme: SchemeTCP, Host: "h:1", Connections: 1024, Backup: true}},
		{"h:1?health-interval=1m30s&rise=1&fall=7", false,
			Address{Scheme: SchemeTCP, Host: "h:1", HealthInterval: 90 * time.Second, Rise: 1, Fall: 7}},
		{"h:1?weight=1", false, Address{Scheme: SchemeTCP, Host: "h:1", Weight: 1}},
		{"h:1?weight=1000000", false, Address{Scheme: SchemeTCP, Host: "h:1", Weight: 1_000_000}},
		{"tcp:1", false, Address{Scheme: SchemeTCP, Host: "tcp:1"}},
		{"h:1?backup=false", false, Address{Scheme: SchemeTCP, Host: "h:1"}},
		{"tls://h:1?proxy-protocol=v1", false, Address{Scheme: SchemeTLS, Host: "h:1", ProxyProtocol: 1}},
		{"unix:///x?proxy-protocol=v2", false, Address{Scheme: SchemeUnix, Host: "/x", ProxyProtocol: 2}},
		{"h:1?max-connections=1", false, Address{Scheme: SchemeTCP, Host: "h:1", MaxConnections: 1}},
		{"h:1?via-proxy=true&backup=true&weight=3", false,
			Address{Scheme: SchemeTCP, Host: "h:1", ViaProxy: true, Backup: true, Weight: 3}},
	}
	for _, test := range tests {
		got, err := ParseAddress(test.in, test.byTLS)
		if err != nil || got != test.want {
			t.Errorf("ParseAddress(%q, %v) = %+v, %v; want %+v", test.in, test.byTLS, got, err, test.want)
		}
		if again, err := ParseAddress(got.String(), !test.byTLS); err != nil || again != inName(got) {
			t.Errorf("ParseAddress(%q) = %+v, %v; want the address that String was called on, %+v",
				got.String(), again, err, got)
		}
		whole, err := ParseAddress(got.Written(), !test.byTLS)
		if whole.Weight, got.Weight = whole.Share(), got.Share(); err != nil || whole != got {
			t.Errorf("ParseAddress(%q) = %+v, %v; want the address that Written was called on, %+v",
				got.Written(), whole, err, got)
		}
	}
}

// inName returns a with only the fields that its name contains.
func inName(a Address) Address {
	return Address{Scheme: a.Scheme, Host: a.Host, Path: a.Path, ViaProxy: a.ViaProxy, Framing: a.Framing}
}

func TestAddressShare(t *testing.T) {
	for weight, want := range map[int]int{0: 1, 1: 1, 7: 7, 1_000_000: 1_000_000} {
		if got := (Address{Weight: weight}).Share(); got != want {
			t.Errorf("Share() with weight %d = %d, want %d", weight, got, want)
		}
	}
}

func TestAddressString(t *testing.T) {
	for a, want := range map[Address]string{
		{Scheme: SchemeTCP, Host: "10.0.0.1:9999"}:                             "tcp://10.0.0.1:9999",
		{Scheme: SchemeTLS, Host: "h:1", ViaProxy: true}:                       "tls://h:1?via-proxy=true",
		{Scheme: SchemeUnix, Host: "/run/x"}:                                   "unix:///run/x",
		{Scheme: SchemeTCP, Host: "h:1", Framing: framing.Octet}:               "tcp://h:1?framing=octet",
		{Scheme: SchemeTCP, Host: "h:1", Framing: framing.NUL, ViaProxy: true}: "tcp://h:1?via-proxy=true&framing=nul",
		{Scheme: SchemeUnix, Host: "@x"}:                                       "unix://@x",
	} {
		if got := a.String(); got != want {
			t.Errorf("%+v.String() = %q, want %q", a, got, want)
		}
	}
}

// addressErrors maps addresses to text that their errors must contain; an empty text means that the
// address is valid.
var addressErrors = map[string]string{
	"":                          "write HOST:PORT",
	"10.0.0.1":                  "no port: write 10.0.0.1:PORT",
	"2001:db8::1:99":            "write [2001:db8::1]:99",
	"::1:9999":                  "an IPv6 address needs brackets: write [::1]:9999",
	"fe80::1%eth0:99":           "write [fe80::1%eth0]:99",
	"tls://::1:99?via-proxy=1":  "write [::1]:99",
	"9999":                      "a port alone: write :9999",
	":0":                        "1 to 65535",
	"[fe80::1]:99":              "fe80::1 is a link-local address, which needs its interface: [fe80::1%eth0]:99",
	"[fe80::1%eth0]:99":         "",
	"[]:9999":                   "names no host",
	"a host:9999":               "neither a host name",
	"me@h:9999":                 "neither a host name",
	"a,b:9999":                  "neither a host name",
	"h:":                        "no port: write h:PORT",
	"h:0":                       "1 to 65535",
	"h:65536":                   "1 to 65535",
	"h:-1":                      "1 to 65535",
	"h:+80":                     "1 to 65535",
	"h:http":                    "1 to 65535",
	"tcp://h:1/path":            "1 to 65535",
	"udp://h":                   "no port: write h:PORT",
	"ftp://h:1":                 "use tcp, tls, unix, udp, http, ",
	"://h:1":                    "use tcp, tls, unix, udp, http, ",
	"unix://run/x.sock":         "absolute path",
	"unix://":                   "absolute path",
	"unix:///":                  "absolute path",
	"unix://@":                  "absolute path",
	"h:1?proxy=true":            "via-proxy=true",
	"h:1?via-proxy":             "write via-proxy=true",
	"h:1?via-proxy=yes":         "neither true nor false",
	"h:1?via-proxy=true;a=b":    "options",
	"h:1?framing=lf":            `framing="lf": use newline, octet or nul`,
	"h:1?framing=auto":          "a target has one of newline, octet and nul",
	"h:1?framing=newline":       "",
	"h:1?%zz=1":                 "options",
	"unix:///x?mode=0660":       "via-proxy=true",
	"unix:///" + pathOf(107):    "107",
	"unix://@" + pathOf(107):    "107",
	"tls://h:1?via-proxy=true&": "",

	// The last of two values counted, without a word.
	"h:1?weight=2&weight=3":       "option weight is given 2 times",
	"h:1?backup=true&backup=true": "option backup is given 2 times",
	"h:1?via-proxy=0&via-proxy=1": "option via-proxy is given 2 times",
	// Errors spoke of ports, or of another path.
	"unix:/tmp/x":     "no // after the scheme: write unix:///tmp/x",
	"unix:@x":         "no // after the scheme: write unix://@x",
	"unix:x.sock":     "no // after the scheme: write unix:// and the absolute path",
	"unix:":           "no // after the scheme: write unix:// and the absolute path",
	"unix://./x.sock": "neither an absolute path",
	"tls:h:1":         "no // after the scheme: write tls://h:1",
	"/run/x.sock":     "no scheme: write unix:///run/x.sock",
	"./x.sock":        "write unix:// and the absolute path",
	"stdin:":          "standard input can be no target",
	"stdin":           "standard input can be no target",
	"-":               "standard input can be no target",
	// Hosts that can be neither names nor addresses were taken for names.
	"$HOST:9998":     "a variable that was not replaced?",
	"127.0.0.256:99": "no IPv4 address",
	"127.1:9998":     "no IPv4 address",
	"my_host:1":      "",

	"relp://h":                     "no port: write h:PORT",
	"relp:h:1":                     "no // after the scheme: write relp://h:1",
	"relp+tls://h":                 "no port: write h:PORT",
	"relp://h:1/":                  "a relp target has no path: write relp://h:1",
	"relp+tls://h:1/x?weight=2":    "a relp+tls target has no path: write relp+tls://h:1",
	"relp://h:1?compress=zstd":     "compress=zstd has no meaning for a relp target",
	"relp://h:1?compress=brotli":   "none of gzip",
	"relp://h:1?token-file=x":      "token-file has no meaning for a relp",
	"relp://h:1?header=a:b":        "header has no meaning for a relp",
	"relp+tls://h:1?id-header=X-A": "id-header has no meaning for a relp+tls target",
	"relp://h:1?query=a":           "query has no meaning for a relp",
	"relp://h:1?server-name=x":     "only valid for a target with TLS",
	"relp://h:1?via-proxy=true":    "for targets that do not acknowledge lines",
	"relp://h:1?framing=octet":     "for targets that do not acknowledge lines",
	"relp://h:1?linger=0s":         "not a duration",
	"relp://h:1?foo=1":             "timeout=30s, reject=file, or options of all targets",
	"http://h:1/?foo=1":            "query=TEXT for the server",

	"h:1?weight":                    "1 to 1000000",
	"h:1?weight=":                   "1 to 1000000",
	"h:1?weight=0":                  "1 to 1000000",
	"h:1?weight=-3":                 "1 to 1000000",
	"h:1?weight=2.5":                "1 to 1000000",
	"h:1?weight=1000001":            "1 to 1000000",
	"h:1?weight=99999999999999":     "1 to 1000000",
	"h:1?connections=0":             "1 to 1024",
	"h:1?health-interval=5":         "write health-interval=5s",
	"h:1?health-interval=0s":        "at least 1ms",
	"h:1?rise=0":                    "1 to 1000",
	"h:1?fall=1001":                 "1 to 1000",
	"h:1?connections=1025":          "1 to 1024",
	"h:1?connections=2&weight=1":    "leave out one of them",
	"h:1?backup=maybe":              "neither true nor false",
	"h:1?max-connections=0":         "max-connections",
	"h:1?max-connections=many":      "not a number from 1",
	"h:1?proxy-protocol=2":          "neither v1 nor v2",
	"h:1?proxy-protocol=V1":         "neither v1 nor v2",
	"h:1?proxy-protocol=":           "neither v1 nor v2",
	"udp://h:1?proxy-protocol=v2":   "needs a stream",
	"h:1?wieght=3":                  "weight=3",
	"h:1?max-age=1s":                "no duration from 5s to 24h",
	"h:1?max-age=300":               "write max-age=5m",
	"h:1?server-name=x":             "only valid for a target with TLS",
	"tls://h:1?server-name=":        "server-name:",
	"tls://h:1?server-name=a b":     "neither a host name",
	"h:1?a=1&backup=x&weight=0&z=1": `unknown option "a"`,
}

// An error names the value and suggests a correct one.
func TestParseAddressErrors(t *testing.T) {
	for in, hint := range addressErrors {
		a, err := ParseAddress(in, false)
		if hint == "" {
			if err != nil {
				t.Errorf("ParseAddress(%q): %v", in, err)
			}
			continue
		}
		if err == nil || a != (Address{}) {
			t.Errorf("ParseAddress(%q) = %+v, %v; want an error and no address", in, a, err)
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, hint) || !strings.Contains(msg, strings.TrimSuffix(in, "\n")) {
			t.Errorf("ParseAddress(%q): %q does not name both the value and %q", in, msg, hint)
		}
	}
}

// A regular file or a directory as a Unix target was only found at run time, as a refused
// connection.
func TestCheckSocket(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "file"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Symlink(socket, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "is a file, not a socket", dir: "is a directory, not a socket", socket: "", dir + "/link": "", dir + "/none": "", "@x": "",
	} {
		a := Address{Scheme: SchemeUnix, Host: path}
		if err := a.CheckSocket(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	_, err = Dial(t.Context(), Address{Scheme: SchemeUnix, Host: file}, new(Options), nil)
	if err == nil || !strings.Contains(err.Error(), "connection refused: "+file+" is a file, not a socket") {
		t.Errorf("dialling a file: %v", err)
	}
}

func pathOf(n int) string { return strings.Repeat("p", n) }

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"h:1", "tls://[::1%lo]:1?via-proxy=1", "unix://@x", "unix:///a?b?c", "://", "?", "h:1?via-proxy=0&via-proxy=1",
		"unix:/a", "stdin:", "relp://h:1?reject=drop", "relp+tls://h:1/x",
		"udp://h:1?weight=3&backup=t&max-connections=7", "h:1?proxy-protocol=v2",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, byTLS bool) {
		a, err := ParseAddress(s, byTLS)
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("%+v together with the error %v", a, err)
			}
			return
		}
		if a.Weight < 0 || a.Weight > MaxWeight || a.Share() < 1 || a.MaxConnections < 0 ||
			a.ProxyProtocol < 0 || a.ProxyProtocol > 2 {
			t.Fatalf("%q gives %+v, which is out of bounds", s, a)
		}
		if again, err := ParseAddress(a.String(), !byTLS); err != nil || again != inName(a) {
			t.Fatalf("%q gives %+v, whose String %q gives %+v, %v", s, a, a.String(), again, err)
		}
	})
}

// The name of a target goes to logs, metrics and terminals. One with control sequences could clear
// an operator's screen, and one that is not UTF-8 made its metrics invalid.
func TestNamesCanBePrinted(t *testing.T) {
	for _, in := range []string{
		"unix:///a\x1b[2Jb", "unix:///a\xffb", "unix:///a\nb", "unix://@a\x00b", "unix:///a\u009bb", "unix:///a\u202eb",
		"h\xffst:1", "tls://h\x1bst:1", "udp://[fe80::1%\x07]:1",
	} {
		if a, err := ParseAddress(in, false); err == nil || !strings.Contains(err.Error(), "cannot be printed") {
			t.Errorf("%q: %+v, %v", in, a, err)
		} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q: the error has them: %q", in, err)
		}
	}
	if _, err := ParseAddress("unix:///run/Gerät \u65e5.sock", false); err != nil {
		t.Error(err)
	}
}
