//go:build unix

package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// The address of a listener that another one takes the place of listens all the time, also once the
// first one is closed. A socket file is there until the last one is.
func TestSharedSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, address := range []string{"tcp://127.0.0.1:0", "unix://" + path} {
		spec := mustParse(t, address)
		first, err := Open(t.Context(), spec, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		unused, second := share(t, first, spec), share(t, first, spec)
		if err := unused.Close(); err != nil { // as if it were not needed after all
			t.Error(err)
		}
		waiting := dialListener(t, first)
		share, err := Share(first)
		if err != nil {
			t.Fatal(err)
		}
		share.PassOn()
		share.Close()
		if c, err := first.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the first accepts %v, %v", address, c, err)
		}
		first.Close()
		share.Await(t.Context())
		more := dialListener(t, second)
		for range 2 {
			c, err := second.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		waiting.Close()
		more.Close()
		if first.Addr().String() != second.Addr().String() {
			t.Errorf("%s is now %s", first.Addr(), second.Addr())
		}
		second.Close()
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
}

func share(t *testing.T, ln any, s Spec) net.Listener {
	t.Helper()
	k, err := Share(ln)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := k.Open(s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

func dialListener(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMayShare(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"tcp://127.0.0.1:9", "tls://127.0.0.1:9", true},
		{"tcp://Host:9", "tcp://host:9?framing=octet", true},
		{"tcp://127.0.0.1:9", "udp://127.0.0.1:9", false},
		{"tcp://127.0.0.1:9", "tcp://0.0.0.0:9", false},
		{"tcp://127.0.0.1:9", "tcp://127.0.0.1:10", false},
		{"unix:///a", "unix:///a?mode=0600", true},
		{"unix:///a", "unix:///A", false},
		{"unix://@a", "unix:///a", false},
		{"systemd:a", "systemd:a?tls=true", true},
		{"systemd:a", "systemd:b", false},
		{"stdin:", "stdin:", false},
	} {
		a, b := mustParse(t, test.a), mustParse(t, test.b)
		if a.MayShare(b) != test.want || b.MayShare(a) != test.want {
			t.Errorf("%s and %s: want %v", a, b, test.want)
		}
	}
	specs := []Spec{mustParse(t, "tcp://[::]:9"), mustParse(t, "tcp://0.0.0.0:9")}
	both := specs[0]
	Apart(specs)
	if both.MayShare(specs[0]) {
		t.Error("a socket of both families is taken for one of IPv6")
	}
}
