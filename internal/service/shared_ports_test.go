package service

import (
	"io"
	"net"
	"slices"
	"testing"

	"linesplit/admin"
)

// Refusals at a port that services share were counted with the oldest of them, and moved to another
// one when that was removed. They belong to none.
func TestRefusalsAtASharedPort(t *testing.T) {
	server, at := echoServer(t), freeAddress(t)
	a, b := tlsService("a", at, server), tlsService("b", at, server)
	r := start(t, a+b)
	refused := func() {
		t.Helper()
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(helloOf(t, "c.example"))
		io.Copy(io.Discard, c)
	}
	count := func(all []admin.RefusedBy) uint64 {
		i := slices.IndexFunc(all, func(r admin.RefusedBy) bool { return r.Reason == "unknown-name" })
		if i < 0 {
			return 0
		}
		return all[i].Count
	}
	refused()
	r.reload(b)
	r.eventually("the older one has ended", func() bool { return len(r.names()) == 1 })
	refused()
	if n := count(r.SharedPorts().Refused); n != 2 {
		t.Errorf("%d refusals, want 2", n)
	}
	if n := count(r.find("b").Status().Totals.Refused); n > 0 {
		t.Errorf("%d of them are those of a service", n)
	}
	r.reload(webService("other", anyPort, server))
	r.eventually("both have ended", func() bool { return len(r.names()) == 1 })
	if n := count(r.SharedPorts().Refused); n > 0 {
		t.Errorf("%d refusals of a listener that is gone", n)
	}
}
