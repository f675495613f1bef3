package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
	"linesplit/target"
	"linesplit/tlsconf"
)

const (
	groupClients = "Who sends"
	groupLines   = "What they send"
	groupLost    = "Where it does not go well"
)

// sendCommand is the command of that name.
func sendCommand() tool {
	return tool{
		name: "send",
		head: `linesplit send plays the clients of a proxy or a receiver: they connect, send lines, and the account of what they sent is printed as
JSON at the end. Lines are numbered records, with the time and a checksum, that linesplit sink -verify knows again.

Usage:
  linesplit send -to ADDRESS [flags]

Without -lines and -duration it sends until SIGINT or SIGTERM. Exit code 0: all that was asked for was sent; 1: clients failed; 2: a flag
is wrong; 3: an address is not reachable at the start, or the file cannot be opened.

Kinds of clients:
  stream           a log shipper: lines as fast as it is told
  request          sends a line, waits for a line that acknowledges it, and so on: of a receiver such as linesplit sink -request,
                   or through connection mode; in line mode nothing comes back
  fire-and-forget  sends one line and is gone
  idle             connects, sends nothing, and holds the connection to the end
  slow             sends lines a byte at a time
`,
		options: []option{
			{"to", "ADDRESS", "", groupTargets, anyMode, "where clients connect; repeatable or comma separated, they take them in turn: HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, " +
				"unix:///PATH, unix://@NAME"},

			{"mix", "KINDS", "stream=1", groupClients, anyMode, "kinds of clients and their weights: stream=15,request=50"},
			{"connections", "N", "", groupClients, anyMode, "clients at one time, 1 if not given; with -clients-per-second the most there may be, then 1000"},
			{"clients-per-second", "RATE", "", groupClients, anyMode, "clients arrive at this rate, in place of all at once"},
			{"clients", "N", "", groupClients, anyMode, "clients in all: one that has ended makes room for another. Without it there is no limit, but with neither -duration nor " +
				"-clients-per-second it is that of -connections"},
			{"duration", "DURATION", "", groupClients, anyMode, "end after this, and have clients replaced that end before"},

			{"lines", "N", "", groupLines, anyMode, "lines of each stream, request and slow client"},
			{"rate", "RATE", "", groupLines, anyMode, "lines per second of each stream and request client; as fast as they can if not given"},
			{"line-length", "SIZE", "", groupLines, anyMode, "bytes of a line, or a range: 600, 100-64KiB; as logs have them if not given"},
			{"slow-pause", "DURATION", "10ms", groupLines, anyMode, "between two bytes of a slow client"},
			{"first-sender", "N", "0", groupLines, anyMode, "the sender that the first client's records name, the next one's the number above: two runs at one sink need different ones"},
			{"file", "FILE", "", groupLines, anyMode, "send the lines of this file, - for standard input, in place of numbered records; clients share them"},
			{"repeat", "N", "1", groupLines, anyMode, "send the file this often; 0: without end. What cannot be read again must fit into 64MiB"},

			{"reconnect", "", "", groupLost, anyMode, "a client that loses its connection connects again and goes on, which counts as no failure"},
			{"dial-timeout", "DURATION", "5s", groupLost, anyMode, "give up one attempt to connect after this"},
			{"request-timeout", "DURATION", "5s", groupLost, anyMode, "a request that is not acknowledged by then has failed"},
			{"grace", "DURATION", "5s", groupLost, anyMode, "at the end, a peer that takes nothing for this long has failed"},

			{"tls-ca", "FILE", "", groupTLS, anyMode, "authorities to trust instead of the system's"},
			{"tls-cert", "FILE", "", groupTLS, anyMode, "certificate to show, PEM"},
			{"tls-key", "FILE", "", groupTLS, anyMode, "its key, PEM"},
			{"tls-server-name", "NAME", "", groupTLS, anyMode, "name that certificates must have, in place of the address's host"},
			{"tls-min-version", "VERSION", "1.2", groupTLS, anyMode, "1.2 or 1.3"},
			{"tls-skip-verify", "", "", groupTLS, anyMode, "trust any certificate (unsafe)"},
		},
		examples: `
Examples:
  linesplit send -to 127.0.0.1:9000 -lines 1000000 > sent.json
  linesplit send -to 127.0.0.1:9000 -connections 100 -rate 50 -line-length 100-64KiB -duration 1m
  linesplit send -to tls://logs.example.com:6514 -file zeek.log -repeat 10
  linesplit send -to 127.0.0.1:9999 -mix stream=15,request=50,idle=5 -clients-per-second 20 -lines 100 -duration 1m
`,
	}
}

