package target

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// shortages are the errors of a system call that found no descriptor, no memory or no local port.
var shortages = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL,
}

// IsLocalError reports whether a dial failed because this machine ran out of descriptors, memory
// or, with many connections to one target, local ports. Such an error is no evidence that the
// target is down. A target that this machine has no address to reach it from, such as an IPv6
// target on a host without IPv6, is another matter: no later dial would reach it either.
func IsLocalError(err error) bool {
	if _, ok := errors.AsType[*noSourceError](err); ok {
		return false
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookupShortage(lookup) {
		return true
	}
	return noDatagramPort(err) ||
		slices.ContainsFunc(shortages, func(shortage syscall.Errno) bool { return errors.Is(err, shortage) })
}

// lookupShortage reports whether a name was not resolved for a shortage. A DNSError has its cause
// as text only.
func lookupShortage(err *net.DNSError) bool {
	return slices.ContainsFunc(append(shortages, syscall.EAGAIN), func(shortage syscall.Errno) bool {
		return strings.Contains(err.Err, shortage.Error())
	})
}

// noDatagramPort reports whether all local UDP ports are taken, which Linux reports as EAGAIN. From
// the connect of a Unix socket, EAGAIN means that the listener's backlog is full.
func noDatagramPort(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && strings.HasPrefix(op.Net, "udp") && errors.Is(op.Err, syscall.EAGAIN)
}

// diagnose adds to the error of a dial what the error does not show by itself.
func diagnose(err error) error {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return diagnoseLookup(err)
	}
	op, ok := errors.AsType[*net.OpError](err)
	if ok && op.Net == SchemeUnix && errors.Is(op.Err, syscall.ECONNREFUSED) {
		return diagnosePath(err, op.Addr)
	}
	if ok && errors.Is(op.Err, syscall.EADDRNOTAVAIL) && !hasSource(op.Addr) {
		return &noSourceError{err}
	}
	return err
}

// diagnosePath adds that a path is not that of a socket: connect(2) reports that as if nothing
// listened there.
func diagnosePath(err error, path net.Addr) error {
	if path == nil {
		return err
	}
	if other := (Address{Scheme: SchemeUnix, Host: path.String()}).CheckSocket(); other != nil {
		return fmt.Errorf("%w: %w", err, other)
	}
	return err
}

// diagnoseLookup adds the shortage of descriptors, if there is one now. Without a descriptor the
// resolver cannot read /etc/hosts and /etc/resolv.conf, and reports that the name does not exist.
func diagnoseLookup(err error) error {
	f, shortage := os.Open(os.DevNull)
	if shortage == nil {
		f.Close()
		return err
	}
	return fmt.Errorf("%w: %w", err, shortage)
}

// noSourceError is the error of a dial to an address that this machine has no local address for.
type noSourceError struct{ err error }

func (e *noSourceError) Error() string {
	return e.err.Error() + ": this machine has no address to reach it from"
}

func (e *noSourceError) Unwrap() error { return e.err }

// hasSource reports whether the kernel has a local address to reach a from. A failed TCP connect
// does not show that: EADDRNOTAVAIL is also its error when all local ports are taken. Connecting a
// UDP socket sends nothing, chooses a local address in the same way, and reports a lack of ports as
// EAGAIN.
func hasSource(a net.Addr) bool {
	to, ok := a.(*net.TCPAddr)
	if !ok {
		return false // UDP
	}
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: to.IP, Port: to.Port, Zone: to.Zone})
	if err != nil {
		return !errors.Is(err, syscall.EADDRNOTAVAIL)
	}
	conn.Close()
	return true
}
