package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

// sinkTool is the command and returns the exit code.
func sinkTool(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	t := sinkCommand()
	o, err := parseSink(t, args)
	if err != nil {
		return t.explain(err, stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	r := &sinkRun{sinkSettings: o, con: console.New(stderr), start: time.Now()}
	if err := r.open(stdout); err != nil {
		fmt.Fprintf(stderr, "linesplit sink: %v\n", err)
		return exitCannotRun
	}
	r.serve(ctx)
	failed := r.close()
	r.con.Clear()

	account, err := r.account()
	if err != nil { // without what was sent, there is an account all the same
		r.print(account, stdout, stderr)
		fmt.Fprintf(stderr, "linesplit sink: %v\n", err)
		return exitCannotRun
	}
	failed = errors.Join(failed, r.print(account, stdout, stderr))
	if account.Report != nil {
		failed = errors.Join(failed, account.Report.Err())
	}
	if failed != nil {
		fmt.Fprintf(stderr, "linesplit sink: %v\n", failed)
		return exitFailed
	}
	return exitOK
}

// sinkRun is one run of the command. It belongs to the goroutine of that.
type sinkRun struct {
	sinkSettings
	con   *console.Console
	start time.Time
	tally *tally.Tally // nil: nothing is verified
	all   []*sink.Sink

	file       *os.File // of the output, which is closed; may be nil
	endControl func()

	shown      time.Time // when progress was, and what it was
	shownBytes uint64
}

// open opens all that the run needs, or nothing.
func (r *sinkRun) open(stdout io.Writer) (err error) {
	output, err := r.openOutput(stdout)
	if err != nil {
		return err
	}
	if r.verify {
		r.tally = tally.New(tally.Options{Strict: r.strict})
	}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for _, o := range r.sinks {
		o.Tally, o.Output = r.tally, output
		s, err := sink.Start(o)
		if err != nil {
			return err
		}
		r.all = append(r.all, s)
		r.con.Say("listening on %s", s.Target())
	}
	return r.serveControl()
}

// openOutput returns what takes all lines, or nil.
func (r *sinkRun) openOutput(stdout io.Writer) (io.Writer, error) {
	switch r.output {
	case "":
		return nil, nil
	case "-":
		return &lockedWriter{w: stdout}, nil
	}
	file, err := os.Create(r.output)
	if err != nil {
		return nil, err
	}
	r.file = file
	return file, nil // which locks itself
}

// lockedWriter is a writer for many goroutines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// serveControl takes orders, if it is told where, until endControl is called.
func (r *sinkRun) serveControl() error {
	if r.control == "" {
		return nil
	}
	ln, err := net.Listen("tcp", r.control)
	if err != nil {
		return fmt.Errorf("listen on the control address: %w", err)
	}
	r.con.Say("taking orders on http://%s", ln.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { sink.NewControl(r.tally, r.all...).Serve(ctx, ln) })
	r.endControl = func() { cancel(); serving.Wait() }
	return nil
}

// sinkTick is how often the run looks at what came.
const sinkTick = 20 * time.Millisecond

// serve returns when the run is to end.
func (r *sinkRun) serve(ctx context.Context) {
	if r.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.duration)
		defer cancel()
	}
	tick := time.NewTicker(sinkTick)
	defer tick.Stop()
	var before sinkSums
	last := time.Now() // something happened
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			sums := r.sums()
			if sums != before || sums.open > 0 || sums.bytes == 0 {
				before, last = sums, now
			}
			if r.untilQuiet > 0 && now.Sub(last) >= r.untilQuiet {
				return
			}
			r.show(sums)
		}
	}
}

// sinkSums are over all sinks.
type sinkSums struct {
	lines, bytes, accepted uint64
	open                   int
}

func (r *sinkRun) sums() (all sinkSums) {
	for _, s := range r.all {
		all.lines += s.Lines()
		all.bytes += s.Bytes()
		all.accepted += s.Accepted()
		all.open += s.Open()
	}
	return all
}

