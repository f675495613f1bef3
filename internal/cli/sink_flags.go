package cli

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

	"linesplit/internal/config"
	"linesplit/internal/flags"
	"linesplit/internal/hostport"
	"linesplit/internal/simulate/sink"
	"linesplit/listen"
	"linesplit/tlsconf"
)

// groupBehaviour is a heading in the help of sink.
const groupBehaviour = "Behaviour (at run time: -control)"

func sinkOptions() []flags.Option { return slices.Concat(sinkInputOptions(), sinkOutputOptions()) }

func sinkInputOptions() []flags.Option {
	return []flags.Option{
		{Name: "listen", Arg: "ADDRESS", Many: true, Default: "tcp://127.0.0.1:9999", Group: groupListeners,
			Help: "where to accept connections; repeatable or comma separated: HOST:PORT, :PORT, tls://HOST:PORT, " +
				"unix:///PATH, unix://@NAME"},
		{Name: "receive-buffer", Arg: "SIZE", Group: groupListeners,
			Help: "the kernel's receive buffer of each connection: with a small one, senders notice a stall soon; " +
				"the kernel's default if not given"},

		{Name: "delay", Arg: "DURATION", Group: groupBehaviour,
			Help: "wait for this long after each line"},
		{Name: "read-rate", Arg: "SIZE", Group: groupBehaviour,
			Help: "read at most this many bytes per second from each connection"},
		{Name: "max-connections", Arg: "N", Group: groupBehaviour,
			Help: "reset connections beyond this number"},
		{Name: "idle-timeout", Arg: "DURATION", Group: groupBehaviour,
			Help: "close a connection that brings nothing for this long"},
		{Name: "refuse", Group: groupBehaviour,
			Help: "refuse connections: with -control, until told otherwise"},
		{Name: "chaos", Arg: "PERCENT", Default: "0", Group: groupBehaviour,
			Help: "reset this percentage of new connections"},
		{Name: "chaos-when", Arg: "WHEN", Default: sink.AtOnce, Group: groupBehaviour,
			Help: "when they are reset: " + sink.AtOnce + ", or " + sink.MidStream + ", after the first few bytes"},
		{Name: "hang", Group: groupBehaviour,
			Help: "accept connections, and then neither read nor write"},
		{Name: "half-close", Group: groupBehaviour,
			Help: "send FIN at once, and read on"},
		{Name: "reset-unread", Group: groupBehaviour,
			Help: "read a little of each connection, and reset it when more has come"},
		{Name: "request", Group: groupBehaviour,
			Help: "answer each line with a line: ok, and its number on its connection"},
		{Name: "control", Arg: "HOST:PORT", Group: groupBehaviour,
			Help: "take orders here, over HTTP; a loopback address, since any program that can connect may give them"},
		{Name: "control-anywhere", Group: groupBehaviour,
			Help: "let -control be any address"},
	}
}

func sinkOutputOptions() []flags.Option {
	return []flags.Option{
		{Name: "verify", Group: groupOutput,
			Help: "check each numbered record, and report which are missing, repeated, altered, torn or out of order, " +
				"and how long they took"},
		{Name: "strict", Group: groupOutput,
			Help: "with -verify: expect nothing but numbered records; any other line is a fault"},
		{Name: "expect", Arg: "FILE", Many: true, Group: groupOutput,
			Help: "with -verify: what linesplit send printed on its standard output, read at the end; repeatable or " +
				"comma separated. Without it, lines missing at the end cannot be known. Implies -strict"},
		{Name: "output", Arg: "FILE", Group: groupOutput,
			Help: "write all lines to this file, - for standard output; the account is then on standard error"},
		{Name: "json", Group: groupOutput,
			Help: "print the account as JSON"},

		{Name: "duration", Arg: "DURATION", Group: groupShutdown,
			Help: "end after this"},
		{Name: "until-quiet", Arg: "DURATION", Group: groupShutdown,
			Help: "end when something has come, no connection is open, and nothing has happened for this long"},
		{Name: "drain-timeout", Arg: "DURATION", Default: "5s", Group: groupShutdown,
			Help: "at the end, send FIN on connections, and read them for this long, up to the peer's FIN"},

		{Name: "tls-cert", Arg: "FILE", Group: groupTLS,
			Help: "certificate of tls:// listeners with its chain, PEM"},
		{Name: "tls-key", Arg: "FILE", Group: groupTLS,
			Help: "key of the certificate, PEM"},
		{Name: "tls-client-ca", Arg: "FILE", Group: groupTLS,
			Help: "clients must show a certificate of these authorities"},
		{Name: "tls-min-version", Arg: "VERSION", Default: "1.2", Group: groupTLS, Choices: []string{"1.2", "1.3"},
			Help: "1.2 or 1.3"},
	}
}

