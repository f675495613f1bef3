package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/sink"
	"linesplit/listen"
	"linesplit/tlsconf"
)

const (
	groupBehaviour = "How it behaves (at run time: -control)"
	groupAccount   = "What it tells"
)

// sinkCommand is the command of that name.
func sinkCommand() tool {
	return tool{
		name: "sink",
		head: `linesplit sink plays the receivers behind a proxy: it reads lines, misbehaves where it is told to, and accounts for what came when it ends.
With -verify it knows the numbered records of linesplit send again, and finds each that was lost, repeated, altered or torn.

Usage:
  linesplit sink [-listen ADDRESS] [flags]

It ends on SIGINT or SIGTERM, after -duration, or -until-quiet. Exit code 0: all well; 1: with -verify, lines were lost or are not as
they were sent, or the output could not be written; 2: a flag is wrong; 3: it cannot listen, or read or write a file that is named.

With -control it takes orders over HTTP, for all listeners, or with ?sink=2 for the second:
  GET /status; GET, PUT, PATCH /behaviour, with JSON such as {"delay":"10ms","chaos":5,"chaos_when":"mid-stream"};
  POST /pause, /resume, /reset, /exit, /crash?stall=100ms, /close-unread?stall=100ms, /shutdown?patience=5s, /restart
`,
		options: []option{
			{"listen", "ADDRESS", "tcp://127.0.0.1:9999", groupInbound, anyMode, "where to accept connections; repeatable or comma separated: tcp://HOST:PORT, tls://HOST:PORT, " +
				"unix:///PATH, unix://@NAME"},
			{"receive-buffer", "SIZE", "", groupInbound, anyMode, "of the kernel, for each connection: a small one makes a stall felt soon; as the kernel likes if not given"},

			{"delay", "DURATION", "", groupBehaviour, anyMode, "wait for this long after each line"},
			{"read-rate", "SIZE", "", groupBehaviour, anyMode, "read no more bytes than this in a second, of each connection"},
			{"max-connections", "N", "", groupBehaviour, anyMode, "reset connections beyond this number"},
			{"idle-timeout", "DURATION", "", groupBehaviour, anyMode, "close a connection that brings nothing for this long"},
			{"refuse", "", "", groupBehaviour, anyMode, "refuse connections: with -control, until ordered otherwise"},
			{"chaos", "PERCENT", "0", groupBehaviour, anyMode, "reset so many of all new connections"},
			{"chaos-when", "WHEN", sink.AtOnce, groupBehaviour, anyMode, "when they are reset: " + sink.AtOnce + ", or " + sink.MidStream + ", behind the first few bytes"},
			{"hang", "", "", groupBehaviour, anyMode, "accept connections, and then neither read nor write"},
			{"half-close", "", "", groupBehaviour, anyMode, "send FIN at once, and read on"},
			{"reset-unread", "", "", groupBehaviour, anyMode, "read a little of each connection, and reset it when more is there"},
			{"request", "", "", groupBehaviour, anyMode, "answer each line with a line: ok, and its number on its connection"},
			{"control", "HOST:PORT", "", groupBehaviour, anyMode, "take orders here, over HTTP; a loopback address, since whoever can connect may give them"},
			{"control-anywhere", "", "", groupBehaviour, anyMode, "let -control be any address"},

			{"verify", "", "", groupAccount, anyMode, "check each numbered record, and report what is missing, repeated, altered, torn or out of order, and how long they took"},
			{"strict", "", "", groupAccount, anyMode, "with -verify: nothing but numbered records is expected, and any other line is a fault"},
			{"expect", "FILE", "", groupAccount, anyMode, "with -verify: what linesplit send said on its standard output that it has sent, read at the end; repeatable or comma separated. " +
				"Without it a lost tail cannot be known. Implies -strict"},
			{"output", "FILE", "", groupAccount, anyMode, "write all lines to this file, - for standard output; the account is then on standard error"},
			{"json", "", "", groupAccount, anyMode, "print the account as JSON"},

			{"duration", "DURATION", "", groupEnd, anyMode, "end after this"},
			{"until-quiet", "DURATION", "", groupEnd, anyMode, "end when something has come, no connection is open, and nothing has happened for this long"},
			{"drain-timeout", "DURATION", "5s", groupEnd, anyMode, "at the end, connections get FIN and are read for this long, to theirs"},

			{"tls-cert", "FILE", "", groupTLS, anyMode, "certificate of tls:// listeners with its chain, PEM"},
			{"tls-key", "FILE", "", groupTLS, anyMode, "its key, PEM"},
			{"tls-client-ca", "FILE", "", groupTLS, anyMode, "authorities of which clients must show a certificate"},
			{"tls-min-version", "VERSION", "1.2", groupTLS, anyMode, "1.2 or 1.3"},
		},
		examples: `
Examples:
  linesplit sink -verify -until-quiet 5s
  linesplit sink -listen tcp://127.0.0.1:9998,tcp://127.0.0.1:9999 -verify -expect sent.json -json
  linesplit sink -listen tls://0.0.0.0:6514 -tls-cert cert.pem -tls-key key.pem -output lines.log
  linesplit sink -control 127.0.0.1:9090
  curl -X POST 'http://127.0.0.1:9090/crash?stall=200ms'     # meanwhile
`,
	}
}

