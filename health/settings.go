package health

import (
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Settings are a check as an operator writes it. All empty: no check.
type Settings struct {
	Kind    string // one of the kinds
	Path    string // http: path, and perhaps query, to ask for; empty is /
	Status  string // http: status that is good, such as 200, or range, such as 200-399, which is what empty means
	Send    string // send-expect: what to send, with Go's escapes (\r\n, \x00); empty where the target speaks first
	Expect  string // send-expect: RE2 expression that what has come so far must match
	Command string // exec: program; gets the target's host:port or path as its one argument
}

// The default range of good statuses: what says neither that the client nor that the server is at
// fault.
const defaultLowStatus, defaultHighStatus = 200, 399

// flagSend sets a text that may hold a password: errors do not contain it.
const flagSend = "health-send"

// redisAnswers: one that asks for a password is alive. One that loads its data (-LOADING) is not
// ready.
const redisAnswers = `^(\+PONG|-NOAUTH)`

// SettingError is a fault in one of the Settings.
type SettingError struct {
	Flag  string // that sets it, without the dash
	Value string // empty for one that is missing, and for what may hold a password
	Err   error  // what would be right

	Unused bool // the setting belongs to another kind of check
}

// Error names the flag, and the value as it was written: a regular expression with its backslashes
// doubled would be another one.
func (e *SettingError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("-%s: %v", e.Flag, e.Err)
	}
	return fmt.Sprintf(`-%s "%s": %v`, e.Flag, e.Value, e.Err)
}

// Unwrap returns e.Err.
func (e *SettingError) Unwrap() error { return e.Err }

// fault returns a SettingError, or nil if err is.
func fault(flag, value string, err error) error {
	if err == nil {
		return nil
	}
	return &SettingError{Flag: flag, Value: value, Err: err}
}

// NewCheck judges s. Its errors are SettingErrors, several of them joined.
func NewCheck(s Settings) (Check, error) {
	c := Check{kind: Kind(s.Kind)}
	err := s.rejectUnused()
	switch c.kind {
	case None, TCP, TLS, MySQL:
	case HTTP:
		err = errors.Join(err, c.setPath(s.Path), c.setStatus(s.Status))
	case SendExpect:
		err = errors.Join(err, c.setSend(s.Send), c.setExpect(s.Expect))
	case Redis:
		c.send, c.expect = []byte("PING\r\n"), regexp.MustCompile(redisAnswers)
	case Exec:
		err = errors.Join(err, c.setCommand(s.Command))
	default: // what other flags belong to is not known
		err = fault("health", s.Kind, errors.New("there are tcp, tls, http, send-expect, redis, mysql and exec"))
	}
	if err != nil {
		return Check{}, err
	}
	return c, nil
}

// rejectUnused finds options that another kind of check has.
func (s Settings) rejectUnused() error {
	var errs []error
	for _, o := range []struct {
		flag, value string
		kind        Kind
	}{
		{"health-path", s.Path, HTTP},
		{"health-status", s.Status, HTTP},
		{flagSend, s.Send, SendExpect},
		{"health-expect", s.Expect, SendExpect},
		{"health-command", s.Command, Exec},
	} {
		if o.value != "" && Kind(s.Kind) != o.kind {
			value := o.value
			if o.flag == flagSend {
				value = ""
			}
			errs = append(errs, &SettingError{
				Flag: o.flag, Value: value, Err: fmt.Errorf("only valid with -health %s", o.kind), Unused: true,
			})
		}
	}
	return errors.Join(errs...)
}

func (c *Check) setPath(text string) error {
	if text == "" {
		text = "/"
	}
	u, err := url.ParseRequestURI(text)
	if err != nil || !strings.HasPrefix(text, "/") {
		return fault("health-path", text, errors.New("not a path: write one such as /healthz"))
	}
	c.path = u
	return nil
}

func (c *Check) setStatus(text string) (err error) {
	c.low, c.high, err = parseStatus(text)
	return fault("health-status", text, err)
}

// parseStatus reads 200 or 200-399.
func parseStatus(text string) (low, high int, err error) {
	if text == "" {
		return defaultLowStatus, defaultHighStatus, nil
	}
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	low, errLow := strconv.Atoi(from)
	high, errHigh := strconv.Atoi(to)
	if errLow != nil || errHigh != nil || len(from) != 3 || len(to) != 3 || low < 200 || high > 599 {
		return 0, 0, errors.New("write a status from 200 to 599 such as 200, or a range such as 200-399")
	}
	if low > high {
		return 0, 0, fmt.Errorf("the range is empty: write %d-%d", high, low)
	}
	return low, high, nil
}

func (c *Check) setSend(text string) (err error) {
	c.send, err = unescape(text)
	return fault(flagSend, "", err)
}

// unescape resolves Go's escapes. A quotation mark may be written with or without a backslash.
func unescape(text string) ([]byte, error) {
	var out []byte
	for rest := text; rest != ""; {
		var quote byte
		if strings.HasPrefix(rest, `\"`) || strings.HasPrefix(rest, `\'`) {
			quote = rest[1]
		}
		char, wide, tail, err := strconv.UnquoteChar(rest, quote)
		switch {
		case err != nil:
			return nil, fmt.Errorf(`"%.2s" is no escape: there are \r, \n, \t, \x00 and those of Go; a backslash is \\`, rest)
		case char < utf8.RuneSelf, !wide && rest[0] == '\\':
			out = append(out, byte(char))
		default: // as it was, also where it is no UTF-8
			out = appendRune(out, rest[:len(rest)-len(tail)], char)
		}
		rest = tail
	}
	return out, nil
}

func appendRune(out []byte, source string, char rune) []byte {
	if source[0] != '\\' {
		return append(out, source...)
	}
	return utf8.AppendRune(out, char)
}

func (c *Check) setExpect(text string) (err error) {
	if text == "" {
		return fault("health-expect", "", errors.New("-health send-expect needs it: write a regular expression that a good answer matches, such as ^220"))
	}
	c.expect, err = regexp.Compile(text)
	if err != nil {
		return fault("health-expect", text, fmt.Errorf("not a regular expression: %w", err))
	}
	return nil
}

func (c *Check) setCommand(text string) error {
	if text == "" {
		return fault("health-command", "", errors.New("-health exec needs it: write the path of a program"))
	}
	path, err := exec.LookPath(text)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return fault("health-command", text, fmt.Errorf("%w; write the path of a program, without arguments", err))
	}
	c.command, err = filepath.Abs(path)
	return fault("health-command", text, err)
}
