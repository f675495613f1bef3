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
	HTTP       Kind = "http"        // a GET is answered with a status within a range
	SendExpect Kind = "send-expect" // what is sent is answered with something that matches an expression
	Redis      Kind = "redis"       // PING is answered
	MySQL      Kind = "mysql"       // the server's greeting comes
	Exec       Kind = "exec"        // a program ends with exit code 0
)

// Check is one way to find out whether a target is well. It is an immutable value, made by
// [NewCheck]; the zero Check is none. One Check serves any number of targets at a time.
type Check struct {
	kind    Kind
	path    *url.URL // http
	low     int      // http: the statuses that are good
	high    int
	send    []byte         // send-expect, redis
	expect  *regexp.Regexp // send-expect, redis
	command string         // exec
}

// Kind returns what kind of check it is.
func (c Check) Kind() Kind { return c.kind }

// Enabled says whether c checks anything.
func (c Check) Enabled() bool { return c.kind != None }

// suits says whether c can be asked about a: only a program knows what to say to a receiver of
// datagrams.
func (c Check) suits(a target.Address) bool {
	return c.kind == Exec || c.Enabled() && a.Scheme != target.SchemeUDP
}

// run checks a once. It returns nil if a is well, and soon after the end of ctx in any case.
func (c Check) run(ctx context.Context, a target.Address, o target.Options) error {
	o.Timeout = 0 // ctx has the limit
	if err := c.runKind(ctx, a, &o); err != nil {
		return fmt.Errorf("%s check: %w", c.kind, err)
	}
	return nil
}

func (c Check) runKind(ctx context.Context, a target.Address, o *target.Options) error {
	switch c.kind {
	case TCP:
		return c.talk(ctx, plain(a), o, nothing)
	case TLS:
		return c.shakeHands(ctx, a, o)
	case HTTP:
		return c.talk(ctx, a, o, func(conn *conversation) error { return c.get(conn, a) })
	case SendExpect, Redis:
		return c.talk(ctx, a, o, c.sendExpect)
	case MySQL:
		return c.talk(ctx, a, o, greeting)
	case Exec:
		return execute(ctx, c.command, a.Host)
	}
	return fmt.Errorf("unknown kind %q", c.kind)
}
