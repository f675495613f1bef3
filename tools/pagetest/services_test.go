package pagetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The page shows one of several services, has a link for each, and remembers the choice in its
// address.
func TestPageShowsSeveralServices(t *testing.T) {
	t.Parallel()
	lines, server := newReceiver(t, "127.0.0.1:0", discard), newReceiver(t, "127.0.0.1:0", echo)
	file := filepath.Join(t.TempDir(), "services.toml")
	text := fmt.Sprintf("admin = \"127.0.0.1:0\"\n[service.syslog]\nlisten = \"tcp://127.0.0.1:0\"\ntarget = %q\n"+
		"[service.web]\nmode = \"connection\"\nlisten = \"tcp://127.0.0.1:0\"\ntarget = %q\n", lines.addr, server.addr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-config", file)
	startLoad(t, p.input, 100) // the first listener is that of the first service
	b := open(t, p.page())
	b.shows("#about", "syslog")
	b.shows(cell(lines.name(), "state"), "up")
	b.shows("#services [aria-current]", "syslog")
	b.checkLayout("services")
	b.click("#services li:nth-child(2) a")
	b.shows("#about", "connection")
	b.shows(cell(server.name(), "name"), server.name())
	b.shows("#services [aria-current]", "web")
	b.wait(`document.querySelectorAll("#table tbody tr").length === 1`)

	again := open(t, p.page()+"#web")
	again.shows("#about", "connection")
	b.noComplaints()
	again.noComplaints()
}
