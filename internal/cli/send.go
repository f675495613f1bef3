package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/send"
)

func sendCommand() command {
	return command{
		name:    "send",
		summary: "Play the clients of a proxy, and count what they sent",
		text: `linesplit send plays the clients of a proxy or a receiver: they connect and send lines. At the end
it prints an account of what they sent, as JSON. Lines are numbered records with the time and a
checksum, which linesplit sink -verify recognizes.

Usage:
  linesplit send -to ADDRESS [flags]

Without -lines and -duration it sends until SIGINT or SIGTERM. Exit code 0: everything asked for was
sent; 1: clients failed; 2: a flag is wrong; 3: an address is not reachable at the start, or the
file cannot be opened.

Kinds of clients:
  stream           a log shipper: sends lines as fast as -rate allows
  request          sends a line, waits for a line that acknowledges it, and so on: to a receiver
                   such as linesplit sink -request, or through connection mode; line mode returns
                   nothing
  fire-and-forget  sends one line and disconnects
  idle             connects, sends nothing, and holds the connection to the end
  slow             sends lines a byte at a time
`,
		options: sendOptions(),
		examples: `
Examples:
  linesplit send -to 127.0.0.1:9000 -lines 1000000 > sent.json
  linesplit send -to 127.0.0.1:9000 -connections 100 -rate 50 -line-length 100-64KiB -duration 1m
  linesplit send -to tls://logs.example.com:6514 -file zeek.log -repeat 10
  linesplit send -to 127.0.0.1:9999 -mix stream=15,request=50,idle=5 -clients-per-second 20 \
    -lines 100 -duration 1m
`,
		run: runSend,
	}
}

func runSend(ctx context.Context, in invocation) int {
	o, err := parseSend(in.command, in.args)
	if err != nil {
		return in.explain(err)
	}
	if o.file != "" {
		input, err := openInput(o.file)
		if err != nil {
			return in.fail(exitCannotRun, err)
		}
		defer input.Close()
		o.Input = input
	}
	ctx, stop := untilInterrupted(ctx)
	defer stop()

	con := console.New(in.stderr)
	summary, err := send.Run(ctx, o.Options, func(p send.Progress) { showSending(con, p) })
	con.Clear()
	switch {
	case errors.Is(err, send.ErrUnreachable) && ctx.Err() != nil:
		return in.fail(exitFailed, errors.New("interrupted before anything was sent"))
	case errors.Is(err, send.ErrUnreachable):
		return in.fail(exitCannotRun, err)
	}
	con.Print(sendText(summary))
	err = errors.Join(err, json.NewEncoder(in.stdout).Encode(summary))
	if n := summary.Failed(); n > 0 {
		err = errors.Join(err, fmt.Errorf("clients failed: %d", n))
	}
	if err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

func openInput(file string) (*os.File, error) {
	if file == "-" {
		return os.Stdin, nil
	}
	return os.Open(file)
}

// sendBarWidth is the width of the progress bar, in characters.
const sendBarWidth = 20

// showSending shows the progress of a run, on a terminal only.
func showSending(con *console.Console, p send.Progress) {
	if !con.Live() || !con.Due() {
		return
	}
	text := fmt.Sprintf("%s  %s/s  %d open",
		counted(p.Lines, "line"), perSecond(p.Bytes, p.Elapsed.Seconds()), p.Open)
	if p.Done >= 0 {
		text = fmt.Sprintf("%s %3.0f %%  ", console.Bar(p.Done, sendBarWidth), 100*p.Done) + text
	}
	if p.Failed > 0 {
		text += fmt.Sprintf("  %d failed", p.Failed)
	}
	if p.Lost > 0 {
		text += "  " + counted(p.Lost, "connection") + " lost"
	}
	con.Progress(text)
}

func perSecond(bytes uint64, seconds float64) string {
	return humanize.Bytes(uint64(float64(bytes) / max(seconds, 1e-3)))
}

// counted returns a number of things, such as "1 line" or "2,000 lines".
func counted(n uint64, thing string) string {
	return humanize.Comma(int64(n)) + " " + english.PluralWord(int(n), thing, "")
}

// seconds converts a number of seconds for printing.
func seconds(n float64) time.Duration {
	return time.Duration(n * float64(time.Second)).Round(time.Microsecond)
}

// sendText formats a summary for people.
func sendText(s send.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %s, %s, in %.1f s: %s lines/s, %s/s\n",
		counted(s.Lines, "line"), humanize.Bytes(s.Bytes), s.Seconds,
		humanize.Comma(int64(float64(s.Lines)/max(s.Seconds, 1e-3))), perSecond(s.Bytes, s.Seconds))
	for _, kind := range send.Kinds() {
		if c := s.Clients[kind]; c != nil {
			fmt.Fprintf(&b, "  %-16s %s, %d well%s%s\n", kind, counted(c.Started, "client"), c.Succeeded,
				sendReasons("failed", c.Reasons), sendReasons("connections lost and made again", c.Lost))
		}
	}
	if r := s.Requests; r != nil {
		fmt.Fprintf(&b, "  %s answered: p50 %v, p90 %v, p99 %v, p99.9 %v, max %v\n",
			counted(r.Count, "request"), seconds(r.P50), seconds(r.P90), seconds(r.P99), seconds(r.P999), seconds(r.Max))
	}
	if s.InDoubt > 0 {
		fmt.Fprintf(&b, "  not acknowledged when the connection ended: up to %s\n", counted(s.InDoubt, "line"))
	}
	return b.String()
}

func sendReasons(what string, counts map[string]uint64) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[why], why))
	}
	if parts == nil {
		return ""
	}
	return "; " + what + ": " + strings.Join(parts, ", ")
}
