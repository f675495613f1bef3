package target

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in    string
		byTLS bool
		want  Address
	}{
		{"10.0.0.1:9999", false, Address{SchemeTCP, "10.0.0.1:9999", false}},
		{"10.0.0.1:9999", true, Address{SchemeTLS, "10.0.0.1:9999", false}},
		{"tcp://10.0.0.1:9999", true, Address{SchemeTCP, "10.0.0.1:9999", false}},
		{"tls://logs.example.com:6514", false, Address{SchemeTLS, "logs.example.com:6514", false}},
		{"[2001:db8::1]:1", false, Address{SchemeTCP, "[2001:db8::1]:1", false}},
		{"[fe80::1%eth0]:65535", false, Address{SchemeTCP, "[fe80::1%eth0]:65535", false}},
		{"unix:///run/x.sock", false, Address{SchemeUnix, "/run/x.sock", false}},
		{"unix://@x", true, Address{SchemeUnix, "@x", false}},
		{"unix:///a%20b://c", false, Address{SchemeUnix, "/a%20b://c", false}},
		{"unix:///" + strings.Repeat("p", 106), false, Address{SchemeUnix, "/" + strings.Repeat("p", 106), false}},
		{"h:1?via-proxy=true", false, Address{SchemeTCP, "h:1", true}},
		{"h:1?via-proxy=1", false, Address{SchemeTCP, "h:1", true}},
		{"h:1?via-proxy=false", false, Address{SchemeTCP, "h:1", false}},
		{"h:1?", false, Address{SchemeTCP, "h:1", false}},
		{"tls://h:1?via-proxy=true", false, Address{SchemeTLS, "h:1", true}},
		{"unix:///x?via-proxy=true", false, Address{SchemeUnix, "/x", true}},
	}
	for _, test := range tests {
		got, err := ParseAddress(test.in, test.byTLS)
		if err != nil || got != test.want {
			t.Errorf("ParseAddress(%q, %v) = %+v, %v; want %+v", test.in, test.byTLS, got, err, test.want)
		}
		if again, err := ParseAddress(got.String(), !test.byTLS); err != nil || again != got {
			t.Errorf("ParseAddress(%q) = %+v, %v; want what its String came from, %+v", got.String(), again, err, got)
		}
	}
}

func TestAddressString(t *testing.T) {
	for a, want := range map[Address]string{
		{SchemeTCP, "10.0.0.1:9999", false}: "tcp://10.0.0.1:9999",
		{SchemeTLS, "h:1", true}:            "tls://h:1?via-proxy=true",
		{SchemeUnix, "/run/x", false}:       "unix:///run/x",
		{SchemeUnix, "@x", false}:           "unix://@x",
	} {
		if got := a.String(); got != want {
			t.Errorf("%+v.String() = %q, want %q", a, got, want)
		}
	}
}

// An error names the value and says what would be right.
func TestParseAddressErrors(t *testing.T) {
	for in, hint := range map[string]string{
		"":                          "host:port",
		"10.0.0.1":                  "host:port",
		"2001:db8::1:99":            "[2001:db8::1]:9999",
		":9999":                     "names no host",
		"[]:9999":                   "names no host",
		"h:":                        "1 to 65535",
		"h:0":                       "1 to 65535",
		"h:65536":                   "1 to 65535",
		"h:-1":                      "1 to 65535",
		"h:+80":                     "1 to 65535",
		"h:http":                    "1 to 65535",
		"tcp://h:1/path":            "1 to 65535",
		"udp://h:1":                 "tcp, tls or unix",
		"http://h:1":                "tcp, tls or unix",
		"://h:1":                    "tcp, tls or unix",
		"unix://run/x.sock":         "absolute path",
		"unix://":                   "absolute path",
		"unix:///":                  "absolute path",
		"unix://@":                  "absolute path",
		"h:1?proxy=true":            "via-proxy=true",
		"h:1?via-proxy":             "neither true nor false",
		"h:1?via-proxy=yes":         "neither true nor false",
		"h:1?via-proxy=true;a=b":    "options",
		"h:1?%zz=1":                 "options",
		"unix:///x?mode=0660":       "via-proxy=true",
		"unix:///" + pathOf(107):    "107",
		"unix://@" + pathOf(107):    "107",
		"tls://h:1?via-proxy=true&": "",
	} {
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
			t.Errorf("ParseAddress(%q): %q names not both the value and %q", in, msg, hint)
		}
	}
}

func pathOf(n int) string { return strings.Repeat("p", n) }

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"h:1", "tls://[::1%lo]:1?via-proxy=1", "unix://@x", "unix:///a?b?c", "://", "?", "h:1?via-proxy=0&via-proxy=1"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, byTLS bool) {
		a, err := ParseAddress(s, byTLS)
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("%+v beside the error %v", a, err)
			}
			return
		}
		if again, err := ParseAddress(a.String(), !byTLS); err != nil || again != a {
			t.Fatalf("%q gives %+v, whose String %q gives %+v, %v", s, a, a.String(), again, err)
		}
	})
}
