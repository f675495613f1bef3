package convert

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitWords(t *testing.T) {
	env := func(name string) (string, bool) {
		value, found := map[string]string{"A": "one", "LIST": " x  y ", "EMPTY": "", "BIG": strings.Repeat("z", 3000)}[name]
		return value, found
	}
	for _, c := range []struct {
		line string
		want []string
		err  string
	}{
		{"", nil, ""},
		{" \t server  a\tb ", []string{"server", "a", "b"}, ""},
		{"a # b", []string{"a"}, ""},
		{"a#b", []string{"a"}, ""},
		{`a\#b \\ \  \' \"`, []string{"a#b", `\`, " ", "'", `"`}, ""},
		{`'a b'"c d"e`, []string{"a bc de"}, ""},
		{`'a \n # "' ''`, []string{`a \n # "`, ""}, ""},
		{`"a \"b\" \\ # '" x`, []string{`a "b" \ # '`, "x"}, ""},
		{`\x41\r\n\t\q`, []string{"A\r\n\t\\q"}, ""},
		{`"$A ${A} \$A" $A`, []string{"one one $A", "$A"}, ""},
		{`"${NONE-two three}" "${EMPTY}"`, []string{"two three", ""}, ""},
		{`"a${LIST[*]}b"`, []string{"ax", "yb"}, ""},
		{`"$" "$ x"`, []string{"$", "$ x"}, ""},
		{`"${NONE}"`, nil, "NONE is not set"},
		{`"${A" x`, nil, "without a name"},
		{`"${}"`, nil, "without a name"},
		{`"${A:x}"`, nil, "unknown form"},
		{`"${BIG}${BIG}"`, nil, "more than 4096 bytes"},
		{`a "b`, []string{"a"}, "not closed"},
		{`a 'b`, []string{"a"}, "not closed"},
		{`a\`, nil, "ends with"},
		{`\x4`, nil, "hexadecimal"},
		{`\xzz`, nil, "hexadecimal"},
	} {
		got, err := splitWords(c.line, env)
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %q", c.line, err, c.err)
		case c.err == "" && !slices.Equal(got, c.want):
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestHAProxyListeners(t *testing.T) {
	for bind, want := range map[string]string{
		"*:80":                       "tcp://0.0.0.0:80",
		":80":                        "tcp://0.0.0.0:80",
		"ipv6@:80":                   "tcp://[::]:80",
		":::80 v4v6":                 "tcp://[::]:80",
		"[2001:db8::1]:80":           "tcp://[2001:db8::1]:80",
		"2001:db8::1:80":             "tcp://[2001:db8::1]:80",
		"ipv4@10.0.0.1:80 name main": "tcp://10.0.0.1:80",
		"host.example:80":            "tcp://host.example:80",
		"/run/x.sock":                "unix:///run/x.sock",
		"unix@/run/x.sock mode 600":  "unix:///run/x.sock?mode=0600",
		"abns@x":                     "unix://@x",
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind "+bind+"\n server a 10.0.0.1:1\n")
		if got := value(decoded, "x", "listen"); got != want || strings.Contains(text, "no counterpart: ") {
			t.Errorf("%s: %v, want %s\n%s", bind, got, want, text)
		}
	}
}

func TestHAProxyServers(t *testing.T) {
	for server, want := range map[string]string{
		"10.0.0.1:1":                         "10.0.0.1:1",
		"10.0.0.1":                           "10.0.0.1:80",
		"10.0.0.1:+1000":                     "10.0.0.1:1080",
		"db.internal:1 id 3":                 "db.internal:1",
		"[2001:db8::1]:1":                    "[2001:db8::1]:1",
		"2001:db8::1:1":                      "[2001:db8::1]:1",
		"ipv4@10.0.0.1:1":                    "10.0.0.1:1",
		"/run/x.sock":                        "unix:///run/x.sock",
		"unix@/run/x.sock":                   "unix:///run/x.sock",
		"abns@x":                             "unix://@x",
		"10.0.0.1:1 ssl verify none":         "tls://10.0.0.1:1",
		"10.0.0.1:1 backup no-backup":        "10.0.0.1:1",
		"10.0.0.1:1 weight 7":                "10.0.0.1:1",
		"10.0.0.1:1 maxconn 7 send-proxy":    "10.0.0.1:1?max-connections=7&proxy-protocol=v1",
		"10.0.0.1:1 check inter 5s rise 4":   "10.0.0.1:1",
		"10.0.0.1:1 send-proxy-v2 maxconn 0": "10.0.0.1:1?proxy-protocol=v2",
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a "+server+"\n")
		if got := value(decoded, "x", "target"); got != want || strings.Contains(text, "no counterpart: ") {
			t.Errorf("%s: %v, want %s\n%s", server, got, want, text)
		}
	}
}

// The check of a service has the values of the first server; other servers get options where their
// values differ.
func TestHAProxyChecksOfServers(t *testing.T) {
	for server, want := range map[string]string{
		"check":                                "b:2?health-interval=2s&rise=2&fall=3",
		"check inter 5s rise 4 fall 6":         "b:2",
		"check inter 5s rise 4 fall 1":         "b:2?fall=1",
		"check inter 500 rise 4 fall 6 backup": "b:2?backup=true&health-interval=500ms",
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a a:1 check inter 5s rise 4 fall 6\n server b b:2 "+server+"\n")
		if got, _ := value(decoded, "x", "target").([]any); len(got) != 2 || got[0] != "a:1" || got[1] != want {
			t.Errorf("%s: %v, want %s\n%s", server, got, want, text)
		}
	}
}

// Servers that linesplit cannot serve as HAProxy does become comments, and no targets.
func TestHAProxyServersLeftOut(t *testing.T) {
	for server, why := range map[string]string{
		"10.0.0.1:1 disabled":   "disabled",
		"10.0.0.1:1 weight 0":   "no connections",
		"*:80":                  "where the client wanted to go",
		"0.0.0.0:0":             "where the client wanted to go",
		"quic4@10.0.0.1:1":      "no quic4@ addresses",
		"/run/x.sock ssl":       "no TLS over Unix sockets",
		"10.0.0.1:99999":        "99999",
		"10.0.0.1:1,10.0.0.2:1": "",
		"10.0.0.9:9":            "has that address already",
		"10.0.0.1:+99999":       "",
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a 10.0.0.9:9\n server b "+server+"\n")
		if got := value(decoded, "x", "target"); got != "10.0.0.9:9" ||
			!strings.Contains(text, "\n# no counterpart: line 4: ") || !strings.Contains(text, why) {
			t.Errorf("%s: %v\n%s", server, got, text)
		}
	}
}

func TestHAProxyChecks(t *testing.T) {
	for lines, want := range map[string]map[string]any{
		"":                     {"health": "tcp", "health-interval": "2s", "health-rise": int64(2), "health-fall": int64(3)},
		"option tcp-check":     {"health": "tcp"},
		"timeout check 10s":    {"health": "tcp", "health-timeout": "10s"},
		"option redis-check":   {"health": "redis"},
		"option ssl-hello-chk": {"health": "tls"},
		"option tcp-check\n tcp-check connect ssl":         {"health": "tls"},
		"option tcp-check\n tcp-check expect rstring ^220": {"health": "send-expect", "health-expect": "^220"},
		"option tcp-check\n tcp-check send-binary 00ff0d0a\n tcp-check expect binary ff00": {
			"health": "send-expect", "health-send": `\x00\xff\r\n`, "health-expect": `[^\x00-\x7f]+\x00`},
		"option tcp-check\n tcp-check send a\\ \\\\b\\r\\n\n tcp-check expect string 1.0": {
			"health": "send-expect", "health-send": `a \\b\r\n`, "health-expect": `1\.0`},
		"option httpchk GET /x\n http-check expect status 204": {"health": "http", "health-path": "/x", "health-status": "204"},
		"option httpchk /x": {"health": "http", "health-path": "/x"},
		"option httpchk\n http-check send meth GET uri /y": {"health": "http", "health-path": "/y"},
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a 10.0.0.1:1 check\n "+lines+"\n")
		for key, wanted := range want {
			if got := value(decoded, "x", key); got != wanted {
				t.Errorf("%s: %s is %v, want %v\n%s", lines, key, got, wanted, text)
			}
		}
		if strings.Contains(text, "no counterpart: ") {
			t.Errorf("%s:\n%s", lines, text)
		}
	}
}

// A check that linesplit cannot do becomes a comment, and a plain one takes its place.
func TestHAProxyChecksReplaced(t *testing.T) {
	for _, lines := range []string{
		"option tcp-check\n tcp-check send a\n tcp-check expect string b\n tcp-check send c",
		"option tcp-check\n tcp-check send a",
		"option tcp-check\n tcp-check expect rstring (?=a)",
		"option tcp-check\n tcp-check expect binary xyz",
		"option tcp-check\n tcp-check connect port 90",
		"option httpchk GET x",
		"option httpchk GET /\n http-check expect status 2xx",
		"option smtpchk",
		"option external-check",
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a 10.0.0.1:1 check\n "+lines+"\n")
		if got := value(decoded, "x", "health"); got != "tcp" || !strings.Contains(text, "\n# no counterpart: line 4") {
			t.Errorf("%s: %v\n%s", lines, got, text)
		}
	}
}

func TestHAProxyAccess(t *testing.T) {
	list := func(nets ...any) any {
		if len(nets) == 1 {
			return nets[0]
		}
		return nets
	}
	for lines, want := range map[string][2]any{
		"tcp-request connection reject if { src 10.0.0.1 }":                                   {nil, list("10.0.0.1")},
		"tcp-request connection reject if !{ src 10.0.0.0/8 }":                                {list("10.0.0.0/8"), nil},
		"tcp-request connection reject unless { src 10.0.0.0/8 }":                             {list("10.0.0.0/8"), nil},
		"acl a src 10.0.0.0/8\n acl a src 11.0.0.0/8\n tcp-request connection reject if !a":   {list("10.0.0.0/8", "11.0.0.0/8"), nil},
		"tcp-request connection accept if { src 10.0.0.0/8 }\n tcp-request connection reject": {list("10.0.0.0/8"), nil},
		"tcp-request connection accept":                                                       {nil, nil},
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a 10.0.0.1:1\n "+lines+"\n")
		for i, key := range []string{"allow", "deny"} {
			if got := value(decoded, "x", key); !equal(got, want[i]) {
				t.Errorf("%s: %s is %v, want %v", lines, key, got, want[i])
			}
		}
		if strings.Contains(text, "no counterpart: ") {
			t.Errorf("%s:\n%s", lines, text)
		}
	}
	for _, lines := range []string{
		"tcp-request connection accept if { src 10.0.0.1 }\n tcp-request connection reject if { src 10.0.0.0/8 }",
		"tcp-request connection reject if { src 10.0.0.1 } { dst 10.0.0.2 }",
		"tcp-request connection reject if unknown",
		"tcp-request connection reject if { src -f /etc/list }",
		"tcp-request connection reject",
		"acl a dst 10.0.0.1",
	} {
		text, decoded := mustConvert(t, HAProxy, "listen x\n bind :80\n server a 10.0.0.1:1\n "+lines+"\n")
		if value(decoded, "x", "allow") != nil || value(decoded, "x", "deny") != nil || !strings.Contains(text, "no counterpart: line 4") {
			t.Errorf("%s:\n%s", lines, text)
		}
	}
}

func equal(got, want any) bool {
	gots, isList := got.([]any)
	wants, wantsList := want.([]any)
	if isList && wantsList {
		return slices.Equal(gots, wants)
	}
	return !isList && !wantsList && got == want
}

// Comments must not carry passwords into a file that others may read.
func TestNoPasswordsInComments(t *testing.T) {
	text, _ := mustConvert(t, HAProxy, "listen x\n bind :80\n server a 10.0.0.1:1\n stats auth me:secret\n"+
		"userlist u\n user x insecure-password secret\n")
	more, _ := mustConvert(t, Gobetween, "[servers.x]\nbind = \":1\"\n[servers.x.discovery]\nkind = \"static\"\n"+
		"static_list = [\"a:1\"]\nconsul_acl_token = \"secret\"\nlxd_server_remote_password = \"secret\"\n")
	if strings.Contains(text+more, "secret") {
		t.Errorf("%s%s", text, more)
	}
}

func TestHAProxyDurations(t *testing.T) {
	for text, want := range map[string]string{
		"500": "500ms", "5s": "5s", "90s": "1m30s", "2m": "2m", "1h": "1h", "1d": "24h", "10us": "10µs", "999999999d": "8760h",
		"": "", "x": "", "5 s": "", "-1s": "", "1.5s": "",
	} {
		d, ok := haDuration(text)
		if got := durationText(d); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s %v, want %s", text, got, ok, want)
		}
	}
}