// sendSettings are what the flags say.
type sendSettings struct {
	send.Options        // without Input
	file         string // empty: numbered records; -: standard input
}

// parseSend returns flag.ErrHelp or all that is wrong.
func parseSend(t tool, args []string) (sendSettings, error) {
	s, err := t.read(args)
	if err != nil {
		return sendSettings{}, err
	}
	o := sendSettings{
		Options: send.Options{
			Mix:              parsed(s, "mix", send.ParseMix),
			Connections:      s.count("connections", 1<<20),
			ClientsPerSecond: parsed(s, "clients-per-second", parsePerSecond),
			Clients:          s.count("clients", 1<<30),
			Duration:         parsed(s, "duration", parseLimit),
			Lines:            uint64(s.count("lines", 1<<40)),
			Rate:             parsed(s, "rate", parsePerSecond),
			Length:           parsed(s, "line-length", record.ParseLength),
			Pause:            s.duration("slow-pause"),
			FirstSender:      uint32(s.number("first-sender", 0, 1<<31-1)),
			Repeat:           cmp.Or(s.number("repeat", 0, 1<<30), -1),
			Reconnect:        s.bool("reconnect"),
			DialTimeout:      s.duration("dial-timeout"),
			Timeout:          s.duration("request-timeout"),
			Grace:            s.duration("grace"),
		},
		file: s.text("file"),
	}
	s.checkFile()
	o.To = s.dials()
	if err := o.Check(); err != nil && len(s.errs) == 0 {
		s.failFlat("these flags do not go together", err)
	}
	return o, s.fault()
}

// count reads a number from 1 on that may be left out.
func (s *settings) count(name string, high int) int {
	if s.text(name) == "" && !s.byName[name].explicit() {
		return 0
	}
	return s.number(name, 1, high)
}

// parseLimit reads a duration that may be left out.
func parseLimit(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return parseDuration(text)
}

// mostPerSecond is more than anybody can do.
const mostPerSecond = 1e9

// parsePerSecond reads a rate that may be left out.
func parsePerSecond(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0.001 && n <= mostPerSecond) {
		return 0, errors.New("write a number per second from 0.001 to 1000000000, such as 0.5 or 50000")
	}
	return n, nil
}

func (s *settings) checkFile() {
	file := s.text("file")
	if file == "" && s.byName["repeat"].explicit() {
		s.fail("repeat", errors.New("of use only with -file"))
	}
	if file != "" && s.text("line-length") != "" {
		s.fail("line-length", errors.New("the lines of -file have the length they have: leave out either"))
	}
	if file == "" || file == "-" {
		return
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		s.fail("file", errors.New("a directory"))
	}
}

// dials reads -to with what TLS takes.
func (s *settings) dials() []send.Dial {
	var dials []send.Dial
	for _, entry := range s.list("to") {
		d, err := parseDial(entry)
		if err != nil {
			s.failEntry("to", entry, err)
			continue
		}
		dials = append(dials, d)
	}
	if len(dials) == 0 && s.ok("to") {
		s.fail("to", errors.New("nowhere to send to: write 127.0.0.1:9000, for example"))
	}
	if config := s.sendTLS(dials); config != nil {
		for i := range dials {
			if dials[i].TLS != nil {
				dials[i].TLS = config
			}
		}
	}
	return dials
}

// parseDial reads one address. Its TLS is empty where it speaks that.
func parseDial(entry string) (send.Dial, error) {
	a, err := target.ParseAddress(entry, false)
	switch {
	case err != nil:
		return send.Dial{}, err
	case a.Scheme == target.SchemeUDP:
		return send.Dial{}, errors.New("clients send streams: write tcp, tls or unix")
	case strings.Contains(entry, "?"):
		return send.Dial{}, errors.New("no options here: leave out what follows the question mark")
	}
	d := send.Dial{Network: a.Scheme, Address: a.Host}
	if a.Scheme == target.SchemeTLS {
		d.Network, d.TLS = "tcp", new(tls.Config)
	}
	return d, nil
}

