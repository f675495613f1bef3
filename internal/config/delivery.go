package config

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/health"
	"linesplit/internal/clientlimit"
	"linesplit/internal/flags"
	"linesplit/internal/framing"
	"linesplit/internal/linekey"
	"linesplit/relay"
	"linesplit/splitter"
	"linesplit/workerpool"
)

// lines reads the settings for the lines of senders.
func lines(s *flags.Set) splitter.Tuning {
	if s.OK("record-start") && s.Text("record-start") == "" {
		unused(s, "record-lines", "only valid with -record-start")
		unused(s, "record-wait", "only valid with -record-start")
	}
	return splitter.Tuning{
		MaxLine:  int(s.Size("max-line", 16, humanize.GiByte)),
		Oversize: flags.Parsed(s, "oversize", splitter.ParseOversize),
		PerClient: clientlimit.Limits{
			Connections: s.Number("max-connections-per-client", 0, 1<<24),
			Rate:        flags.Parsed(s, "rate-per-client", parseRate),
		},
		IdleTimeout: s.DurationOrZero("idle-timeout"),
		LineTimeout: s.DurationOrZero("line-timeout"),
		RecordStart: flags.Parsed(s, "record-start", parseRecordStart),
		RecordLines: s.Number("record-lines", 1, 1<<20),
		RecordWait:  s.Duration("record-wait"),
	}
}

// parseRecordStart returns nil for an empty text: lines are not joined.
func parseRecordStart(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	return regexp.Compile(text)
}

// delivery reads the settings for the delivery of lines.
func delivery(s *flags.Set) workerpool.Tuning {
	return workerpool.Tuning{
		StallTimeout:     stallTimeout(s),
		DeadTimeout:      s.Duration("dead-timeout"),
		FailbackInterval: s.Duration("failback-interval"),
		FailbackProbe:    s.Duration("failback-probe"),
		ResendMargin:     s.Size("resend-margin", 0, humanize.GiByte),
		ResendMax:        s.Size("resend-max", 512, humanize.GiByte),
		ResendAge:        s.Duration("resend-age"),
		PeerLookup:       flags.Parsed(s, "peer-lookup", parsePeerLookup),
		StayHome:         flags.Parsed(s, "key-down", parseKeyDown),
		Embedded:         flags.Parsed(s, "embedded-newline", framing.ParseEmbedded),
	}
}

// keys reads -key and -key-missing.
func keys(s *flags.Set) workerpool.Keys {
	k := workerpool.Keys{
		Rule:        flags.Parsed(s, "key", parseKey),
		DropMissing: flags.Parsed(s, "key-missing", parseKeyMissing),
	}
	if s.OK("key") && s.Text("key") == "" {
		unused(s, "key-missing", "only valid with -key")
		unused(s, "key-down", "only valid with -key")
	}
	if k.Rule != nil && k.Rule.PerConnection() && k.DropMissing {
		unused(s, "key-missing", "with -key connection every line has a key")
	}
	return k
}

// unused records a setting that has no effect, if it was given. A default from outside the table of
// s is dropped instead: other tables may need it.
func unused(s *flags.Set, name, why string) {
	if s.Given(name) && s.OK(name) && !s.Drop(name) {
		s.Fail(name, errors.New(why))
	}
}

func parseKey(text string) (*linekey.Rule, error) {
	if text == "" {
		return nil, nil
	}
	return linekey.Parse(text)
}

func parseKeyMissing(text string) (drop bool, err error) {
	switch text {
	case "any":
		return false, nil
	case "drop":
		return true, nil
	}
	return false, errors.New("write any or drop")
}

func parseKeyDown(text string) (wait bool, err error) {
	switch text {
	case "move":
		return false, nil
	case "wait":
		return true, nil
	}
	return false, errors.New("write move or wait")
}

// stallTimeout reads -stall-timeout, or its older name if only that is given.
func stallTimeout(s *flags.Set) time.Duration {
	if s.Given("write-timeout") && !s.Inherited("write-timeout") {
		s.Drop("stall-timeout") // a table's older name wins over the other one outside the table
	}
	if !s.Given("write-timeout") {
		return s.Duration("stall-timeout")
	}
	stall := s.Duration("write-timeout") // a bad value is an error even where the other name wins
	if s.Given("stall-timeout") {
		stall = s.Duration("stall-timeout")
	}
	return stall
}

// forward reads the settings of connection mode.
func forward(s *flags.Set) relay.Tuning {
	return relay.Tuning{
		DialBudget:              s.Duration("dial-budget"),
		LingerTimeout:           s.Duration("linger-timeout"),
		IdleTimeout:             s.DurationOrZero("idle-timeout"),
		ClientIdleTimeout:       s.DurationOrZero("client-idle-timeout"),
		TargetIdleTimeout:       s.DurationOrZero("target-idle-timeout"),
		QueueTimeout:            s.Duration("queue-timeout"),
		ResetOnDown:             flags.Parsed(s, "on-target-down", parseOnTargetDown),
		UDPIdleTimeout:          s.Duration("udp-idle-timeout"),
		UDPSessions:             s.Number("udp-sessions", 1, 1<<20),
		MaxConnectionsPerClient: s.Number("max-connections-per-client", 0, 1<<24),
		RatePerClient:           flags.Parsed(s, "rate-per-client", parseRate),
	}
}

func parsePeerLookup(text string) (on bool, err error) {
	switch text {
	case "auto":
		return true, nil
	case "off":
		return false, nil
	}
	return false, errors.New("write auto or off")
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
		return 0, errors.New("not a rate: write 5/s, 300/m or 1000/h")
	}
	return n / per, nil
}

// checks reads the settings of health checks. It records flags of another kind of check as faults,
// unless they are inherited.
func checks(s *flags.Set) health.Options {
	check, err := newCheck(s)
	if dropUnused(s, err) {
		check, err = newCheck(s)
	}
	failChecks(s, err)
	return health.Options{
		Check:    check,
		Interval: s.Duration("health-interval"),
		Timeout:  s.Duration("health-timeout"),
		Rise:     s.Number("health-rise", 1, 1000),
		Fall:     s.Number("health-fall", 1, 1000),
	}
}

func newCheck(s *flags.Set) (health.Check, error) {
	return health.NewCheck(health.Settings{
		Kind: s.Text("health"), Path: s.Text("health-path"), Status: s.Text("health-status"),
		Send: s.Text("health-send"), Expect: s.Text("health-expect"), Command: s.Text("health-command"),
	})
}

// dropUnused drops inherited settings of another kind of check, and reports whether there were any.
func dropUnused(s *flags.Set, err error) (dropped bool) {
	for _, fault := range settingErrors(err) {
		if fault.Unused && s.Drop(fault.Flag) {
			dropped = true
		}
	}
	return dropped
}

// failChecks records the faults that health.NewCheck has found.
func failChecks(s *flags.Set, err error) {
	for _, fault := range settingErrors(err) {
		if fault.Value == "" {
			s.FailSecret(fault.Flag, fault.Err)
			continue
		}
		s.FailValue(fault.Flag, fault.Value, fault.Err)
	}
}

// settingErrors returns the SettingErrors that err joins.
func settingErrors(err error) (all []*health.SettingError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, settingErrors(e)...)
		}
		return all
	}
	if fault, ok := errors.AsType[*health.SettingError](err); ok {
		return []*health.SettingError{fault}
	}
	return nil
}
