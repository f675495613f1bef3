package pagetest

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a tab of a browser that only one test uses.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex // protects the field below
	complaints []string   // errors and warnings on the console
}

// open starts a browser with a page. It skips the test if Chromium is not installed.
func open(t *testing.T, url string) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), browserOptions(chromium, t.TempDir())...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	tab := &tab{t: t, ctx: ctx}
	tab.must(chromedp.Listen(ctx, tab.record))
	tab.size(1280, 900)
	tab.do(chromedp.Navigate(url))
	return tab
}

func browserOptions(program, dir string) []chromedp.ExecAllocatorOption {
	o := []chromedp.ExecAllocatorOption{chromedp.ExecPath(program), chromedp.UserDataDir(dir), chromedp.NoSandbox,
		chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WSURLReadTimeout(maxWait)}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update",
		"disable-sync", "hide-scrollbars", "disable-dev-shm-usage", "disable-background-timer-throttling",
		"disable-renderer-backgrounding"} {
		o = append(o, chromedp.Flag(flag, true))
	}
	return o
}

// record keeps errors and warnings of the console.
func (b *tab) record(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprintf("console.%s", e.Type)
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// noComplaints fails the test for each message on the console since the last call that does not
// contain one of expected.
func (b *tab) noComplaints(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, text := range b.complaints {
		for _, part := range expected {
			if strings.Contains(text, part) {
				continue next
			}
		}
		b.t.Errorf("on the console: %s", text)
	}
	b.complaints = nil
}

func (b *tab) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	// The first call starts the browser, which runs until its context is cancelled.
	b.must(chromedp.Do(b.ctx, steps...))
}

// eval returns the value of a JavaScript expression in the page. Each %s in format stands for an
// argument as a JavaScript literal.
func eval[T any](b *tab, format string, args ...any) T {
	b.t.Helper()
	for i := range args {
		quoted, err := json.Marshal(args[i])
		b.must(err)
		args[i] = string(quoted)
	}
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](fmt.Sprintf(format, args...)))
	if err != nil {
		b.t.Fatalf("%s: %v", format, err)
	}
	return value
}

// wait waits until an expression is true. See eval for its arguments.
func (b *tab) wait(format string, args ...any) {
	b.t.Helper()
	quoted := append([]any(nil), args...)
	deadline := time.Now().Add(maxWait)
	for !eval[bool](b, format, append([]any(nil), quoted...)...) {
		if time.Now().After(deadline) {
			page := eval[string](b, "document.body.innerText")
			b.t.Fatalf("not within %v: "+format+"\n%s", append(append([]any{maxWait}, args...), page)...)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cell returns the selector of a cell in a target's row.
func cell(target, column string) string {
	return fmt.Sprintf(`tr[data-target=%q] [data-column=%q]`, target, column)
}

// text returns the text of an element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, `document.querySelector(%s)?.innerText ?? ""`, selector)
}

// shows waits until an element contains a text.
func (b *tab) shows(selector, text string) {
	b.t.Helper()
	b.wait(`(document.querySelector(%s)?.innerText ?? "").includes(%s)`, selector, text)
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

func (b *tab) write(selector, text string) {
	b.t.Helper()
	eval[string](b, `document.querySelector(%s).value = ""`, selector)
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// prefer sets media features, in pairs of a name and a value.
func (b *tab) prefer(pairs ...string) {
	b.t.Helper()
	var features []*emulation.MediaFeature
	for i := 0; i < len(pairs); i += 2 {
		features = append(features, &emulation.MediaFeature{Name: pairs[i], Value: pairs[i+1]})
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	b.must(err)
}

// picture returns a PNG of the whole page.
func (b *tab) picture() []byte {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	b.must(err)
	return png
}
