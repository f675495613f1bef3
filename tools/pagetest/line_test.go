package pagetest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// lineModeRun is a linesplit with two targets, and the page that shows it. Its steps run in order
// and build on each other.
type lineModeRun struct {
	args          []string // without the addresses of the listeners
	p             *process
	b             *tab
	first, second *receiver
}

// A target dies, comes back, is drained and resumed, and linesplit itself is killed and started
// again.
func TestPageFollowsLineMode(t *testing.T) {
	t.Parallel()
	r := &lineModeRun{first: newReceiver(t, "127.0.0.1:0", discard), second: newReceiver(t, "127.0.0.1:0", discard)}
	r.args = []string{"-target", r.first.addr + "," + r.second.addr, "-connections", "2", "-failback-interval", "500ms",
		"-resend-age", "1s", "-admin-token-file", tokenFile(t)}
	r.p = start(t, append(r.args, "-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")...)
	startLoad(t, r.p.input, 2000)
	r.b = open(t, r.p.page())
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"everything is up", r.everythingIsUp},
		{"a target dies", r.aTargetDies},
		{"the target comes back", r.theTargetComesBack},
		{"a page that is opened later shows the time before", r.aLaterPageShowsTheTimeBefore},
		{"no token, then a wrong token", r.changesNeedTheToken},
		{"drain and resume", r.drainAndResume},
		{"draining the last target needs a confirmation", r.drainingTheLastTargetNeedsAConfirmation},
		{"everything can be reached by keyboard", func(*testing.T) { r.b.checkKeyboard(r.first.name()) }},
		{"every size and color scheme is readable", func(*testing.T) { r.b.checkLayout("line") }},
		{"linesplit stops and starts again", r.linesplitStopsAndStartsAgain},
	} {
		if ok := t.Run(step.name, func(t *testing.T) { r.b.t = t; step.do(t) }); !ok {
			t.FailNow()
		}
	}
}

func (r *lineModeRun) everythingIsUp(*testing.T) {
	r.b.shows("#readiness", "ready")
	r.b.shows("#link", "live")
	r.b.shows("#about", "mode\nline")
	r.b.shows("#about", r.p.input)
	r.b.shows(cell(r.first.name(), "state"), "up")
	r.b.shows(cell(r.second.name(), "state"), "up")
	r.b.shows(cell(r.first.name(), "connections"), "2")
	r.b.shows(cell(r.first.name(), "rate"), "lines/s")
	r.b.wait(`/[1-9].* (ms|s)$/.test(document.querySelector(%s).innerText)`, cell(r.first.name(), "latency"))
	r.b.wait(`parseInt(document.querySelector(%s).innerText) > 0`, cell(r.second.name(), "share"))
	for _, label := range []string{"Received", "Confirmed", "In flight", "Queued", "Dropped", "Sent", "Acknowledged", "Resent"} {
		r.b.shows("#ledger", label)
	}
	for _, tile := range []int{1, 2} { // received and confirmed must grow
		before := r.b.ledger(tile)
		value := `document.querySelectorAll("#ledger .value")[` + strconv.Itoa(tile-1) + `].textContent`
		r.b.wait(`Number(`+value+`.replaceAll(",", "")) > %s`, before)
	}
	r.b.wait(`[...document.querySelectorAll(".chart path.first")].every((path) => path.getAttribute("d").length > 40)`)
	r.b.noComplaints()
}

func (r *lineModeRun) aTargetDies(*testing.T) {
	r.second.die()
	r.b.shows(cell(r.second.name(), "state"), "down")
	r.b.shows(cell(r.second.name(), "error"), "refused")
	r.b.shows(cell(r.second.name(), "error"), "ago")
	r.b.shows("#targets-sum", "1 up, 1 down")
	r.b.shows("#changes", r.second.name()+" is down")
	r.b.wait(`document.title.startsWith("1 down")`)
	share := cell(r.first.name(), "share") // of the last ten seconds
	r.b.wait(`parseInt(document.querySelector(%s).innerText) > 60`, share)
	r.b.shows("#readiness", "ready")
}

func (r *lineModeRun) theTargetComesBack(t *testing.T) {
	r.second.revive(t)
	r.b.shows(cell(r.second.name(), "state"), "up")
	r.b.shows("#changes", r.second.name()+" is up")
	r.b.shows("#targets-sum", "2 up")
	r.b.wait(`parseInt(document.querySelector(%s).innerText) > 0`, cell(r.second.name(), "share"))
	r.b.wait(`document.title === "linesplit"`)
	r.b.noComplaints()
}

