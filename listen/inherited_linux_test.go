package listen

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// The net package also makes listeners from sockets that accept no connections, or only ones that
// lose lines.
func TestInheritedSocketsThatCannotListen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	connection, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	packets, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "a.sock"))
	must(t, err)
	for want, socket := range map[string]any{"x: not a listening socket": connection, "want ListenStream=": packets} {
		h := handDown(t, map[string]any{"x": socket})
		all, _, err := h.Open(mustParse(t, "systemd:x"), nil, nil, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %q", all, err, want)
		}
	}
}
