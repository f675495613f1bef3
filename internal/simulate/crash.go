package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
	"linesplit/linebuf"
)

// Program is linesplit as a process of its own with a spool, which can be killed and started again.
// internal/cli passes the real one. Its methods belong to one goroutine.
type Program interface {
	// Start starts the process with these targets ("host:port", TCP), and with the spool that the
	// process before has left. It returns the address for senders, the same each time, once they
	// can connect.
	Start(ctx context.Context, targets []string) (addr string, err error)
	// Ledger returns the account of the process since its start.
	Ledger() (Ledger, error)
	// Kill ends the process as a crash does, and waits until it has ended. Without a process it
	// does nothing.
	Kill()
	// Stop ends the process by SIGTERM, and waits until it has ended.
	Stop() error
}

const (
	// awaitLimit is how long linesplit may take to count the lines that senders have sent, or to
	// deliver the rest at the end.
	awaitLimit = 20 * time.Second
	// quiet is the time without a new line after which no more will arrive.
	quiet     = 3 * time.Second
	awaitPoll = 10 * time.Millisecond
)

// CrashDemo shows that lines survive the death of linesplit: it kills the program between two
// halves of the duration, while all targets hang, and starts it again. Otherwise it is like Demo.
//
// It returns nil only if every line that was sent arrived whole.
func CrashDemo(ctx context.Context, stdout io.Writer, p Program, o DemoOptions) error {
	o = o.withDefaults()
	o.Duration /= 2
	d := &crashDemo{program: p, demo: demo{DemoOptions: o, con: console.New(stdout),
		tally: tally.New(tally.Options{Strict: true})}}
	if err := d.listen(); err != nil {
		return err
	}
	problem := d.run(ctx)
	p.Kill() // if run has failed
	d.each((*sink.Sink).Resume)
	d.stop()
	report := d.tally.Report(d.sentBySender())
	if len(d.senders) > 0 {
		d.con.Print(d.accountTable(report))
	}
	return d.verdict(report, problem, ctx.Err() != nil)
}

// crashDemo is one demonstration. It belongs to the goroutine that runs CrashDemo.
type crashDemo struct {
	demo
	program Program
	crashed bool   // the program was killed
	before  Ledger // its account when it was killed
	after   Ledger // its account at the end, since its last start
	cutOff  uint64 // connections to targets that the kill has ended, perhaps in the middle of a line
}

func (d *crashDemo) introduce(addr string) {
	d.con.Print(fmt.Sprintf("linesplit demo -spool: %d senders ─▶ %s ─▶ %d targets\n"+
		"linesplit is a process with -spool-mode always. It is killed on the way.\n\n",
		len(shares), addr, len(d.sinks)))
	d.con.Say("sending %s log lines per second", humanize.Comma(int64(d.Rate)))
}

// run starts linesplit and runs both halves. It returns the first error of a sender or of
// linesplit. All senders have ended then, and unless there was an error, linesplit too.
func (d *crashDemo) run(ctx context.Context) error {
	addr, err := d.program.Start(ctx, d.addresses())
	if err != nil {
		return fmt.Errorf("start linesplit: %w", err)
	}
	d.introduce(addr)
	d.steps = []step{{d.Duration * 3 / 4, d.hang}}
	if err := d.send(ctx, d.addSenders(), addr, nil); err != nil {
		return err
	}
	if ctx.Err() == nil {
		if err := d.crash(ctx, addr); err != nil {
			return err
		}
		d.steps = nil
		if err := d.send(ctx, d.addSenders(), addr, nil); err != nil {
			return err
		}
	}
	return d.finish(ctx.Err() != nil)
}

// hang makes all targets stop reading, so that linesplit has lines inside when it is killed.
func (d *crashDemo) hang() bool {
	d.each((*sink.Sink).Pause)
	d.con.Say("all targets hang: lines wait in linesplit")
	return true
}

// crash kills linesplit once it has counted all lines that were sent, and starts it again. An
// interrupt does not keep it from that, since the lines that wait have to be delivered.
func (d *crashDemo) crash(ctx context.Context, addr string) error {
	d.con.Say("senders pause, until linesplit has read and spooled each of their lines")
	err := await(func() (done bool, err error) {
		d.before, err = d.program.Ledger()
		return min(d.before.Received.Lines, d.before.Spooled.Lines) >= d.sent().Lines, err
	})
	if err != nil {
		return fmt.Errorf("wait until linesplit has %d lines in its spool: %w", d.sent().Lines, err)
	}
	for _, s := range d.sinks {
		d.cutOff += uint64(s.Open())
	}
	d.program.Kill()
	d.crashed = true
	d.con.Say("killed linesplit (SIGKILL), with %s lines not confirmed",
		humanize.Comma(int64(d.unconfirmed().Lines)))
	d.each((*sink.Sink).Resume)
	again, err := d.program.Start(context.WithoutCancel(ctx), d.addresses())
	if err == nil && again != addr {
		err = fmt.Errorf("it listens on %s, no longer on %s", again, addr)
	}
	if err != nil {
		return fmt.Errorf("start linesplit again: %w", err)
	}
	d.con.Say("started linesplit again: targets read, senders connect and go on")
	return nil
}