// sendTLS reads what TLS addresses need; nil where there are none, or it is wrong.
func (s *settings) sendTLS(dials []send.Dial) *tls.Config {
	files := tlsconf.ClientFiles{
		CA: s.text("tls-ca"), Cert: s.text("tls-cert"), Key: s.text("tls-key"), ServerName: s.text("tls-server-name"),
		SkipVerify: s.bool("tls-skip-verify"), MinVersion: parsed(s, "tls-min-version", tlsconf.ParseVersion),
	}
	s.needPair("tls-cert", "tls-key")
	speaks := slices.ContainsFunc(dials, func(d send.Dial) bool { return d.TLS != nil })
	if !speaks && s.ok("to") {
		for _, name := range []string{"tls-ca", "tls-cert", "tls-key", "tls-server-name", "tls-min-version", "tls-skip-verify"} {
			if s.byName[name].explicit() && s.ok(name) {
				s.fail(name, errors.New("no address speaks TLS: write tls://HOST:PORT in -to"))
			}
		}
	}
	if !speaks || !s.ok("tls-cert", "tls-key", "tls-min-version") {
		return nil
	}
	client, err := tlsconf.NewClient(files)
	if err != nil {
		s.failFlat("-tls-ca, -tls-cert, -tls-key", err)
		return nil
	}
	return client.Config()
}

// sendTool is the command and returns the exit code.
func sendTool(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	t := sendCommand()
	o, err := parseSend(t, args)
	if err != nil {
		return t.explain(err, stdout, stderr)
	}
	if o.file != "" {
		input, err := openInput(o.file)
		if err != nil {
			fmt.Fprintf(stderr, "linesplit send: %v\n", err)
			return exitCannotRun
		}
		defer input.Close()
		o.Input = input
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	con := console.New(stderr)
	summary, err := send.Run(ctx, o.Options, func(p send.Progress) { showSending(con, p) })
	con.Clear()
	switch {
	case errors.Is(err, send.ErrUnreachable) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "linesplit send: interrupted before anything was sent")
		return exitFailed
	case errors.Is(err, send.ErrUnreachable):
		fmt.Fprintf(stderr, "linesplit send: %v\n", err)
		return exitCannotRun
	}
	con.Print(sendText(summary))
	return sendCode(summary, errors.Join(err, json.NewEncoder(stdout).Encode(summary)), stderr)
}

func openInput(file string) (*os.File, error) {
	if file == "-" {
		return os.Stdin, nil
	}
	return os.Open(file)
}

// sendCode says what was not well.
func sendCode(s send.Summary, err error, stderr io.Writer) int {
	if n := s.Failed(); n > 0 {
		err = errors.Join(err, fmt.Errorf("clients failed: %d", n))
	}
	if err != nil {
		fmt.Fprintf(stderr, "linesplit send: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// sendBarWidth is in characters.
const sendBarWidth = 20

// showSending shows how far a run is, on a terminal.
func showSending(con *console.Console, p send.Progress) {
	if !con.Live() || !con.Due() {
		return
	}
	text := fmt.Sprintf("%s lines  %s/s  %d open", humanize.Comma(int64(p.Lines)), perSecond(p.Bytes, p.Elapsed.Seconds()), p.Open)
	if p.Done >= 0 {
		text = fmt.Sprintf("%s %3.0f %%  ", console.Bar(p.Done, sendBarWidth), 100*p.Done) + text
	}
	if p.Failed > 0 {
		text += fmt.Sprintf("  %d failed", p.Failed)
	}
	if p.Lost > 0 {
		text += fmt.Sprintf("  %d connections lost", p.Lost)
	}
	con.Progress(text)
}

func perSecond(bytes uint64, seconds float64) string {
	return humanize.Bytes(uint64(float64(bytes) / max(seconds, 1e-3)))
}

// sendText is the summary for people.
func sendText(s send.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %s lines, %s, in %.1f s: %s lines/s, %s/s\n", humanize.Comma(int64(s.Lines)), humanize.Bytes(s.Bytes), s.Seconds,
		humanize.Comma(int64(float64(s.Lines)/max(s.Seconds, 1e-3))), perSecond(s.Bytes, s.Seconds))
	for _, kind := range send.Kinds() {
		if c := s.Clients[kind]; c != nil {
			fmt.Fprintf(&b, "  %-16s %d clients, %d well%s%s\n", kind, c.Started, c.Succeeded,
				sendReasons("failed", c.Reasons), sendReasons("connections lost and made again", c.Lost))
		}
	}
	if r := s.Requests; r != nil {
		at := func(seconds float64) time.Duration {
			return time.Duration(seconds * float64(time.Second)).Round(time.Microsecond)
		}
		fmt.Fprintf(&b, "  %s requests answered: p50 %v, p90 %v, p99 %v, p99.9 %v, max %v\n", humanize.Comma(int64(r.Count)),
			at(r.P50), at(r.P90), at(r.P99), at(r.P999), at(r.Max))
	}
	if s.InDoubt > 0 {
		fmt.Fprintf(&b, "  up to %s lines were not acknowledged when their connection ended\n", humanize.Comma(int64(s.InDoubt)))
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
