package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

func sinkCommand() command {
	return command{
		name:    "sink",
		summary: "Play the receivers behind a proxy, and count what arrives",
		text: `linesplit sink plays the receivers behind a proxy: it reads lines, misbehaves where it is told to,
and accounts for what has come when it ends. With -verify it recognizes the numbered records of
linesplit send, and finds each that was lost, repeated, altered or torn.

Usage:
  linesplit sink [-listen ADDRESS] [flags]

It ends on SIGINT or SIGTERM, after -duration or -until-quiet, and when a write to -output fails,
since it would throw away what it reads. Exit code 0: all well; 1: with -verify, lines were lost or
are not as they were sent, or the output could not be written; 2: a flag is wrong; 3: it cannot
listen, or cannot read or write a file that is named.

With -control it takes orders over HTTP, for all listeners, or with ?sink=2 for the second:
  GET /status
  GET, PUT, PATCH /behaviour, with JSON such as {"delay":"10ms","chaos":5,"chaos_when":"mid-stream"}
  POST /pause, /resume, /reset, /exit, /crash?stall=100ms, /close-unread?stall=100ms,
       /shutdown?patience=5s, /restart
`,
		options: sinkOptions(),
		examples: `
Examples:
  linesplit sink -verify -until-quiet 5s
  linesplit sink -listen tcp://127.0.0.1:9998,tcp://127.0.0.1:9999 -verify -expect sent.json -json
  linesplit sink -listen tls://:6514 -tls-cert cert.pem -tls-key key.pem -output lines.log
  linesplit sink -control 127.0.0.1:9090
  curl -X POST 'http://127.0.0.1:9090/crash?stall=200ms'     # meanwhile
`,
		run: runSink,
	}
}

func runSink(ctx context.Context, in invocation) int {
	o, err := parseSink(in.command, in.args)
	if err != nil {
		return in.explain(err)
	}
	ctx, stop := untilInterrupted(ctx)
	defer stop()

	r := &sinkRun{sinkSettings: o, con: console.New(in.stderr), start: time.Now()}
	if err := r.open(in.stdout); err != nil {
		return in.fail(exitCannotRun, err)
	}
	r.serve(ctx)
	failed := r.close()
	r.con.Clear()

	account, err := r.account()
	if err != nil { // what was sent is not known; the account is printed all the same
		r.print(account, in)
		return in.fail(exitCannotRun, err)
	}
	failed = errors.Join(failed, r.print(account, in))
	if account.Report != nil {
		failed = errors.Join(failed, account.Report.Err())
	}
	if failed != nil {
		return in.fail(exitFailed, failed)
	}
	return exitOK
}

// sinkRun is one run of the command. It belongs to the goroutine of runSink.
type sinkRun struct {
	sinkSettings
	con   *console.Console
	start time.Time
	tally *tally.Tally // nil: nothing is verified
	all   []*sink.Sink

	file       *os.File // of -output, closed by close; nil: no file
	endControl func()   // nil: no control

	shown      time.Time // time of the last progress line
	shownBytes uint64    // bytes at that time
}

// open opens everything that the run needs, or nothing.
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

// openOutput returns the writer for all lines, or nil.
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
	return file, nil // safe for concurrent use without a lock
}

// lockedWriter makes a writer safe for concurrent use.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// serveControl takes orders on -control, if given, until endControl is called.
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

// sinkInterval is the time between two looks at the counts.
const sinkInterval = 20 * time.Millisecond

// serve returns when the run is to end: with ctx, after -duration or -until-quiet, or when the
// output has failed.
func (r *sinkRun) serve(ctx context.Context) {
	if r.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.duration)
		defer cancel()
	}
	ticker := time.NewTicker(sinkInterval)
	defer ticker.Stop()
	var before sinkSums
	lastChange := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if r.outputErr() != nil {
				return
			}
			sums := r.sums()
			if sums != before || sums.open > 0 || sums.bytes == 0 {
				before, lastChange = sums, now
			}
			if r.untilQuiet > 0 && now.Sub(lastChange) >= r.untilQuiet {
				return
			}
			r.show(sums)
		}
	}
}

// sinkSums are totals of all sinks.
type sinkSums struct {
	lines, bytes, accepted uint64
	open                   int // connections
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

// show prints the progress, on a terminal only, and not if standard output gets the lines.
func (r *sinkRun) show(sums sinkSums) {
	if !r.con.Live() || !r.con.Due() || r.output == "-" {
		return
	}
	now := time.Now()
	rate := perSecond(sums.bytes-r.shownBytes, now.Sub(r.shown).Seconds())
	r.shown, r.shownBytes = now, sums.bytes
	r.con.Progress(fmt.Sprintf("%s  %s  %s/s  %d open",
		counted(sums.lines, "line"), humanize.Bytes(sums.bytes), rate, sums.open))
}

// close ends everything that is open: the control first, so that no order restarts a sink that has
// ended. The error says that the output is incomplete.
func (r *sinkRun) close() error {
	if r.endControl != nil {
		r.endControl()
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.drain)
	defer cancel()
	var ending sync.WaitGroup
	incomplete := r.outputErr() != nil
	for _, s := range r.all {
		ending.Go(func() {
			if incomplete { // what a shutdown still reads would be lost
				s.Exit()
				return
			}
			s.Shutdown(ctx) // connections that it cuts off are counted
		})
	}
	ending.Wait()
	err := r.outputErr()
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
	}
	return err
}

// outputErr returns why lines that were read are not in the output, or nil.
func (r *sinkRun) outputErr() error {
	var errs []error
	for _, s := range r.all {
		errs = append(errs, s.OutputErr())
	}
	return errors.Join(errs...)
}