// sinkSettings holds the values of sink's flags.
type sinkSettings struct {
	sinks      []sink.Options // without Tally and Output
	verify     bool
	strict     bool
	expect     []string // files
	output     string   // file; empty: none; -: standard output
	json       bool
	control    string        // host:port; empty: none
	duration   time.Duration // 0: no limit
	untilQuiet time.Duration // 0: no limit
	drain      time.Duration
}

// parseSink reads sink's command line. The error is flag.ErrHelp, or flags.Errors with every fault.
func parseSink(c command, args []string) (sinkSettings, error) {
	s, err := c.parse(args)
	if err != nil {
		return sinkSettings{}, err
	}
	o := sinkSettings{
		verify:     s.Bool("verify"),
		strict:     s.Bool("strict") || len(s.List("expect")) > 0, // the files name everything that was sent
		expect:     s.List("expect"),
		output:     s.Text("output"),
		json:       s.Bool("json"),
		control:    sinkControl(s),
		duration:   s.OptionalDuration("duration"),
		untilQuiet: s.OptionalDuration("until-quiet"),
		drain:      s.Duration("drain-timeout"),
	}
	o.sinks = sinkListeners(s)
	sinkTLS(s, o.sinks)
	behaviour, buffer := sinkBehaviour(s), int(s.OptionalSize("receive-buffer", humanize.GiByte))
	for i := range o.sinks {
		o.sinks[i].Behaviour, o.sinks[i].Buffer = behaviour, buffer
	}
	if !o.verify {
		s.RefuseWithout("verify", "strict", "expect")
	}
	if o.control == "" {
		s.RefuseWithout("control", "control-anywhere")
	}
	return o, s.Err()
}

// sinkBehaviour reads the behaviour of sinks at the start.
func sinkBehaviour(s *flags.Set) sink.Behaviour {
	b := sink.Behaviour{
		Delay:          s.OptionalDuration("delay"),
		ReadRate:       s.OptionalSize("read-rate", humanize.TiByte),
		MaxConnections: s.OptionalNumber("max-connections", 1<<24),
		IdleTimeout:    s.OptionalDuration("idle-timeout"),
		Refuse:         s.Bool("refuse"),
		Chaos:          flags.Parsed(s, "chaos", parsePercent),
		ChaosWhen:      flags.Parsed(s, "chaos-when", parseChaosWhen),
		Hang:           s.Bool("hang"),
		HalfClose:      s.Bool("half-close"),
		ResetUnread:    s.Bool("reset-unread"),
		Request:        s.Bool("request"),
	}
	if err := b.Check(); err != nil && s.Err() == nil {
		s.FailEach("behaviour", err)
	}
	return b
}

func parseChaosWhen(text string) (string, error) {
	if text != sink.AtOnce && text != sink.MidStream {
		return "", fmt.Errorf("write %s or %s", sink.AtOnce, sink.MidStream)
	}
	return text, nil
}

func parsePercent(text string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(n >= 0 && n <= 100) {
		return 0, errors.New("write a percentage from 0 to 100")
	}
	return n, nil
}

