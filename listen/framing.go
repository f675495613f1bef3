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

// parseNetwork parses what follows tcp:// and the like.
func parseNetwork(s Spec, rest string) (Spec, error) {
	var query string
	s.address, query, _ = strings.Cut(rest, "?")
	if s.UDP() && query != "" {
		return s, errors.New("udp:// takes no options: a datagram ends its last line by itself")
	}
	if s.RELP() && query != "" {
		return s, fmt.Errorf("%s:// takes no options", s.scheme)
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

// withUse gives a listener what s says of its connections, or closes it: UDP listeners have no such
// properties.
func withUse(ln net.Listener, s Spec) (net.Listener, error) {
	u, ok := ln.(interface{ SetUse(Spec) })
	switch {
	case ok:
		u.SetUse(s)
	case s.framing != framing.Newline:
		ln.Close()
		return nil, errors.New("a UDP socket has no framing: a datagram ends its last line by itself")
	}
	return ln, nil
}
