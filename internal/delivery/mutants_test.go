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

var simMutants = flag.Bool("sim.mutants", false, "break each rule, and demand that the simulation finds it")

// mutant is a change of the source that breaks a rule.
type mutant struct {
	rule     string // that is broken
	file     string
	from, to string
}

var mutants = []mutant{
	{"what has only just arrived is not trusted to be read", "outconn.go",
		"if c.seen.Hidden > 0 {", "if false {"},
	{"as much as can hide is not trusted to be read for the resend age", "outconn.go",
		"old := max(aged, c.arrived()-min(c.arrived(), c.seen.Hidden))",
		"old := max(c.ageHistory.before(now.Add(-min(age, 2*time.Second))), c.arrived()-min(c.arrived(), c.seen.Hidden))"},
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
		"unacknowledged.Add(s.begun(border, c.seen.Written-c.seen.Unsent))", "_ = border"},
	{"an end in order needs proof that everything was read", "outconn.go",
		"c.seen.Err == nil && c.seen.AllRead &&", "c.seen.Err == nil &&"},
	{"an end without that proof sends again", "leave.go",
		"if err == nil && c.seen.Over && c.halfClosed {", "if false {"},
	{"our FIN waits until the peer has read", "outconn.go",
		"return read || now.Sub(c.endingAt) >= MaxFINWait", "return true"},
	{"and where the kernel tells, it waits for that before the peer's FIN, too", "outconn.go",
		"\t\treturn read\n", "\t\treturn true\n"},
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
		"if c := m.out; c != nil && !list.serves(c.backend) {", "if c := m.out; false && c != nil {"},
	{"backups rest while another target is up", "backup.go",
		"return b.isBackup() && l.PrimaryUp()", "return false"},
	{"backups serve while no other target is up", "backup.go",
		"if !b.isBackup() && b.up() {", "if !b.isBackup() {"},
	{"a backup is left once another target is up", "machine.go",
		"if c := m.out; c != nil && !list.serves(c.backend) {", "if c := m.out; c != nil && !c.backend.Accepts() {"},
	{"a machine that is not wanted takes nothing", "machine.go",
		"|| m.unwanted.Load() ||", "||"},
	{"an unhealthy target is not dialled", "backend.go",
		"return b.Accepts() && !b.Target.Unhealthy()", "return b.Accepts()"},
	{"after failures others are tried", "failover.go",
		"m.dialling.avoid = c.backend", ""},
	{"what is confirmed gives its memory back", "check.go",
		"\t\tm.shared.buffers.Put(s.buf)", ""},
	{"lines that have moved from a stalled target may move again", "leave.go",
		"m.out, m.full, m.moved = nil, false, false", "m.out, m.full = nil, false"},
	{"what an earlier connection was given is confirmed first", "order.go",
		"return m.inOrder != nil && len(m.leaving) > 0", "return false"},
	{"what is taken back goes in front", "failover.go",
		"m.retryQueue.advance(older)", "_ = older"},
	{"keys that stay home do so", "dial.go",
		"\tif m.stays() {\n\t\tif", "\tif false {\n\t\tif"},
	{"lanes know what is confirmed", "failover.go",
		"\tm.countOrdered(n.Lines)", ""},
	{"a slot moves only behind its last line", "../lane/routes.go",
		"if m.from.confirmed.Load() < m.after {", "if false {"},
	{"lines of a slot wait while it moves", "../lane/routes.go",
		"\t\t\tr.table[slot] = m.index", "\t\t\tr.table[slot] = to"},
	{"slots arrive with the lines that have waited", "../lane/routes.go",
		"\tm.moveTo(&m.to.queue)", ""},
	{"a lane is kept while slots are on their way to it", "../lane/routes.go",
		"\t\tif m.to == l {", "\t\tif m == nil {"},
	{"lines without room stay with their sender", "../lane/scatter.go",
		"kept += copy(b.B[kept:], b.B[p.from:p.to])", "kept += 0"},
	{"a lack of descriptors here is no fault of the target", "dial.go",
		"if target.IsLocalError(err) {", "if target.IsLocalError(err) && false {"},

	{"an unfinished line as long as the maximum is too long", "../intake/lines.go",
		"if r.rest >= l.max {", "if r.rest > l.max {"},
	{"the rest of a line that is too long is skipped", "../intake/lines.go",
		"l.skipping, l.why = true, ReasonOversize", ""},
	{"the rest of a truncated line is skipped", "../intake/lines.go",
		"l.skipping, l.why = true, ReasonTruncated", ""},
	{"the newline of a truncated line counts once", "../intake/lines.go",
		"n-- // truncate has", "// truncate has"},
	{"a line keeps the rules that it began with", "../intake/lines.go",
		"if from > 0 || l.skipping {", "if false {"},
	{"a sender of a line that is too long is closed", "../intake/lines.go",
		"\tr.close = true", ""},
	{"the rest of a line that was dropped for memory is skipped", "../intake/lines.go",
		"l.skipping, l.why = true, why", ""},
	{"the last line is handed over", "../intake/intake.go",
		"\tif rest == 0 || ", "\tif true || "},
	{"a line that has left is no longer charged", "../intake/intake.go",
		"\t\ts.discharge()", ""},
	{"nor is the last one", "../intake/intake.go",
		"\ts.buf = nil\n\ts.discharge()", "\ts.buf = nil"},
	{"a line's time begins with it", "../intake/intake.go",
		"s.began, s.active = c.ended, true", "s.began, s.active = c.whole > 0, true"},
	{"a stream gives everything back at its end", "../intake/intake.go",
		"\ts.shared.pool.Put(s.buf)\n\ts.buf = nil\n\ts.GoQuiet()", "\ts.GoQuiet()"},
	{"a stream that waits for the gate holds no buffer", "../intake/room.go",
		"\t\ts.release()\n\t\ts.Account()\n\t\treturn AtGate", "\t\treturn AtGate"},
	{"one that waits for memory leaves the gate", "../intake/room.go",
		"\t\ts.driver.LeaveGate()\n\t\treturn Starved", "\t\treturn Starved"},
	{"a starved stream asks for no more than it needs", "../intake/room.go",
		"\t\t\ts.size = s.shared.readSize", ""},
	{"a quiet stream holds no empty buffer", "../intake/room.go",
		"\tif len(b.B) == 0 {", "\tif false {"},
	{"a buffer that is replaced goes back", "../intake/room.go",
		"\t\ts.shared.pool.Put(s.buf)\n\t}\n\ts.buf = b", "\t}\n\ts.buf = b"},
	{"the buffer is charged, not the line", "../intake/room.go",
		"return size, size - needed", "return needed, 0"},
	{"it reads the rest of another line first", "../intake/room.go",
		"charge > keep && !keepsLine && !s.driver.ReadRest()", "charge > keep && !keepsLine"},
	{"unfinished lines stay within their limit", "../intake/budget.go",
		"if more > 0 && old+more > b.limit.Load() {", "if false {"},
	{"the line that has made no headway for longest goes first", "../intake/budget.go",
		"return h[i].key < h[j].key", "return h[i].key > h[j].key"},
	{"read buffers of awake streams stay within their limit", "../intake/budget.go",
		"if more > 0 && old+more > b.limit {", "if false {"},
	{"time that a stream is held up counts for no line", "../intake/timeouts.go",
		"a.line.Store(line + int64(now.Sub(began)))", "_ = line"},
	{"nor as silence", "../intake/timeouts.go",
		"\ta.last.Store(s.shared.budget.now(now))\n\tif", "\tif"},
	{"a stream that is held up does not time out", "../intake/timeouts.go",
		"!s.o.Timed || a.heldUp.Load()", "!s.o.Timed"},
	{"a sender that is cut off is read on for a while", "../intake/timeouts.go",
		"case lapsed || now.After(s.readOut):", "case true:"},
	{"but not for ever", "../intake/timeouts.go",
		"case lapsed || now.After(s.readOut):", "case lapsed:"},
	{"a wait is no silence", "../intake/timeouts.go",
		"lapsed = lapsed && !s.excused", ""},
	{"copies hold the receipts of their original", "../../linebuf/share.go",
		"\tb.HoldLike(like)", ""},
	{"a merged buffer has the receipts of both", "window.go",
		"\tprev.buf.Inherit(last.buf)", ""},
	{"lines with a receipt are not merged with others", "window.go",
		" || !prev.buf.MayInherit(last.buf) {", " {"},
	{"a receipt is released once no buffer holds it", "../../linebuf/receipt.go",
		"case n == 0:", "case n >= 0:"},
	{"and it is released then", "../../linebuf/receipt.go",
		"\t\t\tr.issuer.Released(r, g)", ""},
	{"what is left in windows is handed over at a stop", "machine.go",
		"\t\tm.handOverWindow(c, now)", ""},
	{"and what is to be sent again", "machine.go",
		"\tm.handOverQueue()", ""},
	{"without the lines that are confirmed", "leftovers.go",
		"s.buf.B, s.buf.Lines = s.bytes(), s.lines", "s.buf.Lines = s.lines"},
	{"and counted", "leftovers.go",
		"\ts.kept.Add(n)", ""},
	{"memory that has come free goes to those that wait", "../../linebuf/pool.go",
		"\tp.memory.keepLocked(b, size)\n\tp.memory.grantLocked()", "\tp.memory.keepLocked(b, size)"},
}

