package pagetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The page says where targets come from, and how their sources do.
func TestPageShowsSources(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, "127.0.0.1:0", discard)
	path := filepath.Join(t.TempDir(), "targets.json")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(fmt.Sprintf(`[{"targets":[%q]}]`, r.addr))
	source := "file://" + path + "?refresh=1s"
	p := start(t, "-target", source, "-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")
	b := open(t, p.page())
	b.shows(cell(r.name(), "name"), "from "+source)
	b.shows("#sources", source)
	b.shows("#sources", "1 target · answered ")
	put("[")
	b.shows("#sources", "failing: not a JSON list")
	b.shows("#changes", source+" fails: not a JSON list")
	b.shows(cell(r.name(), "state"), "up")
	put(fmt.Sprintf(`[{"targets":[%q]}]`, r.addr))
	b.shows("#changes", source+" answers again")
	b.noComplaints()
}
