package listen

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"linesplit/internal/framing"
)

// Framing returns how the lines of senders are told apart; see [framing.Framing].
func (s Spec) Framing() framing.Framing { return s.framing }

// takeFraming sets the framing that a query names, and returns the other options.
func (s *Spec) takeFraming(query string) (url.Values, error) {
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	values := options["framing"]
	delete(options, "framing")
	switch {
	case values == nil:
	case len(values) > 1:
		return nil, fmt.Errorf("option framing is given %d times", len(values))
	default:
		if s.framing, err = framing.ParseSender(values[0]); err != nil {
			return nil, err
		}
	}
	return options, nil
}

// parseNetwork parses what follows tcp://, tls:// or udp://.
func parseNetwork(s Spec, rest string) (Spec, error) {
	var query string
	s.address, query, _ = strings.Cut(rest, "?")
	if s.UDP() && query != "" {
		return s, errors.New("udp:// takes no options: a datagram ends its last line by itself")
	}
	options, err := s.takeFraming(query)
	if err == nil && len(options) > 0 {
		err = fmt.Errorf("unknown option %q: known is framing", slices.Sorted(maps.Keys(options))[0])
	}
	return s, errors.Join(err, checkHostPort(s.address))
}

// parseStdin parses what follows stdin:.
func parseStdin(s Spec, rest string) (Spec, error) {
	before, query, _ := strings.Cut(rest, "?")
	options, err := s.takeFraming(query)
	switch {
	case err != nil:
		return s, err
	case before != "" || len(options) > 0:
		return s, errors.New("stdin: takes nothing after the colon but ?framing")
	}
	return s, nil
}

// framed is the part of a listener that knows the framing.
type framed struct{ framing framing.Framing }

// Framing returns how the lines of senders are told apart.
func (f *framed) Framing() framing.Framing { return f.framing }

func (f *framed) setFraming(to framing.Framing) { f.framing = to }

// query returns the options of a listener's name.
func (f *framed) query() string {
	if f.framing == framing.Newline {
		return ""
	}
	return "?framing=" + f.framing.String()
}

// withFraming gives a listener the framing that s names, or closes it: UDP listeners have none.
func withFraming(ln net.Listener, s Spec) (net.Listener, error) {
	f, ok := ln.(interface{ setFraming(framing.Framing) })
	switch {
	case ok:
		f.setFraming(s.framing)
	case s.framing != framing.Newline:
		ln.Close()
		return nil, errors.New("a UDP socket has no framing: a datagram ends its last line by itself")
	}
	return ln, nil
}
