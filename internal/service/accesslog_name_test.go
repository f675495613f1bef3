package service

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"linesplit/internal/testcert"
	"linesplit/relay"
)

// The access log did not tell which server name a client had asked for.
func TestAccessLogHasTheServerName(t *testing.T) {
	server, through, ends := echoServer(t), freeAddress(t), freeAddress(t)
	files := testcert.New(t, t.TempDir())
	const log = "access-log = \"text\"\n"
	r := start(t, tlsService("through", through, server)+log+
		fmt.Sprintf("[service.ends]\nmode = \"connection\"\nlisten = \"tls://%s\"\ntls-cert = %q\ntls-key = %q\ntarget = %q\n",
			ends, files.ServerCert, files.ServerKey, server)+log+
		webService("plain", anyPort, server)+log)

	c, err := net.Dial("tcp", through)
	if err != nil {
		t.Fatal(err)
	}
	hello := helloOf(t, "through.example")
	c.Write(hello)
	if _, err := io.ReadFull(c, hello); err != nil {
		t.Fatal(err)
	}
	c.Close()
	secure, err := tls.Dial("tcp", ends, &tls.Config{ServerName: "ends.example", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	newEcho(secure).say(t, "hello")
	secure.Close()
	plain := r.dial("plain")
	plain.say(t, "hello")
	plain.Close()

	r.eventually("all have ended", func() bool { return strings.Count(r.out.String(), " end=") == 3 })
	for line := range strings.Lines(r.out.String()) {
		want := ""
		for _, name := range []string{"through", "ends"} {
			if strings.Contains(line, "service="+name) {
				want = "server_name=" + name + ".example\n"
			}
		}
		if !strings.HasSuffix(line, want) || strings.Contains(line, "server_name") != (want != "") {
			t.Errorf("%s, want %s", line, want)
		}
	}
}

// A client may write a name that no host can have.
func TestAccessLogBoundsTheServerName(t *testing.T) {
	var out strings.Builder
	newAccessLog("text", "", &out).Log(relay.Record{ServerName: strings.Repeat("x", 10_000)})
	newAccessLog("json", "", &out).Log(relay.Record{ServerName: "a\nb\xff" + strings.Repeat("€", 100)})
	if text := out.String(); len(text) > 1500 || strings.Count(text, "\n") != 2 || !strings.Contains(text, "…") {
		t.Error(text)
	}
}
