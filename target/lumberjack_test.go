package target

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLumberjackAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"lumberjack://logstash:5044": {Scheme: SchemeLumberjack, Host: "logstash:5044"},
		"lumberjack://:5044":         {Scheme: SchemeLumberjack, Host: "127.0.0.1:5044"},
		"lumberjack+tls://[::1]:5044?server-name=logs&weight=2&max-age=1m": {
			Scheme: SchemeLumberjackTLS, Host: "[::1]:5044", ServerName: "logs", Weight: 2, MaxAge: time.Minute},
		"lumberjack://h:1?compress=zlib&batch-lines=100&batch-bytes=64KiB&linger=1s&timeout=5s": {
			Scheme: SchemeLumberjack, Host: "h:1",
			Batching: Batching{Compress: "zlib", Lines: 100, Bytes: 64 << 10, Linger: time.Second, Timeout: 5 * time.Second}},
	} {
		a, err := ParseAddress(text, false)
		if err != nil || a != want {
			t.Errorf("%s: %+v, %v", text, a, err)
			continue
		}
		if !a.Acknowledges() || !a.Lumberjack() || a.Secure() != strings.HasPrefix(text, "lumberjack+tls") {
			t.Errorf("%s: Acknowledges %v, Lumberjack %v, Secure %v", text, a.Acknowledges(), a.Lumberjack(), a.Secure())
		}
		if again, err := ParseAddress(a.Written(), true); err != nil || again != a {
			t.Errorf("%s is written as %s, which is %+v, %v", text, a.Written(), again, err)
		}
	}
	if got := (Address{Scheme: SchemeLumberjack}).SecureScheme(); got != "lumberjack+tls://" {
		t.Errorf("with TLS the scheme is %s", got)
	}
	if a, err := ParseAddress("http://h:1/", false); err != nil || a.Lumberjack() {
		t.Errorf("an HTTP target: %+v, %v", a, err)
	}
}

func TestLumberjackAddressErrors(t *testing.T) {
	for text, want := range map[string]string{
		"lumberjack://h":                            "no port",
		"lumberjack://h:1/":                         "port",
		"lumberjack://h:1/path":                     "port",
		"lumberjack://h:0":                          "port",
		"lumberjack:h":                              "write lumberjack://h",
		"lumberjack://h:1?server-name=x":            "only valid for a target with TLS",
		"lumberjack://h:1?via-proxy=true":           "via-proxy",
		"lumberjack://h:1?framing=octet":            "framing",
		"lumberjack://h:1?token-file=f":             "token-file has no meaning for a lumberjack",
		"lumberjack+tls://h:1?header=A:b":           "header has no meaning for a lumberjack",
		"lumberjack://h:1?id-header=A":              "id-header has no meaning for a lumberjack",
		"lumberjack://h:1?query=a%3Db":              "query has no meaning for a lumberjack",
		"lumberjack://h:1?reject=drop":              "reject has no meaning",
		"lumberjack://h:1?compress=gzip":            "use batch-bytes=1MiB, batch-lines=1000, linger=50ms, timeout=30s, compress=zlib",
		"lumberjack://h:1?compress=lz4":             "none of",
		"http://h:1?compress=zlib":                  "compress=zlib has no meaning",
		"https+bulk://h:1/x/_bulk?compress=zlib":    "compress=zlib has no meaning",
		"lumberjack://h:1?batch-lines=0":            "batch-lines",
		"lumberjack://h:1?batch-lines=1&color=blue": "use batch-bytes=1MiB",
	} {
		_, err := ParseAddress(text, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseAddress("lumberjack://h:1?color=blue", false); !errors.Is(err, ErrUnknownOption) {
		t.Errorf("an unknown option: %v", err)
	}
}
