package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/admin"
	"linesplit/tlsconf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a linesplit with two targets. It records the calls that it gets.
type fake struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) takeCalls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.calls
	f.calls = nil
	return all
}

func (f *fake) Status() admin.Status {
	return admin.Status{
		Mode: admin.ModeLine, Version: "v1.2.3", Started: time.Now().Add(-3*time.Hour - 4*time.Minute), Ready: true,
		Listeners: []string{"tcp://0.0.0.0:9000"},
		Ledger: &admin.Ledger{
			Received: admin.Amount{Lines: 1234567, Bytes: 9}, Confirmed: admin.Amount{Lines: 1234560},
			Sent: admin.Amount{Lines: 9, Bytes: 90}, Acknowledged: admin.Amount{Lines: 8, Bytes: 80},
			Dropped: admin.Amount{Lines: 7, Bytes: 5},
			DroppedBy: []admin.DroppedBy{{Reason: "torn", Amount: admin.Amount{Lines: 7, Bytes: 5}},
				{Reason: "oversize"}},
		},
		Targets: []admin.TargetStatus{
			{Name: "tcp://10.0.0.1:9999", State: admin.StateUp, Connections: 4, From: []string{"dns://a:1", "by hand"},
				Lines: &admin.TargetLines{
					Sent: admin.Amount{Lines: 9}, Acknowledged: admin.Amount{Lines: 8},
					Confirmed: admin.Amount{Lines: 7}, Retained: admin.Amount{Bytes: 1 << 20},
				}},
			{Name: "unix:///run/b c.sock", State: admin.StateDown, LastError: "connection refused\x1b[31m\n",
				LastErrorAt: time.Now()},
		},
		Sources: []admin.SourceStatus{
			{Name: "dns://a:1", Failing: true, Targets: 1, Answers: 12, Failures: 3, LastAnswerAt: time.Now(), LastError: "SERVFAIL", LastErrorAt: time.Now()},
			{Name: "file:///b.json"},
		},
	}
}

func (f *fake) Connections(limit int) []admin.Connection {
	f.note("connections %d", limit)
	return []admin.Connection{{ID: 7, Client: "10.9.8.7:1234", Listener: "tcp://0.0.0.0:9000", ReceivedLines: 5000,
		Since: time.Now()}}
}

func (f *fake) Config() []admin.Setting {
	return []admin.Setting{{Name: "max-line", Value: "1MiB", Source: admin.SourceFile, Reloadable: true}}
}

func (f *fake) Add(_ context.Context, address string) error { return f.note("add %s", address) }
func (f *fake) Remove(_ context.Context, name string) error { return f.note("remove %s", name) }
func (f *fake) Drain(_ context.Context, name string) error  { return f.note("drain %s", name) }
func (f *fake) Resume(_ context.Context, name string) error { return f.note("resume %s", name) }
func (f *fake) SetWeight(_ context.Context, name string, n int) error {
	return f.note("weight %s %d", name, n)
}
func (f *fake) SetBalance(_ context.Context, rule string) error { return f.note("balance %s", rule) }
func (f *fake) Reload(context.Context) (changed, needRestart []string, err error) {
	return []string{"target"}, []string{"listen"}, f.note("reload")
}

// serve serves f on a Unix socket, which allows everything, and returns a client.
func serve(t *testing.T, f admin.Control) *Client {
	t.Helper()
	address := "unix://" + filepath.Join(t.TempDir(), "a.sock") + "?mode=0600"
	ln, err := admin.Listen(t.Context(), address, tlsconf.ServerFiles{})
	if err != nil {
		t.Fatal(err)
	}
	return serveAt(t, f, ln, address)
}

