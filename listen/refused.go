package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"linesplit/internal/clienthello"
	"linesplit/internal/stranger"
)

// Reasons for which a Router refuses clients, besides the kinds of Rest.
const (
	reasonNoTLS     = "no-tls"
	reasonSlow      = "hello-timeout"
	reasonOverdue   = "hello-overdue"
	reasonTooLarge  = "hello-too-large"
	reasonMalformed = "hello-malformed"
	reasonBroken    = "hello-broken"
	// ReasonBusy is the only one of clients that are for one service; see [Routed.Busy].
	ReasonBusy = "busy"
)

// reasons are all reasons, in the order of the life of a connection.
var reasons = []string{
	reasonNoTLS, reasonSlow, reasonOverdue, reasonTooLarge, reasonMalformed, reasonBroken,
	UnknownName.String(), NoName.String(), Encrypted.String(), ReasonBusy,
}

var errHelloOverdue = errors.New("the ClientHello was overdue, and other connections waited for its place")

// Descriptions of the fatal alerts that refused clients get (RFC 8446, 6.2).
const (
	protocolVersion  = 70
	unrecognizedName = 112
)

// routerCounts are the counts of a Router.
type routerCounts struct {
	probes, acceptErrors atomic.Uint64
	refused              []atomic.Uint64 // by the index of the reason
}

// RouterStats counts since NewRouter.
type RouterStats struct {
	Probes       uint64 // connections that ended before their first byte
	AcceptErrors uint64
	Refused      []Refusals
}

// Refusals are the clients that were refused for one reason.
type Refusals struct {
	Reason string
	Count  uint64
}

// Stats returns the counts so far of all services together, with every reason for a refusal.
func (r *Router) Stats() RouterStats {
	s := RouterStats{Probes: r.counts.probes.Load(), AcceptErrors: r.counts.acceptErrors.Load()}
	for i, reason := range reasons {
		s.Refused = append(s.Refused, Refusals{reason, r.counts.refused[i].Load()})
	}
	return s
}

// refuse counts and logs a client that is refused.
func (r *Router) refuse(conn net.Conn, reason string, why slog.Attr) {
	for i := range reasons {
		if reasons[i] == reason {
			r.counts.refused[i].Add(1)
		}
	}
	r.refusals.Of(reason).Warn(r.logger, "TLS client refused", slog.String("reason", reason),
		slog.String("client", conn.RemoteAddr().String()), slog.String("listener", r.name()), why)
}

// refuseHello refuses a client for its ClientHello, or for what it has sent in its place.
func (r *Router) refuseHello(conn net.Conn, err error) {
	reason := reasonBroken
	switch {
	case err == errHelloOverdue:
		reason = reasonOverdue
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = reasonSlow
	case errors.Is(err, clienthello.ErrNotTLS):
		reason = reasonNoTLS
	case errors.Is(err, clienthello.ErrTooLarge):
		reason = reasonTooLarge
	case errors.Is(err, clienthello.ErrMalformed):
		reason = reasonMalformed
	}
	if reason != reasonNoTLS {
		r.refuse(conn, reason, slog.Any("err", err))
		resetConn(conn)
		return
	}
	r.refuse(conn, reason, slog.Any("err", fmt.Errorf("%w; the peer said %s", err, stranger.Quote(drain(conn)))))
	turnAway(conn, protocolVersion)
}

// drain reads what a client that is refused has sent. An alert would otherwise be lost to the reset
// by which a kernel answers the closing of a connection with unread bytes.
func drain(conn net.Conn) []byte {
	b := make([]byte, clienthello.MaxStream)
	conn.SetDeadline(time.Now().Add(time.Second)) // some of it is there, so that Read does not wait
	n, _ := conn.Read(b)
	return b[:n]
}

// turnAway ends a client whose bytes have been drained with an alert, which tells it more than a
// reset, and fits into any send buffer.
func turnAway(conn net.Conn, alert byte) {
	conn.Write([]byte{21, 3, 1, 0, 2, 2, alert})
	conn.Close()
}

// resetConn closes a connection with a reset if it can.
func resetConn(conn net.Conn) {
	setLinger(conn, 0)
	conn.Close()
}

func setLinger(conn net.Conn, seconds int) error {
	if c, ok := conn.(interface{ SetLinger(int) error }); ok {
		return c.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}

// shortened returns a name that a client has sent in a form that fits into a log line.
func shortened(name string) string {
	const most = 100
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], string(utf8.RuneError)) + "…"
}