// show shows what came so far, on a terminal that has nothing else to show.
func (r *sinkRun) show(sums sinkSums) {
	if !r.con.Live() || !r.con.Due() || r.output == "-" {
		return
	}
	now := time.Now()
	rate := perSecond(sums.bytes-r.shownBytes, now.Sub(r.shown).Seconds())
	r.shown, r.shownBytes = now, sums.bytes
	r.con.Progress(fmt.Sprintf("%s lines  %s  %s/s  %d open", humanize.Comma(int64(sums.lines)), humanize.Bytes(sums.bytes), rate, sums.open))
}

// close ends all that is open: orders first, so that none brings back what has ended. Its error says that the output is not complete.
func (r *sinkRun) close() error {
	if r.endControl != nil {
		r.endControl()
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.drain)
	defer cancel()
	var ending sync.WaitGroup
	for _, s := range r.all {
		ending.Go(func() { s.Shutdown(ctx) }) // what it cuts off is counted
	}
	ending.Wait()
	var errs []error
	for _, s := range r.all {
		errs = append(errs, s.OutputErr())
	}
	if r.file != nil {
		errs = append(errs, r.file.Close())
	}
	return errors.Join(errs...)
}

// sinkAccount is what the command says in the end.
type sinkAccount struct {
	Seconds float64       `json:"seconds"` // from the start
	Lines   uint64        `json:"lines"`   // of all sinks, as are the bytes
	Bytes   uint64        `json:"bytes"`
	Sinks   []sink.Status `json:"sinks"`
	InDoubt uint64        `json:"in_doubt"` // lines that were sent and, as far as their senders know, may not have reached anybody
	Report  *tally.Report `json:"report,omitempty"`
}

// account says what came. Its error is that nobody can say what was sent.
func (r *sinkRun) account() (sinkAccount, error) {
	sums := r.sums()
	a := sinkAccount{Seconds: time.Since(r.start).Seconds(), Lines: sums.lines, Bytes: sums.bytes}
	for _, s := range r.all {
		a.Sinks = append(a.Sinks, s.Status())
	}
	if r.tally == nil {
		return a, nil
	}
	expected, err := readExpected(r.expect)
	report := r.tally.Report(expected.Senders)
	a.Report, a.InDoubt = &report, expected.InDoubt
	return a, err
}

// expected is what linesplit send says that it has sent.
type expected struct {
	Numbered bool              `json:"numbered"`
	InDoubt  uint64            `json:"in_doubt"`
	Senders  map[uint32]uint64 `json:"senders"`
}

// readExpected reads the summaries of all runs of linesplit send. Without any it knows of no senders.
func readExpected(files []string) (all expected, err error) {
	for _, file := range files {
		one, err := readSummary(file)
		if err != nil {
			return expected{}, fmt.Errorf("what was sent, from %s: %w", file, err)
		}
		if all.Senders == nil {
			all.Senders = make(map[uint32]uint64)
		}
		for id, n := range one.Senders {
			if _, twice := all.Senders[id]; twice {
				return expected{}, fmt.Errorf("what was sent, from %s: sender %d is in another file, too: give linesplit send another -first-sender", file, id)
			}
			all.Senders[id] = n
		}
		all.InDoubt += one.InDoubt
	}
	return all, nil
}

func readSummary(file string) (one expected, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return expected{}, err
	}
	if err := json.Unmarshal(data, &one); err != nil {
		return expected{}, fmt.Errorf("not what linesplit send prints: %w", err)
	}
	if one.Senders == nil {
		return expected{}, errors.New("not what linesplit send prints: no senders")
	}
	if !one.Numbered {
		return expected{}, errors.New("its lines were not numbered, so none of them can be known again")
	}
	return one, nil
}

// print writes the account to where people or programs look for it.
func (r *sinkRun) print(a sinkAccount, stdout, stderr io.Writer) error {
	w := stdout
	if r.output == "-" {
		w = stderr
	}
	if r.json {
		return json.NewEncoder(w).Encode(a)
	}
	_, err := io.WriteString(w, sinkText(a))
	return err
}

