package cli

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"linesplit/internal/config"
	"linesplit/internal/flags"
	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
	"linesplit/target"
	"linesplit/tlsconf"
)

// Headings in the help of send.
const (
	groupAddresses = "Addresses"
	groupClients   = "Clients"
	groupLines     = "Lines"
	groupFailures  = "Failures"
)

func sendOptions() []flags.Option {
	return []flags.Option{
		{Name: "to", Arg: "ADDRESS", Many: true, Group: groupAddresses,
			Help: "where clients connect; repeatable or comma separated, clients take them in turn: HOST:PORT, " +
				"tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH, unix://@NAME"},

		{Name: "mix", Arg: "KINDS", Default: "stream=1", Group: groupClients,
			Help: "kinds of clients and their weights: stream=15,request=50"},
		{Name: "connections", Arg: "N", Group: groupClients,
			Help: "clients at one time, 1 if not given; with -clients-per-second the limit, then 1000 if not given"},
		{Name: "clients-per-second", Arg: "RATE", Group: groupClients,
			Help: "clients arrive at this rate, in place of all at once"},
		{Name: "clients", Arg: "N", Group: groupClients,
			Help: "clients in total: when one has ended, another one starts. If not given there is no limit, but " +
				"with neither -duration nor -clients-per-second it is that of -connections"},
		{Name: "duration", Arg: "DURATION", Group: groupClients,
			Help: "end after this, and replace clients that end before"},

		{Name: "lines", Arg: "N", Group: groupLines,
			Help: "lines of each stream, request and slow client"},
		{Name: "rate", Arg: "RATE", Group: groupLines,
			Help: "lines per second of each stream and request client; as fast as possible if not given"},
		{Name: "line-length", Arg: "SIZE", Group: groupLines,
			Help: "bytes of a line, or a range: 600, 100-64KiB; as in logs if not given"},
		{Name: "slow-pause", Arg: "DURATION", Default: "10ms", Group: groupLines,
			Help: "between two bytes of a slow client"},
		{Name: "first-sender", Arg: "N", Default: "0", Group: groupLines,
			Help: "sender number in the first client's records; each further client has the next number. Two runs " +
				"that send to one sink need different ones"},
		{Name: "file", Arg: "FILE", Group: groupLines,
			Help: "send the lines of this file, - for standard input, in place of numbered records; clients share them"},
		{Name: "repeat", Arg: "N", Default: "1", Group: groupLines,
			Help: "send the file this often; 0: without end. Input that cannot be read again must fit into 64MiB"},

		{Name: "reconnect", Group: groupFailures,
			Help: "a client that loses its connection connects again and continues, which is no failure"},
		{Name: "dial-timeout", Arg: "DURATION", Default: "5s", Group: groupFailures,
			Help: "give up one attempt to connect after this"},
		{Name: "request-timeout", Arg: "DURATION", Default: "5s", Group: groupFailures,
			Help: "a request that is not acknowledged by then has failed"},
		{Name: "grace", Arg: "DURATION", Default: "5s", Group: groupFailures,
			Help: "at the end, a peer that takes nothing for this long has failed"},

		{Name: "tls-ca", Arg: "FILE", Group: groupTLS,
			Help: "authorities to trust instead of the system's"},
		{Name: "tls-cert", Arg: "FILE", Group: groupTLS,
			Help: "certificate to show, PEM"},
		{Name: "tls-key", Arg: "FILE", Group: groupTLS,
			Help: "key of the certificate, PEM"},
		{Name: "tls-server-name", Arg: "NAME", Group: groupTLS,
			Help: "name that certificates must have, in place of the address's host"},
		{Name: "tls-min-version", Arg: "VERSION", Default: "1.2", Group: groupTLS, Choices: []string{"1.2", "1.3"},
			Help: "1.2 or 1.3"},
		{Name: "tls-skip-verify", Group: groupTLS,
			Help: "trust any certificate (unsafe)"},
	}
}

// sendSettings holds the values of send's flags.
type sendSettings struct {
	send.Options        // without Input
	file         string // empty: numbered records; -: standard input
}

// parseSend reads send's command line. The error is flag.ErrHelp, or flags.Errors with every fault.
func parseSend(c command, args []string) (sendSettings, error) {
	s, err := c.parse(args)
	if err != nil {
		return sendSettings{}, err
	}
	o := sendSettings{
		Options: send.Options{
			Mix:              flags.Parsed(s, "mix", send.ParseMix),
			Connections:      s.OptionalNumber("connections", 1<<20),
			ClientsPerSecond: flags.Parsed(s, "clients-per-second", parsePerSecond),
			Clients:          s.OptionalNumber("clients", 1<<30),
			Duration:         s.OptionalDuration("duration"),
			Lines:            uint64(s.OptionalNumber("lines", 1<<40)),
			Rate:             flags.Parsed(s, "rate", parsePerSecond),
			Length:           flags.Parsed(s, "line-length", record.ParseLength),
			Pause:            s.Duration("slow-pause"),
			FirstSender:      uint32(s.Number("first-sender", 0, 1<<31-1)),
			Repeat:           cmp.Or(s.Number("repeat", 0, 1<<30), -1),
			Reconnect:        s.Bool("reconnect"),
			DialTimeout:      s.Duration("dial-timeout"),
			Timeout:          s.Duration("request-timeout"),
			Grace:            s.Duration("grace"),
		},
		file: s.Text("file"),
	}
	checkSendFile(s)
	o.To = sendDials(s)
	if err := o.Check(); err != nil && s.Err() == nil {
		s.FailEach("these flags do not go together", err)
	}
	return o, s.Err()
}

