package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
	"linesplit/linebuf"
)

// ErrNotDelivered is wrapped by Demo's error if a line was lost or torn, or if the pipeline's
// ledger disagrees with what the targets read. The error adds the numbers.
var ErrNotDelivered = errors.New("not every line arrived as it was sent")

// DemoOptions set how long the demonstration takes and how much it sends. The zero value is the
// demonstration that users see.
type DemoOptions struct {
	Duration time.Duration // time that senders write; the victim is down from 1/4 to 1/2 of it. 13 s if 0
	Rate     int           // lines per second, all senders together. 80,000 if 0
	Targets  int           // at least 2. 3 if 0
	Stall    time.Duration // time that the target reads nothing before it is killed. 30 ms if 0
}

func (o DemoOptions) withDefaults() DemoOptions {
	if o.Duration <= 0 {
		o.Duration = 13 * time.Second
	}
	if o.Rate <= 0 {
		o.Rate = 80_000
	}
	if o.Targets < 2 {
		o.Targets = 3
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Millisecond
	}
	return o
}

// shares of the rate, in percent. The first sender sends more than the others together.
var shares = []int{70, 20, 10}

// victim is the index of the target that is killed.
const victim = 1

// shutdownTimeout limits how long the targets wait at the end for connections that the pipeline
// did not close.
const shutdownTimeout = 3 * time.Second

// Demo shows a pipeline at work: senders on one side, targets on the other. It kills a target and
// restarts it, and in the end prints an account of every line. What happens goes to stdout, with
// a live progress line if that is a terminal. Demo ends by itself, or in an orderly way when ctx
// ends.
//
// It returns nil only if every line that was sent arrived whole and the pipeline's ledger agrees
// with that.
func Demo(ctx context.Context, stdout io.Writer, p Pipeline, o DemoOptions) error {
	d := newDemo(console.New(stdout), o.withDefaults())
	if err := d.listen(); err != nil {
		return err
	}
	running, done, err := d.start(ctx, p)
	if err != nil {
		d.stop()
		return err
	}
	d.introduce(running)

	problem := d.send(ctx, d.senders, running.Addr, done)
	d.drain(ctx.Err() != nil)
	end := <-done
	d.stop()

	report := d.tally.Report(d.sentBySender())
	d.con.Print(d.accountTable(end.ledger, report))
	return d.verdict(end.ledger, report, errors.Join(problem, end.err), ctx.Err() != nil)
}

// demo is one demonstration. It belongs to the goroutine that runs Demo:
//
//	sender ─┐                 ┌─▶ sink ─┐
//	sender ─┼─▶ the pipeline ─┼─▶ sink ─┼─▶ tally
//	sender ─┘                 └─▶ sink ─┘
//
// Senders, the pipeline, and each sink's accept loop and readers are goroutines of their own.
// They end in the direction in which lines flow: senders first, sinks last.
type demo struct {
	DemoOptions
	con     *console.Console
	tally   *tally.Tally
	senders []*sender
	sinks   []*sink.Sink

	endPipeline context.CancelFunc
	ledger      func() Ledger // valid while the pipeline runs; may be nil
	steps       []step        // steps that are still to come, in order
	down        bool          // the victim is down
}

// outcome is the result of a pipeline.
type outcome struct {
	ledger Ledger
	err    error
}

// step is tried when a part of the duration has passed, and again until try returns true.
type step struct {
	after time.Duration
	try   func() (done bool)
}

func newDemo(con *console.Console, o DemoOptions) *demo {
	d := &demo{DemoOptions: o, con: con, tally: tally.New(tally.Options{Strict: true})}
	d.addSenders()
	d.steps = []step{
		{o.Duration / 4, d.kill},
		{o.Duration / 3, d.reportResent},
		{o.Duration / 2, d.restart},
		{o.Duration / 2, d.awaitFailback},
	}
	return d
}

// addSenders adds a sender for each share of the rate, and returns these.
func (d *demo) addSenders() []*sender {
	before := len(d.senders)
	for _, share := range shares {
		d.senders = append(d.senders, &sender{id: len(d.senders) + 1, rate: max(1, d.Rate*share/100)})
	}
	return d.senders[before:]
}

func (d *demo) listen() error {
	for range d.Targets {
		s, err := sink.Start(sink.Options{Tally: d.tally})
		if err != nil {
			d.stop()
			return err
		}
		d.sinks = append(d.sinks, s)
	}
	return nil
}