// sinkText is an account for people.
func sinkText(a sinkAccount) string {
	var b strings.Builder
	fmt.Fprintf(&b, "read %s lines, %s, in %.1f s\n", humanize.Comma(int64(a.Lines)), humanize.Bytes(a.Bytes), a.Seconds)
	for _, s := range a.Sinks {
		fmt.Fprintf(&b, "  %s: %s lines, %s; connections: %s\n", s.Target, humanize.Comma(int64(s.Lines)), humanize.Bytes(s.Bytes), counted(
			amount{s.Accepted, "accepted"}, amount{s.Refused, "refused"}, amount{s.Dropped, "dropped by chaos"},
			amount{s.Reset, "reset with data unread"}, amount{s.Idle, "closed when idle"},
			amount{s.Handshakes, "without a TLS handshake"}, amount{s.Broken, "broken off"}))
	}
	if a.Report == nil {
		return b.String()
	}
	return b.String() + sinkReportText(*a.Report, a.InDoubt)
}

// sinkReportText is what verification found.
func sinkReportText(r tally.Report, inDoubt uint64) string {
	var b strings.Builder
	row := func(name string, n uint64, note string) {
		line := fmt.Sprintf("  %-14s %13s   %s", name, humanize.Comma(int64(n)), note)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	sent, lost := fmt.Sprintf("by %d senders", len(r.Senders)), ""
	if !r.SentKnown {
		sent, lost = "going by the last of each sender that came", "what is missing at the end cannot be known without -expect"
	}
	if inDoubt > 0 {
		sent += fmt.Sprintf(", up to %s of which may never have left them", humanize.Comma(int64(inDoubt)))
	}
	row("sent", r.Sent, sent)
	row("received once", r.Distinct, "")
	row("lost", r.Lost, lost)
	row("duplicated", r.Duplicated, "")
	row("corrupt", r.Corrupt, "")
	row("torn", r.Torn, "without a newline before a clean end")
	row("cut off", r.Cut, "without a newline where a connection broke: no lines")
	row("out of order", r.OutOfOrder, "")
	row("never sent", r.NeverSent, "")
	row("foreign", r.Foreign, "not numbered")
	if r.Untracked > 0 {
		row("untracked", r.Untracked, "for want of memory")
	}
	if l := r.Latency; l.Count > 0 {
		fmt.Fprintf(&b, "  latency: p50 %v, p90 %v, p99 %v, p99.9 %v, max %v\n", sinkTime(l.P50), sinkTime(l.P90), sinkTime(l.P99), sinkTime(l.P999), sinkTime(l.Max))
		if l.Early > 0 {
			fmt.Fprintf(&b, "  %s lines came before they were sent: the clocks differ\n", humanize.Comma(int64(l.Early)))
		}
	}
	b.WriteString(sinkFaultsText(r))
	return b.String()
}

// mostSendersShown is how many senders with faults are shown to people; -json has all.
const mostSendersShown = 10

// sinkFaultsText shows whose lines are missing, and lines that are not as they were sent.
func sinkFaultsText(r tally.Report) string {
	var b strings.Builder
	shown := 0
	for _, s := range r.Senders {
		if s.Lost == 0 && s.NeverSent == 0 {
			continue
		}
		if shown++; shown > mostSendersShown {
			b.WriteString("  and more senders\n")
			break
		}
		fmt.Fprintf(&b, "  sender %d: %s", s.ID, counted(amount{s.Lost, "lost"}, amount{s.NeverSent, "never sent"}))
		for _, span := range s.LostSpans {
			fmt.Fprintf(&b, " %d-%d", span.First, span.Last)
		}
		b.WriteString("\n")
	}
	for _, line := range r.Samples {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

func sinkTime(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Microsecond)
}

// amount is a number of something.
type amount struct {
	n    uint64
	what string
}

// counted lists amounts, leaving out what there is none of.
func counted(amounts ...amount) string {
	var parts []string
	for _, a := range amounts {
		if a.n > 0 {
			parts = append(parts, humanize.Comma(int64(a.n))+" "+a.what)
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