func (r *lineModeRun) aLaterPageShowsTheTimeBefore(t *testing.T) {
	later := open(t, r.p.page())
	later.wait(`(() => {
		const curve = document.querySelector(".chart path.first");
		const at = (curve?.getAttribute("d").match(/[ML][\d.]+/g) ?? []).map((step) => Number(step.slice(1)));
		const seconds = ((at.at(-1) - at[0]) / curve?.closest("svg").viewBox.baseVal.width) * 60;
		return seconds > performance.now() / 1000 + 2; // longer than the page has been open
	})()`)
}

func (r *lineModeRun) changesNeedTheToken(t *testing.T) {
	r.b.click(cell(r.first.name(), "act") + " button")
	r.b.shows("#message-alert", "this needs the token")
	r.b.keep("line-token-needed")
	r.b.wait(`document.activeElement.id === "token"`)
	r.b.write("#token", "wrong")
	r.b.press(kb.Enter)
	r.b.shows("#message-alert", "the token is not the one")
	r.b.wait(`!document.querySelector("#token-form").hidden`)
	if got := r.b.text(cell(r.first.name(), "state")); !strings.HasPrefix(got, "up") {
		t.Errorf("the target is %q", got)
	}
	r.b.noComplaints("401 (Unauthorized)")
}

func (r *lineModeRun) drainAndResume(*testing.T) {
	r.b.write("#token", token)
	r.b.click("#token-form button")
	r.b.shows("#message-status", "Token accepted")
	r.b.wait(`document.querySelector("#token").value === "" && document.querySelector("#token-form").hidden`)
	act := cell(r.first.name(), "act") + " button"
	r.b.shows(act, "Drain")
	r.b.click(act)
	r.b.shows("#message-status", "gets nothing new")
	r.b.shows(cell(r.first.name(), "state"), "drained")
	r.b.shows(act, "Resume")
	r.b.shows(cell(r.first.name(), "connections"), "0")
	r.b.wait(`parseInt(document.querySelector(%s).innerText) > 60`, cell(r.second.name(), "share"))
	r.b.press(kb.Enter) // updates must not take the focus from the button
	r.b.shows("#message-status", "in use again")
	r.b.shows(cell(r.first.name(), "state"), "up")
	r.b.shows(act, "Drain")
	r.b.noComplaints()
}

func (r *lineModeRun) drainingTheLastTargetNeedsAConfirmation(t *testing.T) {
	r.second.die()
	r.b.shows(cell(r.second.name(), "state"), "down")
	r.b.click(cell(r.first.name(), "act") + " button")
	r.b.shows("#confirm", "No other target is up")
	r.b.keep("line-confirm")
	r.b.wait(`document.activeElement.id === "confirm-no"`)
	r.b.press(kb.Escape)
	r.b.wait(`!document.querySelector("#confirm").open`)
	r.b.click(cell(r.first.name(), "act") + " button")
	r.b.wait(`document.querySelector("#confirm").open`)
	// The close event of the first question once answered the second one, asked before it came.
	eval[bool](r.b, `(() => {
		document.querySelector("#confirm").close();
		document.querySelector(%s).click();
		return true;
	})()`, cell(r.first.name(), "act")+" button")
	r.b.click("#confirm-yes")
	r.b.shows(cell(r.first.name(), "state"), "drain")
	r.b.shows("#readiness", "not ready")
	r.b.click(cell(r.first.name(), "act") + " button")
	r.b.shows(cell(r.first.name(), "state"), "up")
	r.second.revive(t)
	r.b.shows(cell(r.second.name(), "state"), "up")
	r.b.shows("#readiness", "ready")
	r.b.noComplaints()
}

func (r *lineModeRun) linesplitStopsAndStartsAgain(t *testing.T) {
	r.p.stop()
	r.b.shows("#link", "no data")
	r.b.keep("line-stale")
	r.b.shows("#stale", "This page shows the state at")
	r.b.wait(`document.title.startsWith("no data")`)
	r.p = start(t, append(r.args, "-listen", "tcp://"+r.p.input, "-admin", r.p.admin)...)
	r.b.shows("#link", "live")
	r.b.wait(`document.querySelector("#stale").hidden`)
	r.b.shows("#changes", "linesplit was restarted")
	r.b.shows(cell(r.first.name(), "state"), "up")
	r.b.noComplaints("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET",
		"ERR_EMPTY_RESPONSE")
}
