package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"linesplit/health"
	"linesplit/listen"
	"linesplit/relay"
	"linesplit/target"
)

// forwarding is what only connection mode has.
type forwarding struct {
	Balance        string
	DialBudget     time.Duration
	LingerTimeout  time.Duration
	IdleTimeout    time.Duration // 0: none
	QueueTimeout   time.Duration
	ResetOnDown    bool
	UDPIdleTimeout time.Duration
	UDPSessions    int
	MaxPerClient   int     // 0: no limit
	RatePerClient  float64 // connections per second; 0: no limit
	AccessLog      string  // text, json or off
}

// checking is how targets are checked, in either mode.
type checking struct {
	Check             health.Check // its zero value: not at all
	Interval, Timeout time.Duration
	Rise, Fall        int
}

// access is who may connect, and who speaks for others.
type access struct{ Allow, Deny, ProxyFrom []netip.Prefix }

func (s *settings) forwarding() forwarding {
	return forwarding{
		Balance:        parsed(s, "balance", relay.ParseBalance),
		DialBudget:     s.duration("dial-budget"),
		LingerTimeout:  s.duration("linger-timeout"),
		IdleTimeout:    parsed(s, "idle-timeout", parseDurationOrNone),
		QueueTimeout:   s.duration("queue-timeout"),
		ResetOnDown:    parsed(s, "on-target-down", parseOnTargetDown),
		UDPIdleTimeout: s.duration("udp-idle-timeout"),
		UDPSessions:    s.number("udp-sessions", 1, 1<<20),
		MaxPerClient:   s.number("max-connections-per-client", 0, 1<<24),
		RatePerClient:  parsed(s, "rate-per-client", parseRate),
		AccessLog:      parsed(s, "access-log", parseAccessLog),
	}
}

// checking judges the -health flags. Those that belong to another kind of check are refused.
func (s *settings) checking() checking {
	c := checking{
		Interval: s.duration("health-interval"),
		Timeout:  s.duration("health-timeout"),
		Rise:     s.number("health-rise", 1, 1000),
		Fall:     s.number("health-fall", 1, 1000),
	}
	check, err := health.NewCheck(health.Settings{
		Kind: s.text("health"), Path: s.text("health-path"), Status: s.text("health-status"),
		Send: s.text("health-send"), Expect: s.text("health-expect"), Command: s.text("health-command"),
	})
	if err != nil {
		s.fail("health", err)
	}
	c.Check = check
	return c
}

func (s *settings) access() access {
	return access{Allow: s.prefixes("allow"), Deny: s.prefixes("deny"), ProxyFrom: s.prefixes("proxy-protocol-from")}
}

// prefixes reads a list of networks and addresses.
func (s *settings) prefixes(name string) []netip.Prefix {
	var all []netip.Prefix
	for _, entry := range s.list(name) {
		p, err := listen.ParsePrefix(entry)
		if err != nil {
			s.failValue(name, entry, err)
			continue
		}
		all = append(all, p)
	}
	return all
}

// refuseOtherMode reports every option that was given and is of no use in the mode.
func (s *settings) refuseOtherMode(m mode) {
	for _, o := range options() {
		set, known := s.byName[o.name]
		if known && o.mode != anyMode && o.mode != m && set.explicit() {
			s.fail(o.name, fmt.Errorf("of use only with -mode %s, and this is -mode %s", o.mode, m))
		}
	}
}

// checkPlaces looks at what listeners and targets are in the mode that is chosen, and whether they fit each other.
func (s *settings) checkPlaces(c config) {
	for _, spec := range c.Listen {
		if c.Mode == connectionMode && spec.Stdin() {
			s.failValue("listen", spec.String(), errors.New("standard input is lines: it needs -mode line"))
		}
	}
	for _, a := range c.Targets {
		if err := targetFits(a, c.Mode); err != nil {
			s.failValue("target", a.String(), err)
		}
	}
	if c.Mode == connectionMode && s.ok("listen", "addr", "port", "target") {
		s.checkPairs(c)
	}
}

// targetFits says what of a target's address its mode has no use for.
func targetFits(a target.Address, m mode) error {
	forLines := "of use only with -mode line: connections are not sent again"
	forConnections := "of use only with -mode connection"
	switch {
	case m == connectionMode && a.ViaProxy:
		return errors.New("?via-proxy is " + forLines)
	case m == connectionMode:
		return nil
	case a.Scheme == target.SchemeUDP:
		return errors.New("a udp:// target is " + forConnections + ": nothing tells what became of a datagram")
	case a.Weight > 0:
		return errors.New("?weight is " + forConnections)
	case a.Backup:
		return errors.New("?backup is " + forConnections)
	case a.MaxConnections > 0:
		return errors.New("?max-connections is " + forConnections)
	case a.ProxyProtocol > 0:
		return errors.New("?proxy-protocol is " + forConnections)
	}
	return nil
}

// checkPairs finds listeners without targets of their kind, datagrams or streams, and targets without listeners.
func (s *settings) checkPairs(c config) {
	var listeners, targets [2]string // the last of each kind
	for _, spec := range c.Listen {
		listeners[kindOf(spec.UDP())] = spec.String()
	}
	for _, a := range c.Targets {
		targets[kindOf(a.Scheme == target.SchemeUDP)] = a.String()
	}
	for kind, needed := range [2]string{"a tcp://, tls:// or unix://", "a udp://"} {
		switch {
		case listeners[kind] != "" && targets[kind] == "":
			s.fail("target", fmt.Errorf("the listener %s needs %s target", listeners[kind], needed))
		case listeners[kind] == "" && targets[kind] != "":
			s.failValue("target", targets[kind], fmt.Errorf("no listener leads to it: it needs %s one", needed))
		}
	}
}

func kindOf(datagrams bool) int {
	if datagrams {
		return 1
	}
	return 0
}

func parseMode(text string) (mode, error) {
	switch text {
	case "line":
		return lineMode, nil
	case "connection", "l4":
		return connectionMode, nil
	}
	return 0, errors.New("write line, connection, or l4 for connection")
}

// parseDurationOrNone takes 0 for none.
func parseDurationOrNone(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil && d == 0 {
		return 0, nil
	}
	return parseDuration(text)
}

func parseOnTargetDown(text string) (reset bool, err error) {
	switch text {
	case "keep":
		return false, nil
	case "reset":
		return true, nil
	}
	return false, errors.New("write keep or reset")
}

func parseAccessLog(text string) (string, error) {
	switch text {
	case "text", "json", "off":
		return text, nil
	}
	return "", errors.New("write text, json or off")
}

// parseRate reads 5, 5/s or 300/m as a number per second.
func parseRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(number, 64)
	per := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || per == 0 || !(n > 0 && n <= 1e9) {
		return 0, errors.New("no rate: write 5/s, 300/m or 1000/h")
	}
	return n / per, nil
}
