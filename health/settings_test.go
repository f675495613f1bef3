package health

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestNewCheck(t *testing.T) {
	for _, test := range []struct {
		s      Settings
		wanted func(Check) bool
	}{
		{Settings{}, func(c Check) bool { return !c.Enabled() && c.Kind() == None }},
		{Settings{Kind: "tcp"}, func(c Check) bool { return c.Enabled() && c.Kind() == TCP }},
		{Settings{Kind: "tls"}, func(c Check) bool { return c.Kind() == TLS }},
		{Settings{Kind: "mysql"}, func(c Check) bool { return c.Kind() == MySQL }},
		{Settings{Kind: "redis"}, func(c Check) bool { return string(c.send) == "PING\r\n" && c.expect.MatchString("+PONG\r\n") }},
		{Settings{Kind: "http"}, func(c Check) bool { return c.path.RequestURI() == "/" && c.low == 200 && c.high == 399 }},
		{Settings{Kind: "http", Path: "/a b?c=d", Status: "204"}, func(c Check) bool { return c.path.RequestURI() == "/a%20b?c=d" && c.low == 204 && c.high == 204 }},
		{Settings{Kind: "http", Path: "//a/http://b", Status: "200-599"}, func(c Check) bool { return strings.HasSuffix(c.path.RequestURI(), "//a/http://b") && c.high == 599 }},
		{Settings{Kind: "send-expect", Expect: "^220 "}, func(c Check) bool { return len(c.send) == 0 && c.expect.MatchString("220 hello") }},
		{Settings{Kind: "send-expect", Send: `a\r\n\x00\xff`, Expect: "."}, func(c Check) bool { return string(c.send) == "a\r\n\x00\xff" }},
		{Settings{Kind: "exec", Command: "sh"}, func(c Check) bool { return filepath.IsAbs(c.command) && filepath.Base(c.command) == "sh" }},
	} {
		if c, err := NewCheck(test.s); err != nil || !test.wanted(c) {
			t.Errorf("NewCheck(%+v) = %+v, %v", test.s, c, err)
		}
	}
}