// sinkSettings are what the flags say.
type sinkSettings struct {
	sinks      []sink.Options // without Tally and Output
	verify     bool
	strict     bool
	expect     []string
	output     string
	json       bool
	control    string
	duration   time.Duration // 0: no limit
	untilQuiet time.Duration // 0: not
	drain      time.Duration
}

// parseSink returns flag.ErrHelp or all that is wrong.
func parseSink(t tool, args []string) (sinkSettings, error) {
	s, err := t.read(args)
	if err != nil {
		return sinkSettings{}, err
	}
	o := sinkSettings{
		verify:     s.bool("verify"),
		strict:     s.bool("strict") || len(s.list("expect")) > 0, // who knows what was sent knows that it was nothing else
		expect:     s.list("expect"),
		output:     s.text("output"),
		json:       s.bool("json"),
		control:    s.sinkControl(),
		duration:   parsed(s, "duration", parseLimit),
		untilQuiet: parsed(s, "until-quiet", parseLimit),
		drain:      s.duration("drain-timeout"),
	}
	o.sinks = s.sinkListeners()
	s.sinkTLS(o.sinks)
	base := sink.Options{Behaviour: s.behaviour(), Buffer: int(s.optionalSize("receive-buffer", humanize.GiByte))}
	for i := range o.sinks {
		o.sinks[i].Behaviour, o.sinks[i].Buffer = base.Behaviour, base.Buffer
	}
	if !o.verify {
		s.refuseWithout("verify", "strict", "expect")
	}
	if o.control == "" {
		s.refuseWithout("control", "control-anywhere")
	}
	return o, s.fault()
}

// refuseWithout reports flags that are of use only with another one.
func (s *settings) refuseWithout(needed string, names ...string) {
	for _, name := range names {
		if s.byName[name].explicit() && s.ok(name, needed) {
			s.fail(name, fmt.Errorf("of use only with -%s", needed))
		}
	}
}

// behaviour reads how sinks behave to begin with.
func (s *settings) behaviour() sink.Behaviour {
	b := sink.Behaviour{
		Delay:          parsed(s, "delay", parseLimit),
		ReadRate:       s.optionalSize("read-rate", humanize.TiByte),
		MaxConnections: s.count("max-connections", 1<<24),
		IdleTimeout:    parsed(s, "idle-timeout", parseLimit),
		Refuse:         s.bool("refuse"),
		Chaos:          parsed(s, "chaos", parsePercent),
		ChaosWhen:      s.text("chaos-when"),
		Hang:           s.bool("hang"),
		HalfClose:      s.bool("half-close"),
		ResetUnread:    s.bool("reset-unread"),
		Request:        s.bool("request"),
	}
	if err := b.Check(); err != nil && len(s.errs) == 0 {
		s.failFlat("behaviour", err)
	}
	return b
}

