package send

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Why connections fail, in addition to errClosed and the errors of other packages.
var (
	errHandshake = errors.New("TLS handshake")
	errNoAnswer  = errors.New("no acknowledgement in time")
	errStalled   = errors.New("the peer stopped acknowledging")
	errStopped   = errors.New("the run ended before there was a connection")
)

// reason returns the word under which failures like err are counted.
func reason(err error) string {
	_, isName := errors.AsType[*net.DNSError](err)
	network, isNetwork := errors.AsType[net.Error](err)
	dial, isDial := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, errClosed):
		return "closed"
	case errors.Is(err, errHandshake):
		return "tls"
	case errors.Is(err, errNoAnswer):
		return "no_answer"
	case errors.Is(err, errStalled):
		return "stalled"
	case isName:
		return "no_address"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // of a Unix socket
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "reset"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "no_ports_or_files" // at our end
	case isNetwork && network.Timeout() && isDial && dial.Op == "dial":
		return "dial_timeout"
	case isNetwork && network.Timeout():
		return "stalled"
	}
	return "other"
}