// orderMutants are found by TestSimulationInOrder.
var orderMutants = []mutant{
	{"refused lines are done", "check.go",
		"m.countOrdered(n.Lines + uint64(refused))", "m.countOrdered(n.Lines)"},
	{"refused lines are not forgotten when lines are merged", "window.go",
		"\tprev.refused += last.refused", ""},
	{"nor when lines are rewritten again", "reframe.go",
		"refused: s.refused + o.Refused", "refused: o.Refused"},
	{"lines that share a buffer of a lane keep their receipts", "../lane/lane.go",
		"\t\t\tlast.HoldLike(from)", ""},
	{"those with a receipt do not share it with others", "../lane/lane.go",
		" && last.MayInherit(from) {", " {"},
	{"a receipt that was forsaken is not released", "../../linebuf/receipt.go",
		"\t\t\tn.Or(forsaken)", ""},
	{"what is left in lanes is handed over in order", "../lane/routes.go",
		"range []bool{false, true} {", "range []bool{true, false} {"},
	{"lines of one lane that share a buffer have one framing", "../lane/lane.go",
		" && last.Framing == from.Framing &&", " &&"},
}

// framingMutants are found by TestSimulation.
var framingMutants = []mutant{
	{"lines are rewritten for their target", "write.go",
		"s.buf.Framing != to {", "false {"},
	{"what is rewritten gives its memory back", "reframe.go",
		"\tm.shared.buffers.Put(s.buf)", ""},
	{"what is rewritten is retained in its new form", "reframe.go",
		"\ts.retained.Add(next)", "\ts.retained.Add(old)"},
	{"refused lines are counted", "reframe.go",
		"\tr.refused.Add(refused)", ""},
	{"a buffer that is refused as a whole goes back", "write.go",
		"\t\t\tm.shared.buffers.Put(s.buf)", ""},
	{"refused lines leave no difference in bytes", "reframe.go",
		"\told.Sub(refused)", ""},
	{"a delimiter at the end is the line's end", "../framing/convert.go",
		"n > 0 && body[n-1] == d {", "false {"},
	{"lines that contain a delimiter may be refused", "../framing/convert.go",
		"if w.Embedded == Refuse {", "if false {"},
	{"each delimiter is replaced", "../framing/convert.go",
		"for i := bytes.IndexByte(body, d); i >= 0; i = bytes.IndexByte(body, d) {",
		"if i := bytes.IndexByte(body, d); i >= 0 {"},
	{"altered lines are counted", "../framing/convert.go",
		"\t\to.Altered++", ""},
	{"a counted line is not counted again", "../framing/framing.go",
		"return b[length:size], size", "return b[:size], size"},
	{"counted lines are told apart by their counts", "../framing/framing.go",
		"if !ok || at+size > pos {", "if !ok || at+size >= pos {"},
}