func parsePercent(text string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(n >= 0 && n <= 100) {
		return 0, errors.New("write a percentage from 0 to 100")
	}
	return n, nil
}

// optionalSize reads a size from 1 on that may be left out.
func (s *settings) optionalSize(name string, high int64) int64 {
	if s.text(name) == "" && !s.byName[name].explicit() {
		return 0
	}
	return s.size(name, 1, high)
}

// sinkControl reads where orders are taken.
func (s *settings) sinkControl() string {
	address := parsed(s, "control", parseControl)
	if address == "" || s.bool("control-anywhere") {
		return address
	}
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		s.fail("control", errors.New("whoever can connect there may crash the sink: write 127.0.0.1:PORT, or give -control-anywhere too"))
	}
	return address
}

// sinkListeners reads -listen. TLS is there for those that speak it, and empty.
func (s *settings) sinkListeners() []sink.Options {
	var all []sink.Options
	seen := map[string]bool{}
	for _, entry := range s.list("listen") {
		spec, err := listen.Parse(entry)
		if err == nil {
			err = sinkCannot(spec)
		}
		if err == nil && seen[place(spec.String())] {
			err = errors.New("given twice")
		}
		if err != nil {
			s.failEntry("listen", entry, err)
			continue
		}
		seen[place(spec.String())] = !strings.HasSuffix(spec.String(), ":0")
		all = append(all, sinkOptions(spec))
	}
	if len(all) == 0 && s.ok("listen") {
		s.fail("listen", errors.New("no listener: write tcp://127.0.0.1:9999, for example"))
	}
	return all
}

// sinkCannot says why a sink does not listen on something, or returns nil.
func sinkCannot(spec listen.Spec) error {
	switch {
	case spec.UDP() || spec.Stdin():
		return errors.New("a sink reads streams: write tcp, tls or unix")
	case strings.Contains(spec.String(), "?"):
		return errors.New("no options here: leave out what follows the question mark")
	}
	return spec.Check()
}

// sinkOptions are those of one listener. Its TLS is empty where it speaks that.
func sinkOptions(spec listen.Spec) sink.Options {
	scheme, address, _ := strings.Cut(spec.String(), "://")
	o := sink.Options{Network: scheme, Address: address}
	if spec.TLS() {
		o.Network, o.TLS = "tcp", new(tls.Config)
	}
	return o
}

// sinkTLS reads what listeners with TLS need, and gives it to them.
func (s *settings) sinkTLS(sinks []sink.Options) {
	files := tlsconf.ServerFiles{
		Cert: s.text("tls-cert"), Key: s.text("tls-key"), ClientCA: s.text("tls-client-ca"),
		MinVersion: parsed(s, "tls-min-version", tlsconf.ParseVersion),
	}
	s.needPair("tls-cert", "tls-key")
	speaks := slices.ContainsFunc(sinks, func(o sink.Options) bool { return o.TLS != nil })
	switch {
	case !s.ok("listen", "tls-cert", "tls-key", "tls-min-version"):
	case speaks && files.Cert == "":
		s.fail("listen", errors.New("a tls:// listener needs -tls-cert and -tls-key"))
	case !speaks:
		for _, name := range []string{"tls-cert", "tls-key", "tls-client-ca", "tls-min-version"} {
			if s.byName[name].explicit() {
				s.fail(name, errors.New("no listener speaks TLS: write tls://HOST:PORT in -listen"))
			}
		}
	default:
		server, err := tlsconf.NewServer(files)
		if err != nil {
			s.failFlat("-tls-cert, -tls-key, -tls-client-ca", err)
			return
		}
		for i := range sinks {
			if sinks[i].TLS != nil {
				sinks[i].TLS = server.Config()
			}
		}
	}
}

// parseControl takes an address with a port, and nothing at all.
func parseControl(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", errors.New("not host:port: write 127.0.0.1:9091, for example")
	}
	return text, nil
}