// unconfirmed returns what no target had confirmed when linesplit was killed.
func (d *crashDemo) unconfirmed() linebuf.Count {
	n := d.before.Received
	n.Sub(d.before.Confirmed)
	n.Sub(d.before.Dropped)
	return n
}

// finish waits until all lines have arrived and are confirmed, and ends linesplit, which would
// otherwise leave the rest in its spool.
func (d *crashDemo) finish(interrupted bool) error {
	why := ""
	if interrupted {
		why = "interrupted: "
	}
	d.con.Say("%ssenders have stopped and closed; linesplit delivers the rest", why)
	d.each((*sink.Sink).Resume)
	read, since := d.tally.Received(), time.Now()
	err := await(func() (done bool, err error) {
		if now := d.tally.Received(); now != read {
			read, since = now, time.Now()
		}
		d.after, err = d.program.Ledger()
		confirmed := d.after.Retained.Lines+d.after.Queued.Lines == 0
		return d.allRead() && confirmed || time.Since(since) > quiet, err
	})
	if err != nil {
		return fmt.Errorf("wait until all lines are confirmed: %w", err)
	}
	if err := d.program.Stop(); err != nil {
		return fmt.Errorf("stop linesplit: %w", err)
	}
	return nil
}

// await polls until done returns true or an error.
func await(done func() (bool, error)) error {
	for end := time.Now().Add(awaitLimit); ; time.Sleep(awaitPoll) {
		switch ok, err := done(); {
		case ok || err != nil:
			return err
		case time.Now().After(end):
			return fmt.Errorf("not within %v", awaitLimit)
		}
	}
}

// allRead reports whether the targets have read every line that was sent.
func (d *crashDemo) allRead() bool {
	for id, n := range d.sentBySender() {
		if d.tally.Missing(id, n) > 0 {
			return false
		}
	}
	return true
}

func (d *crashDemo) each(do func(*sink.Sink)) {
	for _, s := range d.sinks {
		do(s)
	}
}

// accountTable returns a table of what was sent, what linesplit had counted before and after the
// kill, and what the targets read.
func (d *crashDemo) accountTable(r tally.Report) string {
	var t accountText
	t.row("sent", d.sent(), "by the senders")
	if d.crashed {
		t.row("received", d.before.Received, "by linesplit until killed")
		t.row("", d.after.Received, "and after that")
		t.row("in the spool", d.unconfirmed(), "unconfirmed at the kill")
	} else {
		t.row("received", d.after.Received, "by linesplit")
	}
	t.row("arrived", linebuf.Count{Lines: r.Received, Bytes: r.Bytes}, "whole, at the targets")
	t.row("  duplicates", linebuf.Count{Lines: r.Duplicated, Bytes: r.DuplicatedBytes}, "sent again after the kill")
	if d.crashed {
		t.lines("cut off", min(r.Torn, d.cutOff), "by the kill; resent whole")
	}
	t.lines("torn", r.Corrupt+r.Torn-min(r.Torn, d.cutOff), "")
	t.lines("lost", r.Lost, "")
	return t.String()
}

// pausedWhy is the last text of the demonstration.
const pausedWhy = `
The senders paused before the kill until linesplit had read each of their lines
and written it to its spool. Without that pause, lines that kernels had taken
and linesplit had not read would be lost, at the end of each connection: no
sender over plain TCP can know which these are. What linesplit has read and
written survives.
`

// verdict prints a few lines if all is well, and returns an error otherwise.
func (d *crashDemo) verdict(r tally.Report, problem error, interrupted bool) error {
	if err := errors.Join(d.faults(r), problem); err != nil {
		return err
	}
	when := ""
	if interrupted {
		when = "interrupted: "
	}
	d.con.Print(fmt.Sprintf("%sall %s lines arrived whole: 0 lost, 0 torn, %s duplicated.\n", when,
		humanize.Comma(int64(d.sent().Lines)), humanize.Comma(int64(r.Duplicated))))
	if d.crashed {
		d.con.Print(pausedWhy)
	}
	return nil
}

// faults returns an error that lists all faults, or nil.
func (d *crashDemo) faults(r tally.Report) error {
	sent, received := d.sent(), d.before.Received
	received.Add(d.after.Received)
	torn := r.Corrupt + r.Torn - min(r.Torn, d.cutOff)
	// Lines that were confirmed just before the kill may come again too: the spool may not know
	// yet.
	again := d.before.Received.Lines + d.before.Resent.Lines + d.after.Resent.Lines
	var wrong faultList
	wrong.note(r.Lost > 0, "%d of %d lines lost", r.Lost, sent.Lines)
	wrong.note(torn > 0, "%d torn", torn)
	wrong.note(r.NeverSent > 0, "%d never sent", r.NeverSent)
	wrong.note(r.Duplicated > again, "%d duplicated, but only %d were received before the kill, or resent", r.Duplicated, again)
	wrong.note(sent != received, "%d lines (%d bytes) sent, but %d (%d) received", sent.Lines, sent.Bytes,
		received.Lines, received.Bytes)
	return wrong.err()
}