// groupMutants are found by TestSimulationOfGroups.
var groupMutants = []mutant{
	{"a required group drops nothing", "../fanout/group.go",
		"return !g.Required && ", "return "},
	{"a best-effort group stays within its budget", "../fanout/group.go",
		"g.account.Held() > max(g.Budget, view.Memory())", "false"},
	{"and may use all of it", "../fanout/group.go",
		"g.account.Held() > max(g.Budget, view.Memory())", "g.account.Held() > max(g.Budget/2, view.Memory())"},
	{"a group that holds nothing else gets a buffer of any size", "../fanout/group.go",
		"max(g.Budget, view.Memory())", "g.Budget"},
	{"what a group does not get is counted", "../fanout/group.go",
		"g.dropped.Add(view.Count())", ""},
	{"and gives its memory back", "../fanout/group.go",
		"\tg.buffers.Put(view)", ""},
	{"a required group that is behind holds up senders", "../fanout/fanout.go",
		"for g.Required && g.behind.Load() {", "for false {"},
	{"a best-effort group does not", "../fanout/fanout.go",
		"for g.Required && g.behind.Load() {", "for g.behind.Load() {"},
	{"the list of a group is emptied", "../fanout/group.go",
		"\tsignal(g.work)", ""},
	{"shared memory goes back with its last view, not before", "../../linebuf/share.go",
		"if b.views--; b.views > 0 {", "if b.views--; false {"},
	{"and it goes back with that", "../../linebuf/share.go",
		"\t\treturn nil\n\t}\n\treturn b", "\t\treturn nil\n\t}\n\treturn nil"},
	{"each group is charged", "../../linebuf/share.go",
		"\t\ta.held.Add(int64(len(b.store)))", ""},
	{"each is charged no longer than it holds", "../../linebuf/share.go",
		"\tv.account.held.Add(-int64(len(b.store)))", ""},
	{"a view has the receipts of its group", "../../linebuf/share.go",
		"b.divide(views[first:])", "b.divide(views[:first])"},
	{"what waits for a group is left at a stop", "../fanout/rest.go",
		"\tall = append(all, g.waiting[g.head:]...)", ""},
	{"and so is the buffer that the fan-out has", "../fanout/fanout.go",
		"\t\t\t\tf.give(b, nil)\n\t\t\t\treturn false", "\t\t\t\treturn false"},
	{"copies are charged to their group", "../../linebuf/share.go",
		"\tif like.account != nil {", "\tif false {"},
	{"nothing is appended to shared memory", "../../linebuf/share.go",
		"b.B[:len(b.B):len(b.B)]", "b.B"},
	{"merging saves memory", "window.go",
		"pool.TryGetLike(prev.buf, size)", "pool.TryGetLike(prev.buf, maxMerge)"},
}

