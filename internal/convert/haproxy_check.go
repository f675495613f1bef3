package convert

import (
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"linesplit/health"
)

// haCheck describes how a backend checks its servers.
type haCheck struct {
	option haLine   // the line that chooses the kind; without words: plain connections
	steps  []haLine // lines of tcp-check, http-check and external-check
}

// healthValues are the values of a service's check that a server may have of its own.
type healthValues struct {
	interval   time.Duration
	rise, fall int
}

// checkOption reads "option httpchk …" and the like; the last one counts.
func (v *haService) checkOption(l haLine) bool {
	v.check.option = l
	return true
}

// checkStep reads a line such as "http-check expect …".
func (v *haService) checkStep(l haLine) bool {
	v.check.steps = append(v.check.steps, l)
	return true
}

// health sets the check of the service, with the values of the first server that has one, and
// returns these values.
func (v *haService) health() healthValues {
	checked := slices.DeleteFunc(slices.Clone(v.servers), func(s haServer) bool { return !s.params.check })
	if len(checked) == 0 {
		return healthValues{}
	}
	first := checked[0].params
	values := healthValues{first.inter, first.rise, first.fall}
	settings := v.checkSettings(checked)
	if _, err := health.NewCheck(settings); err != nil && settings.Kind != string(health.Exec) {
		v.miss(v.check.option, v.check.option.String(), err.Error())
		settings = health.Settings{Kind: string(health.TCP)}
	}
	v.s.setHealth(settings)
	if settings.Kind == string(health.HTTP) {
		v.s.setWithComment("health", settings.Kind, v.methodComment())
	}
	v.s.set("health-interval", durationText(within(values.interval)))
	timeout := values.interval // the default of HAProxy
	if t := v.times["check"]; t > 0 {
		timeout = t
	}
	v.s.set("health-timeout", durationText(within(timeout)))
	v.s.set("health-rise", values.rise)
	v.s.set("health-fall", values.fall)
	for _, s := range v.servers {
		if !s.params.check {
			v.miss(s.line, "server "+s.name+" without check", "linesplit checks every target of a service")
		}
	}
	return values
}

// setHealth sets the flags of a check, except the interval and timeout, rise and fall.
func (s *section) setHealth(h health.Settings) {
	for key, value := range map[string]string{
		"health": h.Kind, "health-path": h.Path, "health-status": h.Status, "health-send": h.Send,
		"health-expect": h.Expect, "health-command": h.Command,
	} {
		if value != "" {
			s.set(key, value)
		}
	}
}

// checkSettings turns the lines about checks into settings for linesplit's check.
func (v *haService) checkSettings(checked []haServer) health.Settings {
	plain := health.Settings{Kind: string(health.TCP)}
	if slices.ContainsFunc(checked, func(s haServer) bool { return s.params.ssl || s.params.checkSSL }) {
		plain.Kind = string(health.TLS)
	}
	if elsewhere := v.missElsewhere(checked); elsewhere {
		if v.check.option.words != nil {
			v.missCheck("it asks another port or address than that of the server")
		}
		return plain
	}
	switch v.check.option.arg(1) {
	case "httpchk":
		return v.httpCheck()
	case "mysql-check":
		return health.Settings{Kind: string(health.MySQL)}
	case "redis-check":
		return health.Settings{Kind: string(health.Redis)}
	case "ssl-hello-chk":
		return health.Settings{Kind: string(health.TLS)}
	case "external-check":
		return v.externalCheck()
	case "tcp-check":
		return v.tcpCheck(plain)
	}
	return plain
}

// missElsewhere records the servers that HAProxy checks at another address than that of the server,
// and reports whether there are any.
func (v *haService) missElsewhere(checked []haServer) (found bool) {
	for _, s := range checked {
		text := ""
		if port := s.params.checkPort; port != "" && !strings.HasSuffix(s.address, ":"+port) {
			text = " port " + port
		}
		if address := s.params.checkAddr; address != "" && !strings.HasPrefix(s.address, address+":") {
			text += " addr " + address
		}
		if text != "" {
			v.miss(s.line, "server "+s.name+" … check"+text,
				`linesplit checks the address that it connects to; a program with health = "exec" can ask another`)
			found = true
		}
	}
	return found
}

// missCheck records all lines that describe the check.
func (v *haService) missCheck(why string) {
	v.miss(v.check.option, v.check.option.String(), why)
	for _, l := range v.check.steps {
		v.miss(l, l.String(), "")
	}
}

// methodComment returns a comment about the method of an HTTP check, if HAProxy would not use GET.
func (v *haService) methodComment() string {
	method := "OPTIONS"
	if o := v.check.option.words; len(o) > 3 { // option httpchk METHOD URI
		method = o[2]
	}
	for _, l := range v.check.steps {
		if i := slices.Index(l.words, "meth"); i > 0 && l.arg(1) == "send" {
			method = l.arg(i + 1)
		}
	}
	if method == "GET" {
		return ""
	}
	return "with GET in place of " + method
}

