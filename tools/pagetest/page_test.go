package pagetest

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var (
	pictures = flag.String("pictures", "", "directory for pictures of the page")
	readme   = flag.String("readme", "", "file for the picture in the README, which takes two minutes")
)

func TestPageFollowsConnectionMode(t *testing.T) {
	t.Parallel()
	first, second := newReceiver(t, "127.0.0.1:0", echo), newReceiver(t, "127.0.0.1:0", echo)
	p := start(t, "-mode", "connection", "-target", first.addr+","+second.addr+"?weight=2",
		"-balance", "least-connections", "-health", "tcp", "-health-interval", "200ms", "-health-fall", "1", "-health-rise", "1",
		"-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")
	for range 6 {
		startLoad(t, p.input, 100)
	}
	b := open(t, p.page())
	b.shows("#about", "connection, least-connections")
	b.shows(cell(first.name(), "state"), "up")
	b.shows(cell(second.name(), "name"), "weight 2")
	b.shows(cell(second.name(), "rate"), "from ")
	b.wait(`/[1-9]/.test(document.querySelector(%s).innerText)`, cell(second.name(), "connections"))
	b.shows(".chart:nth-child(2) .legend", "open")
	b.wait(`document.querySelectorAll(".legend b")[2].innerText === "6"`)
	b.wait(`/[1-9].* [KM]iB/.test(document.querySelectorAll(".legend b")[1].innerText)`)
	if eval[bool](b, `!document.querySelector("#ledger-section").hidden`) {
		t.Error("a ledger is shown, but this mode has none")
	}
	b.checkLayout("connection")

	second.die()
	b.shows(cell(second.name(), "state"), "down")
	b.shows(cell(second.name(), "error"), "refused")
	second.revive(t)
	b.shows(cell(second.name(), "state"), "up")
	b.noComplaints()

	// On the loopback without a token file, every user may view the page but not change anything.
	b.click(cell(first.name(), "act") + " button")
	b.shows("#message-alert", "there is no token: set -admin-token-file")
	b.noComplaints("403 (Forbidden)")
}

// The charts of the two modes show different values, so the history of one mode must not appear in
// the other.
func TestChartsDoNotShowTheHistoryOfTheOtherMode(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, "127.0.0.1:0", discard)
	p := start(t, "-target", r.addr, "-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")
	startLoad(t, p.input, 2000)
	b := open(t, p.page())
	const label = `document.querySelector(".chart > svg").getAttribute("aria-label")`
	b.wait(`/^Lines per second .* received [1-9].*sent [1-9].*confirmed [1-9]/.test(` + label + `)`)
	p.stop()
	start(t, "-mode", "connection", "-target", r.addr, "-listen", "tcp://127.0.0.1:0", "-admin", p.admin) // no clients
	b.shows("#about", "mode\nconnection")
	b.wait(`/^Bytes per second .* from clients 0 B/.test(` + label + `)`)
	if got := eval[string](b, label); !strings.Contains(got, "from clients 0 B/s, at most 0 B/s;") {
		t.Errorf("%q, want no values of the other mode", got)
	}
}

// The page shows markup in a target's name, which comes from its address, as text.
func TestMarkupInNamesStaysText(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), `<img src=x onerror=document.title=1>`)
	p := start(t, "-target", "unix://"+socket, "-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")
	b := open(t, p.page())
	b.shows("#table", "<img src=x")
	if eval[int](b, `document.querySelectorAll("img").length`) > 0 {
		t.Error("a name has become an element")
	}
	b.noComplaints()
}

