package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
	"linesplit/linebuf"
)

// ErrNotDelivered is what Demo returns, wrapped with the numbers, where a line was lost or torn or the pipeline's
// ledger does not agree with what the targets saw.
var ErrNotDelivered = errors.New("not every line arrived as it was sent")

// DemoOptions say how long the demonstration takes and how much it sends. The zero value is the one to show.
type DemoOptions struct {
	Duration time.Duration // how long senders write; the target dies after a quarter of it and is back after half. 13 s if 0
	Rate     int           // lines per second, all senders together. 80,000 if 0
	Targets  int           // at least 2. 3 if 0
	Stall    time.Duration // how long the target that dies has not read by then. 30 ms if 0
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

// shares of the rate, in percent: the first sender alone outweighs the others.
var shares = []int{70, 20, 10}

// victim is the target that is killed.
const victim = 1

// patience is how long the targets wait at the end for connections that the pipeline did not close.
const patience = 3 * time.Second

// Demo shows a pipeline at work: senders on one side, targets on the other, a target killed and restarted on the way, and in the
// end an account of every line. It tells its story on stdout: with a live progress line if that is a terminal. It ends by
// itself, or in order when ctx ends.
//
// It returns nil only if every line that was sent arrived whole, and the pipeline's ledger agrees with that.
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

	problem := d.send(ctx, running, done)
	d.drain(ctx.Err() != nil)
	end := <-done
	d.stop()

	report := d.tally.Report(d.sentBySender())
	d.con.Print(d.account(end.ledger, report))
	return d.verdict(end.ledger, report, errors.Join(problem, end.err), ctx.Err() != nil)
}

// demo is one demonstration. It belongs to the goroutine that runs Demo:
//
//	sender ─┐                 ┌─▶ sink ─┐
//	sender ─┼─▶ the pipeline ─┼─▶ sink ─┼─▶ tally
//	sender ─┘                 └─▶ sink ─┘
//
// Senders, the pipeline and each sink's accept loop and readers are goroutines of their own. They end in the order in which
// the lines go.
type demo struct {
	DemoOptions
	con     *console.Console
	tally   *tally.Tally
	senders []*sender
	sinks   []*sink.Sink

	endPipeline context.CancelFunc
	ledger      func() Ledger // while the pipeline runs; may be nil
	steps       []step        // what is still to happen, in order
	down        bool          // the victim is dead
}

// outcome is what a pipeline left behind.
type outcome struct {
	ledger Ledger
	err    error
}

// step is something that happens after a fraction of the duration. It is tried again until it says that it is done.
type step struct {
	after time.Duration
	try   func() (done bool)
}

func newDemo(con *console.Console, o DemoOptions) *demo {
	d := &demo{DemoOptions: o, con: con, tally: tally.New(tally.Options{Strict: true})}
	for i, share := range shares {
		d.senders = append(d.senders, &sender{id: i + 1, rate: max(1, o.Rate*share/100)})
	}
	d.steps = []step{
		{o.Duration / 4, d.kill},
		{o.Duration / 3, d.tellResent},
		{o.Duration / 2, d.restart},
		{o.Duration / 2, d.welcome},
	}
	return d
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

// start runs the pipeline and waits until it can take connections. The pipeline does not end with ctx but when the senders
// have stopped, so that an interrupted demonstration ends in order, too.
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
		return Running{}, nil, errors.Join(errors.New("the pipeline ended before it began"), o.err)
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
	d.con.Print(fmt.Sprintf("linesplit demo, all in this process: %d senders ─▶ %s ─▶ %d targets\n"+
		"One connection carries %d %% of the lines; the targets share them all the same.\n\n",
		len(d.senders), r.Addr, len(d.sinks), shares[0]))
	d.con.Say("sending %s log lines per second", humanize.Comma(int64(d.Rate)))
}

// send lets the senders write for the duration, or until ctx ends or something fails, and tells what happens meanwhile. All
// senders have ended when it returns.
func (d *demo) send(ctx context.Context, r Running, done <-chan outcome) error {
	sending, stop := context.WithTimeout(ctx, d.Duration)
	defer stop()
	var senders sync.WaitGroup
	failed := make(chan error, len(d.senders))
	for _, s := range d.senders {
		senders.Go(func() {
			if err := s.run(sending, r.Addr); err != nil {
				failed <- err
				stop()
			}
		})
	}
	d.watch(sending, done)
	stop()
	senders.Wait()
	close(failed)
	return <-failed // nil if none did
}

// watch shows progress and takes the steps until ctx or the pipeline ends. It leaves the pipeline's outcome in done.
func (d *demo) watch(ctx context.Context, done <-chan outcome) {
	tick := time.NewTicker(min(console.LiveInterval/4, d.Duration/20))
	defer tick.Stop()
	begin := time.Now()
	meter := newMeter(begin, len(d.sinks))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(done) > 0 { // it ended by itself: senders would only wait for it
			return
		}
		for len(d.steps) > 0 && time.Since(begin) >= d.steps[0].after && d.steps[0].try() {
			d.steps = d.steps[1:]
		}
		if d.con.Due() {
			d.con.Progress(meter.line(time.Now(), d.read(), d.down))
		}
	}
}

func (d *demo) kill() bool {
	unread := d.sinks[victim].Crash(d.Stall)
	d.down = true
	what := "its connections are reset"
	if unread > 0 {
		what += fmt.Sprintf(", %s in them unread", humanize.Bytes(uint64(unread)))
	}
	d.con.Say("killed target %d: %s", victim+1, what)
	return true
}

// tellResent says what the pipeline made of that.
func (d *demo) tellResent() bool {
	if d.ledger == nil {
		return true
	}
	if resent := d.ledger().Resent; resent.Lines > 0 {
		d.con.Say("linesplit sent %s lines again that target %d may not have read",
			humanize.Comma(int64(resent.Lines)), victim+1)
	}
	return true
}

// restart takes the old port again. Another program may hold it for a while: the kernel hands out such ports to whoever asks.
func (d *demo) restart() bool {
	if err := d.sinks[victim].Restart(); err != nil {
		return false
	}
	d.down = false
	d.con.Say("target %d is back, on the same port", victim+1)
	return true
}

// welcome waits for the victim's connections.
func (d *demo) welcome() bool {
	if d.sinks[victim].Open() == 0 {
		return false
	}
	d.con.Say("connections go home to target %d", victim+1)
	return true
}

// drain tells the pipeline that this was all.
func (d *demo) drain(interrupted bool) {
	why := ""
	if interrupted {
		why = "interrupted: "
	}
	d.con.Say("%ssenders have stopped and closed, linesplit drains", why)
	d.endPipeline()
}

func (d *demo) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range d.sinks {
		s.Shutdown(ctx) // what it cuts off is missing in the account
	}
}

// read returns what each target's application has read.
func (d *demo) read() (all []linebuf.Count) {
	for _, s := range d.sinks {
		all = append(all, linebuf.Count{Lines: s.Lines(), Bytes: s.Bytes()})
	}
	return all
}
