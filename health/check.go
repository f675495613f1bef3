package health

import (
	"context"
	"fmt"
	"net/url"
	"regexp"

	"linesplit/target"
)

// Kind names a kind of check.
type Kind string

// The kinds of checks. None, the zero value, is no check.
const (
	None       Kind = ""
	TCP        Kind = "tcp"         // a connection is accepted
	TLS        Kind = "tls"         // a TLS handshake succeeds
	HTTP       Kind = "http"        // the status of a GET is within a range
	SendExpect Kind = "send-expect" // the answer to a text matches a regular expression
	Redis      Kind = "redis"       // PING is answered
	MySQL      Kind = "mysql"       // the server's greeting comes
	Exec       Kind = "exec"        // a program ends with exit code 0
)

// Check is one way to find out whether a target works. It is an immutable value, made by
// [NewCheck]; the zero Check is no check. One Check serves any number of targets at a time.
type Check struct {
	kind    Kind
	path    *url.URL       // http
	low     int            // http: lowest good status
	high    int            // http: highest good status
	send    []byte         // send-expect, redis
	expect  *regexp.Regexp // send-expect, redis
	command string         // exec
}

// Kind returns the kind of check.
func (c Check) Kind() Kind { return c.kind }

// Enabled reports whether c checks anything.
func (c Check) Enabled() bool { return c.kind != None }

// appliesTo reports whether c can check a: only a program knows what to send to a receiver of
// datagrams.
func (c Check) appliesTo(a target.Address) bool {
	return c.kind == Exec || c.Enabled() && a.Scheme != target.SchemeUDP
}

// run checks a once. It returns nil if a works, and returns soon after ctx ends in any case.
func (c Check) run(ctx context.Context, a target.Address, o target.Options) error {
	o.Timeout = 0 // ctx limits the check
	if err := c.runKind(ctx, a, &o); err != nil {
		return fmt.Errorf("%s check: %w", c.kind, err)
	}
	return nil
}

func (c Check) runKind(ctx context.Context, a target.Address, o *target.Options) error {
	switch c.kind {
	case TCP:
		return c.talk(ctx, withoutTLS(a), o, sayNothing)
	case TLS:
		return c.handshake(ctx, a, o)
	case HTTP:
		return c.talk(ctx, a, o, func(conn *conversation) error { return c.get(conn, a) })
	case SendExpect, Redis:
		return c.talk(ctx, a, o, c.sendExpect)
	case MySQL:
		return c.talk(ctx, a, o, readGreeting)
	case Exec:
		return runProgram(ctx, c.command, a.Host)
	}
	return fmt.Errorf("unknown kind %q", c.kind)
}
