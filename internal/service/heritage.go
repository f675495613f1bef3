package service

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"syscall"

	"linesplit/internal/config"
	"linesplit/listen"
)

// opened is a listener of an inbound with the address that it was opened for.
type opened struct {
	spec     listen.Spec
	listener any // net.Listener or net.PacketConn
}

// heritage is the sockets of services that a reload ends, for the services that it begins. Their
// addresses listen all the time, though the services change. nil has none. It belongs to the
// goroutine of the reload.
type heritage struct {
	from  []*inbound
	taken []taken
}

// taken is a socket that a new service has, too.
type taken struct {
	from     *inbound
	listener any // of from
	share    *listen.Shared
}

// leave adds the sockets of a service that ends.
func (h *heritage) leave(s *service) {
	if s.in != nil {
		h.from = append(h.from, s.in)
	}
}

// take returns further descriptors of the sockets that were opened for an address, or nil: that of
// before, if it has any, else of another service. Where the kernel chooses the port, only before
// has them.
func (h *heritage) take(spec listen.Spec, before *inbound) []*listen.Shared {
	if h == nil {
		return nil
	}
	if shares := h.takeFrom(before, spec); shares != nil || config.ChoosesPort(spec) {
		return shares
	}
	for _, in := range h.from {
		if shares := h.takeFrom(in, spec); shares != nil {
			return shares
		}
	}
	return nil
}

func (h *heritage) takeFrom(in *inbound, spec listen.Spec) (shares []*listen.Shared) {
	if in == nil {
		return nil
	}
	for _, o := range in.opened {
		if h.has(o.listener) || !spec.MayShare(o.spec) || len(shares) > 0 && !spec.Inherited() {
			continue
		}
		share, err := listen.Share(o.listener)
		if err != nil { // it is closed already: the address is free, or will be soon
			continue
		}
		h.taken = append(h.taken, taken{in, o.listener, share})
		shares = append(shares, share)
	}
	return shares
}

func (h *heritage) has(listener any) bool {
	return slices.ContainsFunc(h.taken, func(t taken) bool { return t.listener == listener })
}

// passOn tells the listeners whose sockets were taken that others have taken their place.
func (h *heritage) passOn() {
	for _, t := range h.taken {
		t.share.PassOn()
		t.from.passedOn.Store(true)
	}
}

// await waits, for a while at most, until these listeners accept nothing any more: a client that
// connects after the reload is one of a new service.
func (h *heritage) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, takeOverTime)
	defer cancel()
	for _, t := range h.taken {
		t.share.Await(ctx)
	}
}

// openError is why a listener could not be opened.
type openError struct {
	error
	spec listen.Spec
}

// Unwrap returns the cause, for package errors.
func (e openError) Unwrap() error { return e.error }

// mayBlock reports whether a listener of a service that ends may be why an address cannot be
// listened on: it has the same port, or the same path.
func (h *heritage) mayBlock(err error) bool {
	failed, ok := errors.AsType[openError](err)
	if !ok || !errors.Is(err, syscall.EADDRINUSE) {
		return false
	}
	for _, in := range h.from {
		for _, o := range in.opened {
			if sharesPlace(failed.spec, o) {
				return true
			}
		}
	}
	return false
}

func sharesPlace(spec listen.Spec, o opened) bool {
	if spec.UDP() != o.spec.UDP() {
		return false
	}
	if port := config.PortOf(spec); port != "" {
		return port == portOf(o.listener)
	}
	return config.ListenerKey(spec) == config.ListenerKey(o.spec)
}

// portOf returns the port of a listener, or "".
func portOf(listener any) string {
	var a net.Addr
	switch l := listener.(type) {
	case net.Listener:
		a = l.Addr()
	case net.PacketConn:
		a = l.LocalAddr()
	}
	switch a := a.(type) {
	case *net.TCPAddr:
		return strconv.Itoa(a.Port)
	case *net.UDPAddr:
		return strconv.Itoa(a.Port)
	}
	return ""
}

// inherit opens the listener for spec from the sockets of a service that ends. It returns false if
// there are none.
func (in *inbound) inherit(spec listen.Spec, o openOptions) (found bool, err error) {
	shares := o.heritage.take(spec, o.before)
	for i, share := range shares {
		if err = in.openShare(share, spec, o); err != nil {
			for _, rest := range shares[i+1:] {
				rest.Close()
			}
			break
		}
	}
	return shares != nil, err
}

func (in *inbound) openShare(share *listen.Shared, spec listen.Spec, o openOptions) error {
	if o.mode == config.ConnectionMode && (spec.UDP() || share.Datagrams()) {
		pc, err := share.OpenPacket(spec, in.guard)
		if err == nil {
			in.addPackets(spec, pc)
		}
		return err
	}
	ln, err := share.Open(spec, o.tls, in.guard)
	if err == nil {
		in.addListener(spec, ln)
	}
	return err
}

func (in *inbound) addListener(spec listen.Spec, ln net.Listener) {
	in.listeners = append(in.listeners, ln)
	in.opened = append(in.opened, opened{spec, ln})
}

func (in *inbound) addPackets(spec listen.Spec, pc net.PacketConn) {
	in.packets = append(in.packets, pc)
	in.opened = append(in.opened, opened{spec, pc})
}