// httpCheck reads "option httpchk METHOD URI VERSION" and the lines of http-check.
func (v *haService) httpCheck() health.Settings {
	h := health.Settings{Kind: string(health.HTTP)}
	o := v.check.option
	switch len(o.words) {
	case 2:
	case 3:
		h.Path = o.words[2]
	default:
		h.Path = o.words[3]
	}
	if len(o.words) > 4 && !slices.Contains([]string{"HTTP/1.0", "HTTP/1.1", "HTTP/2"}, o.words[4]) {
		v.miss(o, "option httpchk … "+strings.Join(o.words[4:], " "), "linesplit asks with the headers that HTTP/1.1 needs")
	}
	for _, l := range v.check.steps {
		switch l.key() {
		case "http-check send":
			h.Path = v.httpSend(l, h.Path)
		case "http-check expect":
			h.Status = v.httpExpect(l, h.Status)
		case "http-check comment":
		default:
			v.miss(l, l.String(), "")
		}
	}
	return h
}

// httpSend reads "http-check send meth METHOD uri URI …", and returns the path.
func (v *haService) httpSend(l haLine, path string) string {
	for i := 2; i < len(l.words); i += 2 {
		switch l.words[i] {
		case "uri":
			path = l.arg(i + 1)
		case "meth", "ver":
		default:
			v.miss(l, "http-check send … "+strings.Join(l.words[i:], " "), "linesplit asks with the headers that HTTP/1.1 needs")
			return path
		}
	}
	return path
}

// httpExpect reads "http-check expect status STATUS", and returns the status.
func (v *haService) httpExpect(l haLine, status string) string {
	if l.arg(2) != "status" || len(l.words) != 4 {
		v.miss(l, l.String(), "linesplit judges the status alone")
		return status
	}
	return l.words[3]
}

// externalCheck reads "external-check command FILE".
func (v *haService) externalCheck() health.Settings {
	for _, l := range v.check.steps {
		if l.key() == "external-check command" && l.arg(2) != "" {
			v.miss(l, l.String(), "the program gets one argument from linesplit, the address of the target")
			return health.Settings{Kind: string(health.Exec), Command: l.arg(2)}
		}
	}
	v.missCheck("it names no program")
	return health.Settings{Kind: string(health.TCP)}
}

// tcpCheck reads the steps of "option tcp-check": at most one text to send, and one to expect. It
// returns plain, a check without texts, if there are none or linesplit cannot take the steps.
func (v *haService) tcpCheck(plain health.Settings) health.Settings {
	h := health.Settings{Kind: string(health.SendExpect)}
	secure := false // the check speaks TLS, though the servers do not
	for _, l := range v.check.steps {
		text := strings.Join(l.words[min(2, len(l.words)):], " ")
		var err error
		switch l.key() {
		case "tcp-check connect":
			if text == "ssl" && plain.Kind == string(health.TCP) {
				secure = true
			} else if text != "" && text != "ssl" {
				err = errors.New("linesplit checks the address that it connects to")
			}
		case "tcp-check send":
			err = setOnce(&h.Send, escapeText(text))
		case "tcp-check send-binary":
			var bytes []byte
			if bytes, err = hex.DecodeString(text); err == nil {
				err = setOnce(&h.Send, escapeText(string(bytes)))
			}
		case "tcp-check expect":
			err = setExpect(&h, l)
		case "tcp-check comment":
		default:
			err = errors.New("not a step of this check")
		}
		if err != nil {
			v.missCheck(err.Error())
			return plain
		}
	}
	if secure && h.Expect != "" {
		v.missCheck("linesplit checks a target by the protocol that it connects with")
	}
	if secure {
		return health.Settings{Kind: string(health.TLS)}
	}
	if h.Expect == "" {
		if h.Send != "" {
			v.missCheck("linesplit sends only where it expects an answer")
		}
		return plain
	}
	return h
}

// setExpect reads "tcp-check expect KIND PATTERN".
func setExpect(h *health.Settings, l haLine) error {
	text := strings.Join(l.words[min(3, len(l.words)):], " ")
	switch l.arg(2) {
	case "string":
		return setOnce(&h.Expect, textPattern(text))
	case "rstring":
		if _, err := regexp.Compile(text); err != nil {
			return errors.New("linesplit does not know this form of regular expressions")
		}
		return setOnce(&h.Expect, text)
	case "binary":
		bytes, err := hex.DecodeString(text)
		if err != nil {
			return errors.New("not hexadecimal")
		}
		return setOnce(&h.Expect, textPattern(string(bytes)))
	}
	return errors.New("linesplit expects a text or a regular expression")
}

// setOnce sets a text, or returns an error if it has been set before.
func setOnce(to *string, text string) error {
	if *to != "" {
		return errors.New("linesplit sends once and expects one answer")
	}
	*to = text
	return nil
}

// escapeText returns text with the escapes that health-send takes.
func escapeText(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\\':
			b.WriteString(`\\`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c >= 0x7f:
			b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// textPattern returns a regular expression that matches a text. Expressions match characters, not
// bytes: so if the text is not UTF-8, the expression matches any characters beyond ASCII where the
// text has bytes beyond ASCII.
func textPattern(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c < ' ' || c == 0x7f:
			b.WriteString(escapeText(text[i : i+1]))
		case c < utf8.RuneSelf:
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
		case utf8.ValidString(text):
			_, size := utf8.DecodeRuneInString(text[i:])
			b.WriteString(text[i : i+size])
			i += size - 1
		default:
			for i+1 < len(text) && text[i+1] >= utf8.RuneSelf {
				i++
			}
			b.WriteString(`[^\x00-\x7f]+`)
		}
	}
	return b.String()
}