// maxPerSecond is higher than any rate that a machine can reach.
const maxPerSecond = 1e9

// parsePerSecond reads a rate; empty text gives 0.
func parsePerSecond(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0.001 && n <= maxPerSecond) {
		return 0, errors.New("write a number per second from 0.001 to 1000000000, such as 0.5 or 50000")
	}
	return n, nil
}

func checkSendFile(s *flags.Set) {
	file := s.Text("file")
	if file == "" {
		s.RefuseWithout("file", "repeat")
	}
	if file != "" && s.Text("line-length") != "" {
		s.Fail("line-length", errors.New("the lines of -file have the length they have: leave out either"))
	}
	if file == "" || file == "-" {
		return
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		s.Fail("file", errors.New("a directory"))
	}
}

// sendDials reads -to, and gives the TLS configuration to the addresses that need it.
func sendDials(s *flags.Set) []send.Dial {
	var dials []send.Dial
	for _, entry := range s.List("to") {
		d, err := parseDial(entry)
		if err != nil {
			s.FailEntry("to", entry, err)
			continue
		}
		dials = append(dials, d)
	}
	if len(dials) == 0 && s.OK("to") {
		s.Fail("to", errors.New("nowhere to send to: write 127.0.0.1:9000, for example"))
	}
	if config := sendTLS(s, dials); config != nil {
		for i := range dials {
			if dials[i].TLS != nil {
				dials[i].TLS = config
			}
		}
	}
	return dials
}

// parseDial reads one address. An address that speaks TLS gets an empty configuration.
func parseDial(entry string) (send.Dial, error) {
	scheme, _, found := strings.Cut(entry, "://")
	if found && !slices.Contains([]string{target.SchemeTCP, target.SchemeTLS, target.SchemeUnix}, scheme) {
		return send.Dial{}, fmt.Errorf("unknown scheme %q: clients send streams, over tcp, tls or unix", scheme)
	}
	a, err := target.ParseAddress(entry, false)
	switch {
	case err != nil:
		return send.Dial{}, err
	case strings.Contains(entry, "?"):
		return send.Dial{}, errors.New("no options here: leave out what follows the question mark")
	}
	d := send.Dial{Network: a.Scheme, Address: a.Host}
	if a.Scheme == target.SchemeTLS {
		d.Network, d.TLS = "tcp", new(tls.Config)
	}
	return d, nil
}

// sendTLS reads the configuration for TLS addresses. It returns nil if there are none, or if a flag
// is wrong.
func sendTLS(s *flags.Set, dials []send.Dial) *tls.Config {
	files := tlsconf.ClientFiles{
		CA: s.Text("tls-ca"), Cert: s.Text("tls-cert"), Key: s.Text("tls-key"), ServerName: s.Text("tls-server-name"),
		SkipVerify: s.Bool("tls-skip-verify"), MinVersion: flags.Parsed(s, "tls-min-version", tlsconf.ParseVersion),
	}
	s.RequirePair("tls-cert", "tls-key")
	speaks := slices.ContainsFunc(dials, func(d send.Dial) bool { return d.TLS != nil })
	if !speaks && s.OK("to") {
		refuseTLS(s, "no address speaks TLS: write tls://HOST:PORT in -to")
	}
	if !speaks || !s.OK("tls-cert", "tls-key", "tls-min-version") {
		return nil
	}
	client, err := tlsconf.NewClient(files)
	if err != nil {
		config.FailFiles(s, err, clientOptions())
		return nil
	}
	return client.Config()
}

// clientOptions returns the options of the files of a client.
func clientOptions() map[tlsconf.File]string {
	return map[tlsconf.File]string{
		tlsconf.CAFile: "tls-ca", tlsconf.CertFile: "tls-cert", tlsconf.KeyFile: "tls-key",
	}
}

// refuseTLS records a fault for every -tls- flag that is given and has no fault yet, because no
// address speaks TLS.
func refuseTLS(s *flags.Set, why string) {
	for _, o := range s.Options() {
		if strings.HasPrefix(o.Name, "tls-") && s.Given(o.Name) && s.OK(o.Name) {
			s.Fail(o.Name, errors.New(why))
		}
	}
}
