package delivery

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var simMutants = flag.Bool("sim.mutants", false, "break each rule of delivery, and demand that the simulation finds it")

// mutant is a change of the source that breaks a rule.
type mutant struct {
	rule     string // that is broken
	file     string
	from, to string
}

var mutants = []mutant{
	{"what has only just arrived is not trusted to be read", "outconn.go",
		"if c.seen.Hidden > 0 {", "if false {"},
	{"what seems unread counts beside what is hidden", "outconn.go",
		"old-min(old, c.seen.Unread)", "old"},
	{"age confirms only what seems read", "outconn.go",
		"if !c.seen.SeemsRead() {", "if false {"},
	{"a failed connection confirms only what was surely read", "failover.go",
		"if c.seen.AllRead {", "if true {"},
	{"after a failure the kernel's knowledge counts, not more", "failover.go",
		"m.confirmUpTo(c, c.seen.Known, now)", "m.confirmUpTo(c, c.arrived(), now)"},
	{"a resend starts at the start of a line", "failover.go",
		"c.window.trim(c.window.oldest().lineStart(pos))", "c.window.trim(pos)"},
	{"what a failed connection leaves is sent again", "failover.go",
		"\t\tm.retryQueue.push(s)", "\t\tm.shared.countConfirmed(c.backend, s.count())\n\t\tm.shared.buffers.Put(s.buf)"},
	{"lines that were begun count as resent", "failover.go",
		"unacknowledged.Add(s.begun(border, c.seen.Written))", "_ = border"},
	{"an end in order needs proof that everything was read", "outconn.go",
		"c.seen.Err == nil && c.seen.AllRead &&", "c.seen.Err == nil &&"},
	{"an end without that proof sends again", "leave.go",
		"if err == nil && c.seen.Over && c.halfClosed {", "if false {"},
	{"our FIN waits until the peer has read", "outconn.go",
		"return c.seen.SeemsRead() && c.arrived() == c.next || now.Sub(c.endingAt) >= MaxFINWait", "return true"},
	{"a peer's FIN makes the machine leave", "check.go",
		"if c.seen.FIN && !c.ending && !c.ignoreFIN {", "if false {"},
	{"a half-closer's FIN means nothing", "outconn.go",
		"\t\tc.ignoreFIN = c.seen.FIN", ""},
	{"the window's limit releases only what seems read", "check.go",
		"limit := c.surelyRead()", "limit := c.next"},
	{"a full window takes nothing more", "full.go",
		"return c.next >= c.probe", "return false"},
	{"no connection is left in the middle of a line", "dial.go",
		"if c == nil || m.writing {", "if c == nil {"},
	{"nor is one that waits for its replacement", "dial.go",
		"if m.out != nil && m.out.ending && !m.writing {", "if m.out != nil && m.out.ending {"},
	{"a silent peer has failed", "check.go",
		"case c.seen.Silent >= s.DeadTimeout:", "case false:"},
	{"the window of a stalled connection moves", "check.go",
		"case now.Sub(c.ackedAt) >= s.StallTimeout:", "case false:"},
	{"a target that hangs can be removed", "check.go",
		"case m.drainStalled(c, now, s.drainTimeout()):", "case false:"},
	{"few connections are left at a time", "leave.go",
		"if len(m.leaving) > MaxLeaving {", "if false {"},
	{"machines go home", "failback.go",
		"if m.mayGoHome(now) {", "if false {"},
	{"a drained target gets nothing new", "machine.go",
		"if c := m.out; c != nil && !c.backend.Accepts() {", "if c := m.out; false && c != nil {"},
	{"an unhealthy target is not dialled", "backend.go",
		"return b.Accepts() && !b.Target.Unhealthy()", "return b.Accepts()"},
	{"after failures others are tried", "failover.go",
		"m.dialling.avoid = c.backend", ""},
}

// TestMutants breaks one rule after the other, in copies of the source, and demands that the
// simulation finds each. It takes about a minute, so it runs only with -sim.mutants.
func TestMutants(t *testing.T) {
	if !*simMutants {
		t.Skip("runs with -sim.mutants")
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.rule, " ", "_"), func(t *testing.T) {
			t.Parallel()
			m.find(t)
		})
	}
}

func (m *mutant) find(t *testing.T) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.from); n != 1 {
		t.Fatalf("%s has %q %d times", m.file, m.from, n)
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, m.file)
	overlay := filepath.Join(dir, "overlay.json")
	here, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := json.Marshal(map[string]map[string]string{"Replace": {here: broken}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, broken, strings.Replace(string(source), m.from, m.to, 1))
	write(t, overlay, string(plan))
	out, err := exec.Command("go", "test", "-overlay", overlay, "-run", "^TestSimulation$", "-count=1",
		"-timeout=5m", "-sim.seeds=3000").CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("the simulation does not notice:\n%s", out)
	case !strings.Contains(string(out), "replay with"):
		t.Errorf("no seed failed: %v\n%s", err, out)
	default:
		t.Log(strings.SplitN(string(out), "\n", 3)[1]) // what was noticed first
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