// roomMutants break rules that the simulation does not see: a line that is dropped is counted,
// whether another one should have been dropped or not.
var roomMutants = []mutant{
	{"a stream that is asked keeps a line that has made headway", "../intake/room.go",
		"!keepsLine && ", "(!keepsLine || true) && "},
}

// TestMutants breaks one rule after the other, in copies of the source, and demands that the
// simulation finds each, or the tests of the package concerned do. It takes some minutes, so it
// runs only with -sim.mutants; otherwise it demands that the source has what is to be broken.
func TestMutants(t *testing.T) {
	simulation := func(name string) finder { return finder{".", "^TestSimulation" + name, "replay with"} }
	for _, of := range []struct {
		by  finder
		all []mutant
	}{
		{simulation(""), mutants}, {simulation("$"), framingMutants}, {simulation("InOrder$"), orderMutants},
		{simulation("OfGroups$"), groupMutants}, {finder{"../intake", ".", "--- FAIL"}, roomMutants},
	} {
		for _, m := range of.all {
			if !*simMutants {
				m.broken(t)
				continue
			}
			t.Run(strings.ReplaceAll(m.rule, " ", "_"), func(t *testing.T) {
				t.Parallel()
				m.find(t, of.by)
			})
		}
	}
}

// broken returns the source with the rule broken.
func (m *mutant) broken(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.from); n != 1 || m.from == m.to {
		t.Errorf("%s: %s has %q %d times", m.rule, m.file, m.from, n)
	}
	return strings.Replace(string(source), m.from, m.to, 1)
}

// finder is what finds a broken rule: tests of a package, whose output then has a text.
type finder struct{ pkg, run, says string }

func (m *mutant) find(t *testing.T, by finder) {
	text := m.broken(t)
	if t.Failed() {
		return
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, filepath.Base(m.file))
	overlay := filepath.Join(dir, "overlay.json")
	here, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := json.Marshal(map[string]map[string]string{"Replace": {here: broken}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, broken, text)
	write(t, overlay, string(plan))
	args := []string{"test", by.pkg, "-overlay", overlay, "-run", by.run, "-count=1", "-timeout=30m"}
	if by.pkg == "." {
		args = append(args, "-sim.seeds=3000")
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("the tests do not notice:\n%s", out)
	case !strings.Contains(string(out), by.says):
		t.Errorf("no test failed: %v\n%s", err, out)
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
