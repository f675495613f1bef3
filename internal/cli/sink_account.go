package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

// sinkAccount is printed when the command ends.
type sinkAccount struct {
	Seconds float64       `json:"seconds"` // from the start
	Lines   uint64        `json:"lines"`   // of all sinks
	Bytes   uint64        `json:"bytes"`   // of all sinks
	Sinks   []sink.Status `json:"sinks"`
	InDoubt uint64        `json:"in_doubt"` // lines sent that may not have reached a receiver, as their senders report
	Report  *tally.Report `json:"report,omitempty"`
}

// account returns what has come. The error means that the sent lines are not known; the account is
// valid all the same.
func (r *sinkRun) account() (sinkAccount, error) {
	sums := r.sums()
	a := sinkAccount{Seconds: float64(time.Since(r.start).Microseconds()) / 1e6, Lines: sums.lines, Bytes: sums.bytes}
	for _, s := range r.all {
		a.Sinks = append(a.Sinks, s.Status())
	}
	if r.tally == nil {
		return a, nil
	}
	sent, err := readExpected(r.expect)
	report := r.tally.Report(sent.Senders)
	a.Report, a.InDoubt = &report, sent.InDoubt
	return a, err
}

// sentSummary is the part of linesplit send's output that an account needs.
type sentSummary struct {
	Numbered bool              `json:"numbered"`
	InDoubt  uint64            `json:"in_doubt"`
	Senders  map[uint32]uint64 `json:"senders"` // nil: not known
}

// readExpected reads the output of any number of runs of linesplit send, and adds it up.
func readExpected(files []string) (all sentSummary, err error) {
	for _, file := range files {
		one, err := readSummary(file)
		if err != nil {
			return sentSummary{}, fmt.Errorf("what was sent, from %s: %w", file, err)
		}
		if all.Senders == nil {
			all.Senders = make(map[uint32]uint64)
		}
		for id, n := range one.Senders {
			if _, twice := all.Senders[id]; twice {
				return sentSummary{}, fmt.Errorf("what was sent, from %s: sender %d is in another file, too: "+
					"give linesplit send another -first-sender", file, id)
			}
			all.Senders[id] = n
		}
		all.InDoubt += one.InDoubt
	}
	return all, nil
}

func readSummary(file string) (one sentSummary, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return sentSummary{}, err
	}
	if err := json.Unmarshal(data, &one); err != nil {
		return sentSummary{}, fmt.Errorf("not the output of linesplit send: %w", err)
	}
	if one.Senders == nil {
		return sentSummary{}, errors.New("not the output of linesplit send: no senders")
	}
	if !one.Numbered {
		return sentSummary{}, errors.New("its lines were not numbered, so they cannot be recognized")
	}
	return one, nil
}

// print writes the account to standard output, or to standard error if standard output gets the
// lines.
func (r *sinkRun) print(a sinkAccount, in invocation) error {
	w := in.stdout
	if r.output == "-" {
		w = in.stderr
	}
	if r.json {
		return json.NewEncoder(w).Encode(a)
	}
	_, err := io.WriteString(w, sinkText(a))
	return err
}

// sinkText formats an account for people.
func sinkText(a sinkAccount) string {
	var b strings.Builder
	fmt.Fprintf(&b, "read %s, %s, in %.1f s\n", counted(a.Lines, "line"), humanize.Bytes(a.Bytes), a.Seconds)
	for _, s := range a.Sinks {
		fmt.Fprintf(&b, "  %s: %s, %s; connections: %s\n",
			s.Target, counted(s.Lines, "line"), humanize.Bytes(s.Bytes), listAmounts(
				amount{s.Accepted, "accepted"}, amount{s.Refused, "refused"}, amount{s.Dropped, "dropped by chaos"},
				amount{s.Reset, "reset with data unread"}, amount{s.Idle, "closed when idle"},
				amount{s.Handshakes, "without a TLS handshake"}, amount{s.Broken, "broken off"}))
	}
	if a.Report == nil {
		return b.String()
	}
	return b.String() + sinkReportText(*a.Report, a.InDoubt)
}

// sinkReportText formats the result of the verification.
func sinkReportText(r tally.Report, inDoubt uint64) string {
	var b strings.Builder
	row := func(name string, n uint64, note string) {
		line := fmt.Sprintf("  %-14s %13s   %s", name, humanize.Comma(int64(n)), note)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	sent, lost := "by "+counted(uint64(len(r.Senders)), "sender"), ""
	if !r.SentKnown {
		sent = "going by the last line of each sender that came"
		lost = "lines missing at the end cannot be known without -expect"
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
		fmt.Fprintf(&b, "  latency: p50 %v, p90 %v, p99 %v, p99.9 %v, max %v\n",
			seconds(l.P50), seconds(l.P90), seconds(l.P99), seconds(l.P999), seconds(l.Max))
		if l.Early > 0 {
			fmt.Fprintf(&b, "  came before they were sent: %s; the clocks differ\n", counted(l.Early, "line"))
		}
	}
	b.WriteString(sinkFaultsText(r))
	return b.String()
}

// maxSendersShown limits the senders with faults that sinkText lists; -json has all of them.
const maxSendersShown = 10

// sinkFaultsText lists the senders whose lines are missing, and some lines that were altered.
func sinkFaultsText(r tally.Report) string {
	var b strings.Builder
	shown := 0
	for _, s := range r.Senders {
		if s.Lost == 0 && s.NeverSent == 0 {
			continue
		}
		if shown++; shown > maxSendersShown {
			b.WriteString("  and more senders\n")
			break
		}
		fmt.Fprintf(&b, "  sender %d: %s", s.ID, listAmounts(amount{s.Lost, "lost"}, amount{s.NeverSent, "never sent"}))
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

// amount is a number of things.
type amount struct {
	n    uint64
	what string
}

// listAmounts lists the amounts that are not 0.
func listAmounts(amounts ...amount) string {
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