// The page polls when linesplit refuses another stream of events.
func TestPagePollsWhenThereAreTooManyStreams(t *testing.T) {
	t.Parallel()
	target := newReceiver(t, "127.0.0.1:0", discard)
	p := start(t, "-target", target.addr, "-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")
	for open := true; open; {
		r, err := http.Get(p.page() + "api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		open = r.StatusCode == http.StatusOK
	}
	startLoad(t, p.input, 200)
	b := open(t, p.page())
	b.shows("#link", "every 2 s")
	before := b.ledger(1)
	b.wait(`Number(document.querySelector("#ledger .value").textContent.replaceAll(",", "")) > %s`, before)
	b.noComplaints("503 (Service Unavailable)")
}

// TestReadme makes the picture for the README, of a run with changing load and targets that go
// down.
func TestReadme(t *testing.T) {
	if *readme == "" {
		t.Skip("makes a picture only with -readme FILE")
	}
	var (
		targets   []*receiver
		addresses []string
	)
	for _, host := range []string{"127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"} {
		r := newReceiver(t, host+":9999", discard)
		targets, addresses = append(targets, r), append(addresses, r.addr)
	}
	p := start(t, "-target", strings.Join(addresses, ","), "-failback-interval", "1s", "-admin-token-file", tokenFile(t),
		"-listen", "tcp://127.0.0.1:9000", "-admin", "127.0.0.1:0")
	var loads []*load
	for range 5 {
		loads = append(loads, startLoad(t, p.input, 4000))
	}
	b := open(t, p.page())
	b.write("#token", token)
	b.press(kb.Enter)
	at := func(seconds int) { // or a second later, as the page may skip one
		b.wait(`[%s, %s].some((time) => document.querySelector("#about").innerText.includes(time))`,
			clockTime(seconds), clockTime(seconds+1))
	}
	for _, step := range []struct {
		seconds int
		do      func()
	}{
		{15, func() { loads[0].perSecond.Store(9000) }},
		{30, func() { loads[1].perSecond.Store(1000) }},
		{45, targets[2].die},
		{60, func() { loads[2].perSecond.Store(7000) }},
		{70, func() { targets[2].revive(t) }},
		{80, func() { b.click(cell(targets[3].name(), "act") + " button") }},
		{90, func() { loads[0].perSecond.Store(5000) }},
		{100, targets[1].die},
		{110, func() { loads[1].perSecond.Store(6000) }},
	} {
		at(step.seconds)
		step.do()
	}
	at(118)
	b.click("#token-forget")
	b.do(chromedp.Blur(chromedp.CSS("#token")))
	b.prefer("prefers-color-scheme", "light", "prefers-reduced-motion", "reduce")
	b.must(os.WriteFile(*readme, packed(t, b.picture()), 0o644))
	b.noComplaints()
}

// packed halves the size of a PNG by keeping the 256 most frequent colors. Only some shades at the
// edges of letters are lost.
func packed(t *testing.T, picture []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	few := image.NewPaletted(img.Bounds(), frequentColors(img, 256))
	draw.Draw(few, few.Bounds(), img, img.Bounds().Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func frequentColors(img image.Image, maxColors int) color.Palette {
	counts := map[color.Color]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			counts[img.At(x, y)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] })
	return all[:min(maxColors, len(all))]
}

// clockTime formats an uptime as the page does.
func clockTime(seconds int) string {
	if seconds < 60 {
		return strconv.Itoa(seconds) + " s"
	}
	return strconv.Itoa(seconds/60) + " min " + strconv.Itoa(seconds%60) + " s"
}

// ledger returns the number in a tile of the ledger.
func (b *tab) ledger(tile int) int {
	b.t.Helper()
	text := b.text("#ledger > :nth-child(" + strconv.Itoa(tile) + ") .value")
	n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
	b.must(err)
	return n
}

// keep writes a picture to the directory of -pictures, if there is one.
func (b *tab) keep(name string) {
	b.t.Helper()
	if *pictures != "" {
		b.must(os.WriteFile(filepath.Join(*pictures, name+".png"), b.picture(), 0o644))
	}
}

// checkKeyboard goes through the page with Tab. Everything must be reached in order and show the
// focus.
func (b *tab) checkKeyboard(target string) {
	b.t.Helper()
	eval[bool](b, `(document.activeElement.blur(), scrollTo(0, 0), true)`)
	b.click("h1")
	var order []string
	for range 40 {
		b.press(kb.Tab)
		at := eval[string](b, `(() => {
			const e = document.activeElement;
			return e === document.body ? "" : e.id || e.getAttribute("aria-label") || e.textContent || e.tagName;
		})()`)
		if at == "" || len(order) > 0 && at == order[0] {
			break
		}
		order = append(order, at)
		outlined := eval[bool](b, `(() => {
			const s = getComputedStyle(document.activeElement);
			return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
		})()`)
		if !outlined {
			b.t.Errorf("no visible focus on %q", at)
		}
	}
	list := strings.Join(order, " | ")
	from := 0
	for _, want := range []string{
		"Lines per second over the last", "Bytes per second over the last", "token-forget", "Drain " + target, "Metrics",
	} {
		i := strings.Index(list[from:], want)
		if i < 0 {
			b.t.Fatalf("no %q in its place in %s", want, list)
		}
		from += i
	}

	eval[bool](b, `(document.querySelector(".chart > svg").focus(), true)`)
	b.press(kb.ArrowLeft)
	b.press(kb.ArrowLeft)
	b.shows("#said", "received")
	b.shows(".chart-when", "at ")
	b.press(kb.Escape)
	b.wait(`document.querySelector(".chart-when").innerText === ""`)
}

// checkLayout checks the page in each size and color scheme: nothing may need horizontal scrolling,
// and all texts must be readable.
func (b *tab) checkLayout(name string) {
	b.t.Helper()
	for _, width := range []int64{320, 390, 800, 1280} {
		for _, scheme := range []string{"dark", "light"} {
			b.size(width, 844)
			b.prefer("prefers-color-scheme", scheme, "prefers-reduced-motion", "reduce")
			over := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
			if over > 0 {
				b.t.Errorf("%d wide: %d pixels to scroll sideways", width, over)
			}
			for _, faint := range eval[[]string](b, faintTexts) {
				b.t.Errorf("%d wide, %s: hard to read: %s", width, scheme, faint)
			}
			b.keep(name + "-" + strconv.FormatInt(width, 10) + "-" + scheme)
		}
	}
	b.size(1280, 900)
	b.prefer()
}

// faintTexts lists texts whose contrast with their background is below 4.5, the minimum of WCAG.
const faintTexts = `(() => {
	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const light = (color) => {
		const [r, g, b] = channels(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const ground = (e) => {
		const color = getComputedStyle(e).backgroundColor;
		return e.parentElement && channels(color)[3] === 0 ? ground(e.parentElement) : color;
	};
	const faint = new Set();
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
		if (!own || !e.checkVisibility() || e.closest(".unseen")) continue;
		const style = getComputedStyle(e);
		const text = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
		const [a, b] = [light(text), light(ground(e))].sort((x, y) => y - x);
		if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(e.textContent.trim().slice(0, 40) + " " + text);
	}
	return [...faint];
})()`