// sinkControl reads the address of the control. Without -control-anywhere it must be a loopback
// address.
func sinkControl(s *flags.Set) string {
	address := flags.Parsed(s, "control", parseControl)
	if address == "" || s.Bool("control-anywhere") {
		return address
	}
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		s.Fail("control", errors.New("any program that can connect there may crash the sink: "+
			"write 127.0.0.1:PORT, or give -control-anywhere too"))
	}
	return address
}

// parseControl reads host:port, or nothing.
func parseControl(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	_, port, err := hostport.Split(text)
	if err != nil {
		return "", err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("port %q: write a number from 1 to 65535, or 0 for any free one", port)
	}
	return text, nil
}

// sinkListeners reads -listen. A listener that speaks TLS gets an empty TLS configuration.
func sinkListeners(s *flags.Set) []sink.Options {
	var all []sink.Options
	seen := map[string]bool{}
	for _, entry := range s.List("listen") {
		spec, err := listen.Parse(entry)
		if err == nil {
			err = checkSinkListener(spec)
		}
		if err == nil && seen[config.AddressKey(spec.String())] {
			err = errors.New("given twice")
		}
		if err != nil {
			s.FailEntry("listen", entry, err)
			continue
		}
		seen[config.AddressKey(spec.String())] = !strings.HasSuffix(spec.String(), ":0") // each listener gets another port
		all = append(all, listenerOptions(spec))
	}
	if len(all) == 0 && s.OK("listen") {
		s.Fail("listen", errors.New("no listener: write tcp://127.0.0.1:9999, for example"))
	}
	return all
}

// checkSinkListener returns the reason why a sink cannot listen on spec, or nil.
func checkSinkListener(spec listen.Spec) error {
	scheme, _, _ := strings.Cut(spec.String(), "://")
	switch {
	case !slices.Contains([]string{"tcp", "tls", "unix"}, scheme):
		return errors.New("a sink reads streams of lines: write tcp, tls or unix")
	case strings.Contains(spec.String(), "?"):
		return errors.New("no options here: leave out what follows the question mark")
	}
	return spec.Check()
}

// listenerOptions returns the options of one listener.
func listenerOptions(spec listen.Spec) sink.Options {
	scheme, address, _ := strings.Cut(spec.String(), "://")
	o := sink.Options{Network: scheme, Address: address}
	if spec.TLS() {
		o.Network, o.TLS = "tcp", new(tls.Config)
	}
	return o
}

// sinkTLS reads the TLS configuration, and gives it to the listeners that speak TLS.
func sinkTLS(s *flags.Set, sinks []sink.Options) {
	files := tlsconf.ServerFiles{
		Cert: s.Text("tls-cert"), Key: s.Text("tls-key"), ClientCA: s.Text("tls-client-ca"),
		MinVersion: flags.Parsed(s, "tls-min-version", tlsconf.ParseVersion),
	}
	s.RequirePair("tls-cert", "tls-key")
	speaks := slices.ContainsFunc(sinks, func(o sink.Options) bool { return o.TLS != nil })
	switch {
	case !s.OK("listen", "tls-cert", "tls-key", "tls-min-version"):
	case speaks && files.Cert == "":
		s.Fail("listen", errors.New("a tls:// listener needs -tls-cert and -tls-key"))
	case !speaks:
		refuseTLS(s, "no listener speaks TLS: write tls://HOST:PORT in -listen")
	default:
		server, err := tlsconf.NewServer(files)
		if err != nil {
			config.FailFiles(s, err, map[tlsconf.File]string{
				tlsconf.CertFile: "tls-cert", tlsconf.KeyFile: "tls-key", tlsconf.CAFile: "tls-client-ca",
			})
			return
		}
		for i := range sinks {
			if sinks[i].TLS != nil {
				sinks[i].TLS = server.Config()
			}
		}
	}
}
