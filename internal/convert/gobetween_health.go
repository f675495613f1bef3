package convert

import (
	"regexp"
	"strconv"

	"linesplit/health"
)

// health reads [healthcheck].
func (v *gobetweenServer) health() {
	kind := v.find("healthcheck", "kind")
	var h health.Settings
	switch kind.text() {
	case "", "none":
		for _, e := range v.g.entries { // the rest of the table has no effect
			e.used = e.used || len(e.path) == 4 && e.path[1] == v.name && e.path[2] == "healthcheck"
		}
		return
	case "ping":
		h.Kind = string(health.TCP)
	case "probe":
		h = v.probe()
	case "exec":
		h = v.program()
	default:
		v.miss(kind, "linesplit has no such check")
	}
	if h.Kind == "" {
		return
	}
	v.s.setHealth(h)
	for name, key := range map[string]string{"interval": "health-interval", "timeout": "health-timeout"} {
		if d := v.parseDuration(v.find("healthcheck", name)); d > 0 {
			v.s.set(key, durationText(within(d)))
		}
	}
	for name, key := range map[string]string{"passes": "health-rise", "fails": "health-fall"} {
		n, err := strconv.Atoi(v.find("healthcheck", name).text())
		if err != nil || n < 1 {
			n = 1 // the default of gobetween
		}
		v.s.set(key, min(n, 1000))
	}
}

// program reads the check of kind exec.
func (v *gobetweenServer) program() health.Settings {
	e := v.find("healthcheck", "exec_command")
	positive, negative := v.find("healthcheck", "exec_expected_positive_output"), v.find("healthcheck", "exec_expected_negative_output")
	if e == nil {
		return health.Settings{}
	}
	v.miss(e, "linesplit gives the program one argument, HOST:PORT, and judges it by its exit code, not by its output")
	for _, output := range []*entry{positive, negative} {
		if output != nil {
			v.miss(output, "the check passes if the exit code is 0")
		}
	}
	return health.Settings{Kind: string(health.Exec), Command: e.text()}
}

// probe reads the check of kind probe: a text to send, and one to expect.
func (v *gobetweenServer) probe() health.Settings {
	protocol, send, expect := v.find("healthcheck", "probe_protocol"), v.find("healthcheck", "probe_send"), v.find("healthcheck", "probe_recv")
	regular := v.find("healthcheck", "probe_strategy").text() == "regexp"
	v.find("healthcheck", "probe_recv_len")
	if protocol == nil || send == nil || expect == nil {
		return health.Settings{}
	}
	wanted := "tcp"
	if v.tls {
		wanted = "tls"
	}
	if protocol.text() != wanted {
		v.miss(protocol, "linesplit checks a target by the protocol that it connects with, and not over UDP")
		return health.Settings{}
	}
	h := health.Settings{Kind: string(health.SendExpect), Expect: expect.text()}
	text, err := strconv.Unquote(`"` + send.text() + `"`)
	if err != nil {
		v.miss(send, "not a text with Go's escapes")
		return health.Settings{}
	}
	h.Send = escapeText(text)
	if !regular {
		start, err := strconv.Unquote(`"` + expect.text() + `"`)
		if err != nil {
			v.miss(expect, "not a text with Go's escapes")
			return health.Settings{}
		}
		h.Expect = "^" + textPattern(start)
	}
	if _, err := regexp.Compile(h.Expect); err != nil {
		v.miss(expect, "not a regular expression")
		return health.Settings{}
	}
	return h
}