func serveAt(t *testing.T, f admin.Control, ln net.Listener, address string) *Client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.New(admin.Options{Control: f}).Serve(ctx, ln) }()
	c, err := NewClient(Options{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

func run(t *testing.T, c *Client, asJSON bool, words ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Run(t.Context(), c, &out, asJSON, words)
	return out.String(), err
}

func TestCommands(t *testing.T) {
	f := &fake{}
	c := serve(t, f)
	for _, tt := range []struct {
		words string
		want  string // pattern that must match the answer
		calls string
	}{
		{"status", `linesplit v1.2.3, line mode, up for 3h4m, ready\nlistening on +tcp://0.0.0.0:9000\n(?s:.*)received +1,234,567 +9\n(?s:.*)\+ dropped +7 +5\n +torn +7 +5\nsent +9 +90\nacknowledged +8 +80\nresent`, ""},
		{"targets", `TARGET +STATE .*\ntcp://10.0.0.1:9999 +up .* 4 .* 9 +8 +7 .*1.0 MiB.*\nunix:///run/b c.sock +down .*connection refused\x{fffd}\[31m  \(0s ago\)`, ""},
		{"targets", `FROM +LAST ERROR\n.* dns://a:1 by hand(?s:.*)\n\nSOURCE +STATE +TARGETS +ANSWERED +ANSWERS +FAILURES +LAST ERROR\n` +
			`dns://a:1 +failing +1 +0s ago +12 +3 +SERVFAIL \(0s ago\)\nfile:///b.json +not asked yet +0 +never +0 +0`, ""},
		{"ledger", `= confirmed +1,234,560 +0\n`, ""},
		{"connections", `7 +10.9.8.7:1234 +tcp://0.0.0.0:9000 +0s +5,000`, "connections 100"},
		{"connections 3", `7 +10.9.8.7:1234`, "connections 3"},
		{"config", `max-line +1MiB +file +yes`, ""},
		{"add 10.0.0.3:9999?weight=3", `TARGET`, "add 10.0.0.3:9999?weight=3"},
		{"drain tcp://10.0.0.1:9999", `10.0.0.1`, "drain tcp://10.0.0.1:9999"},
		{"resume tcp://10.0.0.1:9999", `10.0.0.1`, "resume tcp://10.0.0.1:9999"},
		{"remove tcp://10.0.0.1:9999", `10.0.0.1`, "remove tcp://10.0.0.1:9999"},
		{"remove tcp://10.0.0.9:9999", `tcp://10.0.0.9:9999 is removed`, "remove tcp://10.0.0.9:9999"},
		{"weight tcp://10.0.0.1:9999 5", `10.0.0.1`, "weight tcp://10.0.0.1:9999 5"},
		{"balance random", `random`, "balance random"},
		{"reload", `changed: target\ntake effect only after a restart: listen`, "reload"},
	} {
		got, err := run(t, c, false, strings.Fields(tt.words)...)
		if err != nil || !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s: %v, want %q in\n%s", tt.words, err, tt.want, got)
		}
		if calls := strings.Join(f.takeCalls(), ";"); calls != tt.calls {
			t.Errorf("%s: linesplit was told %q, want %q", tt.words, calls, tt.calls)
		}
		got, err = run(t, c, true, strings.Fields(tt.words)...)
		if err != nil || got != "" && !json.Valid([]byte(got)) {
			t.Errorf("%s as JSON: %v\n%s", tt.words, err, got)
		}
		f.takeCalls()
	}
	if _, err := run(t, c, false, "drain", "unix:///run/b c.sock"); err != nil ||
		f.takeCalls()[0] != "drain unix:///run/b c.sock" {
		t.Errorf("a name with slashes and a space: %v", err)
	}
}

// strict is a fake that knows the names of its targets.
type strict struct{ *fake }

func (f strict) known(name string) error {
	for _, t := range f.Status().Targets {
		if t.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", admin.ErrUnknown, name)
}

func (f strict) Drain(_ context.Context, name string) error {
	return errors.Join(f.known(name), f.note("drain %s", name))
}

func (f strict) SetWeight(_ context.Context, name string, n int) error {
	return errors.Join(f.known(name), f.note("weight %s %d", name, n))
}

// The name of a target had to be written exactly as linesplit writes it, with the scheme that users
// leave out in -target. When ctl came to find the name, it first sent the one that was written, and
// linesplit logged a failed change before each that succeeded.
func TestNamesOfTargets(t *testing.T) {
	f := strict{&fake{}}
	c := serve(t, f)
	for words, want := range map[string]string{
		"drain 10.0.0.1:9999":        "drain tcp://10.0.0.1:9999",
		"drain tls://10.0.0.1:9999":  "did you mean tcp://10.0.0.1:9999?",
		"weight 10.0.0.1:9999 3":     "weight tcp://10.0.0.1:9999 3",
		"weight tcp://10.0.0.1:99 3": "did you mean tcp://10.0.0.1:9999?",
		// A scheme that was written is not overruled: it changed another target than the one named.
		"drain 10.0.1.1:9999": "did you mean tcp://10.0.0.1:9999?",
		"drain logs":          "; there are tcp://10.0.0.1:9999, unix:///run/b c.sock",
	} {
		_, err := run(t, c, false, strings.Fields(words)...)
		calls := f.takeCalls()
		if got := fmt.Sprint(calls, err); !strings.Contains(got, want) || len(calls) != 1 {
			t.Errorf("%s: %s, want %s and one call", words, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	f := &fake{err: fmt.Errorf("%w: %w", admin.ErrInvalid, errors.Join(errors.New("one"), errors.New("two")))}
	c := serve(t, f)
	_, err := run(t, c, false, "reload")
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Status != 422 || !strings.Contains(err.Error(), "\n  one\n  two") {
		t.Errorf("got %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	loopback := serveAt(t, &fake{}, ln, ln.Addr().String())
	if _, err := run(t, loopback, false, "targets"); err != nil {
		t.Error(err)
	}
	if _, err := run(t, loopback, false, "reload"); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a change without a token: %v", err)
	}
}

func TestCommandLinesAreChecked(t *testing.T) {
	for words, want := range map[string]string{
		"":            "no command: write one of status, targets",
		"targts":      `unknown command "targts": did you mean targets? If not, write one of status`,
		"drain":       "arguments given to drain: 0; write drain NAME",
		"drain a b":   "arguments given to drain: 2",
		"targets all": "arguments given to targets: 1; write targets",

		"weight a:1 2.5":     `weight "2.5": write a whole number from 1 to 1000000`,
		"weight a:1 -1":      `weight "-1": write a whole number`,
		"weight a:1 0":       `weight "0": write a whole number`,
		"weight a:1 1000001": `weight "1000001": write a whole number`,
		"connections many":   `limit "many": write a whole number from 1 to 10000`,
		"connections 0":      `limit "0": write a whole number`,
	} {
		if err := Check(strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", words, err, want)
		}
	}
	for _, words := range [][]string{{"drain", ""}, {"add", ""}, {"weight", "", "1"}, {"connections", ""}} {
		if err := Check(words); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%q: %v", words, err)
		}
	}
	if _, err := run(t, &Client{}, false, "weight", "a", "many"); err == nil ||
		!strings.Contains(err.Error(), "write a whole number") {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	for _, address := range []string{"unix://" + filepath.Join(t.TempDir(), "none"), "127.0.0.1:1"} {
		c, err := NewClient(Options{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		_, err = run(t, c, false, "top")
		if _, ok := errors.AsType[*UnreachableError](err); !ok || !strings.Contains(err.Error(), "ask linesplit at "+address) ||
			!strings.Contains(err.Error(), "nothing listens there: linesplit has an admin listener only where its -admin says") {
			t.Errorf("%s: %v", address, err)
		}
		c.Close()
	}
	for _, address := range []string{
		"", "9091", "http://127.0.0.1:9091", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:0", "::1:9091", "unix://run/a",
		"unix:/run/a", "/run/a", "udp://127.0.0.1:1", "stdin:",
	} {
		if _, err := NewClient(Options{Address: address}); err == nil {
			t.Errorf("%q passes for an address", address)
		}
	}
}

func TestAnotherProgramAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.New(admin.Options{}).Serve(ctx, ln) }() // metrics and probes, but no API
	defer func() { cancel(); <-ended }()
	c, err := NewClient(Options{Address: ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := run(t, c, false, "targets"); err == nil || !strings.Contains(err.Error(), "not linesplit's API") {
		t.Errorf("got %v", err)
	}
}

// page collects what top writes, and ends top after a number of writes.
type page struct {
	bytes.Buffer
	left int
	stop context.CancelFunc
}

func (p *page) Write(b []byte) (int, error) {
	if p.left--; p.left == 0 {
		p.stop()
	}
	return p.Buffer.Write(b)
}

func TestTop(t *testing.T) {
	c := serve(t, &fake{})
	ctx, cancel := context.WithCancel(t.Context())
	out := &page{left: 2, stop: cancel}
	if err := Run(ctx, c, out, false, []string{"top"}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "line mode"); n != 2 || strings.Contains(out.String(), home) {
		t.Errorf("%d screens, or control sequences without a terminal, in %q", n, out.String())
	}
	if !strings.Contains(out.String(), "tcp://10.0.0.1:9999") || strings.Contains(out.String(), "\x1b[31m") {
		t.Errorf("got %q", out.String())
	}
}

// Output that could not be written is an error, so that scripts notice.
func TestWriteErrorsAreReturned(t *testing.T) {
	c := serve(t, &fake{})
	for _, asJSON := range []bool{false, true} {
		if err := Run(t.Context(), c, full{}, asJSON, []string{"targets"}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("JSON %v: %v", asJSON, err)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestTopOnATerminal(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device passes for a terminal
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	page := string((&session{out: terminal}).screen([]byte(`{"mode":"line"}`), nil))
	if !strings.HasPrefix(page, home) || !strings.HasSuffix(page, clearRest) {
		t.Errorf("%q", page)
	}
}

// Datagrams that the kernel drops are in no count of lines. The status did not name them.
func TestStatusNamesLostDatagrams(t *testing.T) {
	var out bytes.Buffer
	writeStatus(&out, admin.Status{Mode: "line", Ledger: new(admin.Ledger), Totals: admin.Totals{DroppedDatagrams: 1200}})
	if !strings.Contains(out.String(), "1,200 datagrams lost, which no other count includes") {
		t.Error(out.String())
	}
	out.Reset()
	if writeStatus(&out, admin.Status{Mode: "line", Ledger: new(admin.Ledger)}); strings.Contains(out.String(), "datagram") {
		t.Error(out.String())
	}
}

// Names and texts from outside reached the terminal as they were: a target whose name had control
// sequences could clear the screen, or show a line that linesplit never wrote.
func TestNothingFromOutsideReachesTheTerminal(t *testing.T) {
	const bad = "a\x1b[2J\u009b31m\u202e\xff\x00b"
	hostile := admin.Status{
		Mode: bad, Version: bad, Reason: bad, Balance: bad, Listeners: []string{bad},
		Ledger:  &admin.Ledger{Dropped: admin.Amount{Lines: 1}, DroppedBy: []admin.DroppedBy{{Reason: bad, Amount: admin.Amount{Lines: 1}}}},
		Targets: []admin.TargetStatus{{Name: bad, State: bad, LastError: bad}},
	}
	var out bytes.Buffer
	writeStatus(&out, hostile)
	writeTargets(&out, hostile.Targets)
	writeSources(&out, []admin.SourceStatus{{Name: bad, LastError: bad}})
	writeConnections(&out, connectionList{[]admin.Connection{{Client: bad, Listener: bad, Target: bad}}})
	writeConfig(&out, settingList{[]admin.Setting{{Name: bad, Value: bad, Source: bad}}})
	out.WriteString((&RefusedError{Status: 401, Detail: bad}).Error())
	out.WriteString((&RefusedError{Status: 422, Detail: bad + "\n" + bad, Errors: []string{bad}}).Error())
	out.Write(printableJSON([]byte(`{"name":"` + bad + `\U000E0001"}`)))
	for _, r := range out.String() {
		if r != '\n' && !strconv.IsPrint(r) {
			t.Fatalf("%q reaches the terminal: %q", r, out.String())
		}
	}
	before := map[string]string{"name": "a\x1b\u009b\u202e\U000E0001\n日"}
	text, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after map[string]string
	if err := json.Unmarshal(printableJSON(text), &after); err != nil || after["name"] != before["name"] {
		t.Errorf("%s became %s: %v", text, printableJSON(text), err)
	}
}

func TestRatesOfFewLines(t *testing.T) {
	for _, test := range []struct {
		lines, bytes float64
		want         string
	}{
		{0, 0, "0 B/s"}, {0.1, 6, "0.1 lines/s, 6 B/s"}, {9.94, 0.6, "9.9 lines/s, 1 B/s"}, {10.6, 2048, "11 lines/s, 2.0 KiB/s"},
		{12345.6, 1, "12,346 lines/s, 1 B/s"},
	} {
		if got := rate(test.lines, test.bytes); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