// An error names the flag and what was wrong with it, and says what would be right.
func TestNewCheckErrors(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		s     Settings
		hints []string
	}{
		{Settings{Kind: "icmp"}, []string{"-health ", `"icmp"`, "tcp, tls, http, send-expect, redis, mysql and exec"}},
		{Settings{Kind: "TCP"}, []string{`"TCP"`, "tcp"}},
		{Settings{Path: "/x"}, []string{"-health-path", "-health http"}},
		{Settings{Kind: "tcp", Path: "/x", Command: "true"}, []string{"-health-path", "-health http", "-health-command", "-health exec"}},
		{Settings{Kind: "redis", Send: "x", Expect: "y"}, []string{"-health-send", "-health-expect", "-health send-expect"}},
		{Settings{Kind: "exec", Command: "true", Status: "200"}, []string{"-health-status", "-health http"}},
		{Settings{Kind: "http", Path: "healthz"}, []string{"-health-path", `"healthz"`, "/healthz"}},
		{Settings{Kind: "http", Path: "http://h/x"}, []string{"-health-path", "/healthz"}},
		{Settings{Kind: "http", Path: "/x\r\nHost: y"}, []string{"-health-path", "/healthz"}},
		{Settings{Kind: "http", Path: "/%zz"}, []string{"-health-path"}},
		{Settings{Kind: "http", Status: "2xx"}, []string{"-health-status", `"2xx"`, "200-399"}},
		{Settings{Kind: "http", Status: "99"}, []string{"-health-status", "200-399"}},
		{Settings{Kind: "http", Status: "+200"}, []string{"-health-status", "200-399"}},
		{Settings{Kind: "http", Status: "100"}, []string{"-health-status", "200 to 599"}},
		{Settings{Kind: "http", Status: "200-"}, []string{"-health-status", "200-399"}},
		{Settings{Kind: "http", Status: "200-600"}, []string{"-health-status", "200 to 599"}},
		{Settings{Kind: "http", Status: "399-200"}, []string{"-health-status", "empty", "200-399"}},
		{Settings{Kind: "http", Path: "x", Status: "y"}, []string{"-health-path", "-health-status"}},
		{Settings{Kind: "send-expect"}, []string{"-health-expect: -health send-expect needs it", "^220"}},
		{Settings{Kind: "send-expect", Send: "x"}, []string{"-health-expect: -health send-expect needs it"}},
		{Settings{Kind: "send-expect", Expect: "a("}, []string{"-health-expect", `"a("`, "regular expression"}},
		{Settings{Kind: "send-expect", Expect: "a", Send: `b\q`}, []string{"-health-send", `\r, \n`}},
		{Settings{Kind: "send-expect", Expect: "a", Send: `b\`}, []string{"-health-send", `a backslash is \\`}},
		{Settings{Kind: "exec"}, []string{"-health-command: -health exec needs it"}},
		{Settings{Kind: "exec", Command: "/no/such/program"}, []string{"-health-command", "/no/such/program"}},
		{Settings{Kind: "exec", Command: "sh -c true"}, []string{"-health-command", "without arguments"}},
		{Settings{Kind: "exec", Command: plain}, []string{"-health-command", "permission"}},
	} {
		c, err := NewCheck(test.s)
		if err == nil || c.Enabled() {
			t.Errorf("NewCheck(%+v) = %+v, %v; want an error and no check", test.s, c, err)
			continue
		}
		for _, hint := range test.hints {
			if !strings.Contains(err.Error(), hint) {
				t.Errorf("NewCheck(%+v): %q does not say %q", test.s, err, hint)
			}
		}
	}
}

// An error goes to the log, and what is sent may hold a password.
func TestErrorsDoNotTellWhatIsSent(t *testing.T) {
	if _, err := NewCheck(Settings{Kind: "send-expect", Expect: "a", Send: `\qopen sesame`}); err == nil || strings.Contains(err.Error(), "open") {
		t.Errorf("NewCheck = %v", err)
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"":             "",
		`PING\r\n`:     "PING\r\n",
		`\x00\xff\377`: "\x00\xff\xff",
		`\\n`:          `\n`,
		`"a" 'b'`:      `"a" 'b'`,
		`\"a\" \'b\'`:  `"a" 'b'`,
		`é\u00e9\t`:    "éé\t",
		"\xff\n\xc3":   "\xff\n\xc3",
	} {
		if got, err := unescape(text); err != nil || string(got) != want {
			t.Errorf("unescape(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

// Text without a backslash stays as it is, and what is escaped byte by byte comes out again.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{`PING\r\n`, `\x00`, `\"`, "\xff", `\u00e9`, `\400`, `\`, `\U00110000`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := unescape(s)
		if !strings.Contains(s, `\`) && (err != nil || string(got) != s) {
			t.Fatalf("%q became %q, %v", s, got, err)
		}
		if len(got) > len(s) {
			t.Fatalf("%q became longer: %q", s, got)
		}
		var escaped bytes.Buffer
		for _, b := range []byte(s) {
			escaped.WriteString(`\x` + string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]))
		}
		if got, err := unescape(escaped.String()); err != nil || string(got) != s {
			t.Fatalf("%q became %q, %v", escaped.String(), got, err)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	for _, s := range []string{"", "200", "200-399", "399-200", "-", "200-299-399", "+20", "0200"} {
		f.Add(s)
	}
	valid := regexp.MustCompile(`^([2-5][0-9]{2}(-[2-5][0-9]{2})?)?$`)
	f.Fuzz(func(t *testing.T, s string) {
		low, high, err := parseStatus(s)
		if err == nil && (low > high || low < 200 || high > 599) {
			t.Fatalf("%q gives %d-%d", s, low, high)
		}
		if err == nil && !valid.MatchString(s) {
			t.Fatalf("%q gives %d-%d, and is none", s, low, high)
		}
	})
}
