package target

import (
	"strings"
	"testing"
	"time"
)

func TestParseAcknowledging(t *testing.T) {
	for in, want := range map[string]Address{
		"http://h:1":              {Scheme: SchemeHTTP, Host: "h:1", Path: "/"},
		"http://h":                {Scheme: SchemeHTTP, Host: "h:80", Path: "/"},
		"https://h/a/b":           {Scheme: SchemeHTTPS, Host: "h:443", Path: "/a/b"},
		"https://[::1]/a":         {Scheme: SchemeHTTPS, Host: "[::1]:443", Path: "/a"},
		"http://[::1]:9/a%20b":    {Scheme: SchemeHTTP, Host: "[::1]:9", Path: "/a%20b"},
		"http+bulk://h:1/x/_bulk": {Scheme: SchemeHTTPBulk, Host: "h:1", Path: "/x/_bulk"},
		"https+bulk://h:1/_bulk?server-name=x&weight=3": {Scheme: SchemeHTTPSBulk, Host: "h:1", Path: "/_bulk",
			ServerName: "x", Weight: 3},
		"http://h:1/?batch-bytes=2MiB&batch-lines=7&linger=1s&timeout=2s&compress=zstd&token-file=/a%20b&" +
			"header=a-b:%20c%26,d&header=E:f&id-header=x-id&query=a%3Db%26c%3D%2525&reject=block": {
			Scheme: SchemeHTTP, Host: "h:1", Path: "/", Batching: Batching{
				Bytes: 2 << 20, Lines: 7, Linger: time.Second, Timeout: 2 * time.Second, Compress: "zstd", TokenFile: "/a b",
				Headers: "A-B:c&,d\nE:f", IDHeader: "X-Id", Query: "a=b&c=%25", Reject: RejectBlock,
			}},
	} {
		got, err := ParseAddress(in, false)
		if err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %+v, %v; want %+v", in, got, err, want)
			continue
		}
		if !got.Acknowledges() || got.Secure() != strings.HasPrefix(in, "https") || got.Bulk() != strings.Contains(in, "bulk") {
			t.Errorf("%s: %v, %v, %v", in, got.Acknowledges(), got.Secure(), got.Bulk())
		}
		if again, err := ParseAddress(got.Written(), true); err != nil || again != got {
			t.Errorf("ParseAddress(%q) = %+v, %v; want the address that Written was called on, %+v", got.Written(), again, err, got)
		}
		if name, err := ParseAddress(got.String(), true); err != nil || name.Key() != got.Key() || name.Batching != (Batching{}) {
			t.Errorf("ParseAddress(%q) = %+v, %v", got.String(), name, err)
		}
	}
}

func TestParseAcknowledgingErrors(t *testing.T) {
	for in, want := range map[string]string{
		"http://":                             "no address",
		"http://:0/":                          "port",
		"http://u:p@h/":                       "token-file",
		"http://h/a b":                        "escape them",
		"http://h/%zz":                        "escape",
		"http://h/#x":                         "escape them",
		"http+bulk://h:1/x":                   "/INDEX/_bulk",
		"http://h/?server-name=x":             "only valid for a target with TLS",
		"http://h/?framing=octet":             "leave them out",
		"http://h/?via-proxy=true":            "leave them out",
		"http://h/?bacth-bytes=1":             "batch-bytes=1MiB",
		"http://h/?batch-bytes=1":             "1KiB to 64MiB",
		"http://h/?batch-lines=0":             "1 to 100000",
		"http://h/?linger=0":                  "from 1ms to 1m0s",
		"http://h/?timeout=1h":                "from 100ms to 10m0s",
		"http://h/?compress=br":               "none of gzip, zstd",
		"http://h/?token-file=":               "names no file",
		"http://h/?header=x":                  "write header=NAME:VALUE",
		"http://h/?header=a b:c":              "no name of a header",
		"http://h/?header=a:b%0Ac":            "control characters",
		"http://h/?header=host:b":             "cannot be chosen",
		"http://h/?id-header=":                "no name of a header",
		"http://h/?id-header=idempotency-key": "repeated unnoticed",
		"http://h/?query=%25zz":               "invalid URL escape",
		"http://h/?reject=no":                 "none of file, drop, block",
		"http://h/?linger=1s&linger=2s":       "given 2 times",
		"tcp://h:1?linger=1s":                 `unknown option "linger"`,
		"http:/h":                             "scheme",
	} {
		if a, err := ParseAddress(in, false); err == nil || !strings.Contains(err.Error(), want) || a != (Address{}) {
			t.Errorf("ParseAddress(%q) = %+v, %v; want an error with %q", in, a, err, want)
		}
	}
}