// start runs the pipeline and waits until it accepts connections. The pipeline does not end with
// ctx, but when the senders have stopped, so that an interrupted demonstration also drains.
func (d *demo) start(ctx context.Context, p Pipeline) (Running, <-chan outcome, error) {
	pipeline, end := context.WithCancel(context.WithoutCancel(ctx))
	d.endPipeline = end
	ready := make(chan Running, 1)
	done := make(chan outcome, 1)
	go func() {
		ledger, err := p(pipeline, d.addresses(), func(r Running) { ready <- r })
		done <- outcome{ledger, err}
	}()

	select {
	case r := <-ready:
		d.ledger = r.Ledger
		return r, done, nil
	case o := <-done:
		end()
		return Running{}, nil, errors.Join(errors.New("the pipeline ended before it was ready"), o.err)
	case <-ctx.Done():
		end()
		<-done
		return Running{}, nil, ctx.Err()
	}
}

func (d *demo) addresses() (all []string) {
	for _, s := range d.sinks {
		all = append(all, s.Addr())
	}
	return all
}

func (d *demo) introduce(r Running) {
	d.con.Print(fmt.Sprintf("linesplit demo, all in one process: %d senders ─▶ %s ─▶ %d targets\n"+
		"One connection carries %d %% of the lines, yet the targets share them evenly.\n\n",
		len(d.senders), r.Addr, len(d.sinks), shares[0]))
	d.con.Say("sending %s log lines per second", humanize.Comma(int64(d.Rate)))
}

// send runs senders for the duration, or until ctx ends or something fails, and shows progress
// meanwhile. All senders have ended when it returns. done is nil if there is no pipeline to watch.
func (d *demo) send(ctx context.Context, all []*sender, addr string, done <-chan outcome) error {
	sending, stop := context.WithTimeout(ctx, d.Duration)
	defer stop()
	var senders sync.WaitGroup
	failed := make(chan error, len(all))
	for _, s := range all {
		senders.Go(func() {
			if err := s.run(sending, addr); err != nil {
				failed <- err
				stop()
			}
		})
	}
	d.watch(sending, done)
	stop()
	senders.Wait()
	close(failed)
	return <-failed // nil if no sender failed
}

// watch shows progress and takes the steps until ctx or the pipeline ends. It leaves the
// pipeline's outcome in done.
func (d *demo) watch(ctx context.Context, done <-chan outcome) {
	tick := time.NewTicker(min(console.LiveInterval/4, d.Duration/20))
	defer tick.Stop()
	begin := time.Now()
	meter := newMeter(begin, d.readCounts())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(done) > 0 { // the pipeline ended by itself, and senders would only wait for it
			return
		}
		for len(d.steps) > 0 && time.Since(begin) >= d.steps[0].after && d.steps[0].try() {
			d.steps = d.steps[1:]
		}
		if d.con.Due() {
			d.con.Progress(meter.line(time.Now(), d.readCounts(), d.down))
		}
	}
}

func (d *demo) kill() bool {
	unread := d.sinks[victim].Crash(d.Stall)
	d.down = true
	what := "its connections are reset"
	if unread > 0 {
		what += fmt.Sprintf(", with %s unread", humanize.Bytes(uint64(unread)))
	}
	d.con.Say("killed target %d: %s", victim+1, what)
	return true
}

// reportResent shows how many lines the pipeline resent after the kill.
func (d *demo) reportResent() bool {
	if d.ledger == nil {
		return true
	}
	if resent := d.ledger().Resent; resent.Lines > 0 {
		d.con.Say("linesplit resent %s %s that target %d may not have read",
			humanize.Comma(int64(resent.Lines)), english.PluralWord(int(resent.Lines), "line", ""), victim+1)
	}
	return true
}

// restart listens on the old port again. It fails while another program holds the port, which the
// kernel may have given to an outgoing connection.
func (d *demo) restart() bool {
	if err := d.sinks[victim].Restart(); err != nil {
		return false
	}
	d.down = false
	d.con.Say("target %d is back, on the same port", victim+1)
	return true
}

// awaitFailback waits until the victim has connections again.
func (d *demo) awaitFailback() bool {
	if d.sinks[victim].Open() == 0 {
		return false
	}
	d.con.Say("linesplit fails back: target %d has connections again", victim+1)
	return true
}

// drain tells the pipeline that the senders have ended.
func (d *demo) drain(interrupted bool) {
	why := ""
	if interrupted {
		why = "interrupted: "
	}
	d.con.Say("%ssenders have stopped and closed; linesplit drains", why)
	d.endPipeline()
}

func (d *demo) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	for _, s := range d.sinks {
		s.Shutdown(ctx) // lines of connections that it cuts off are missing from the account
	}
}

// readCounts returns what the application of each target has read.
func (d *demo) readCounts() (all []linebuf.Count) {
	for _, s := range d.sinks {
		all = append(all, linebuf.Count{Lines: s.Lines(), Bytes: s.Bytes()})
	}
	return all
}
