package relay

import (
	"context"
	"net"

	"linesplit/relay/internal/datagram"
)

// ServePackets forwards datagrams from pc to the targets with target.SchemeUDP, and their replies
// from pc to the clients. pc is a *net.UDPConn or has its methods. Each client address has a
// session, which counts as a connection in all limits and counts. Tuning.UDPSessions limits their
// number. A datagram that would need one more is dropped and counted as refused.
//
// When soft ends, it opens no more sessions and waits until each has been idle for
// Tuning.UDPIdleTimeout or 5 s, whichever is less. When Tuning.Drain has passed or hard ends, it
// ends them at once. It returns, with pc closed, when everything it started has ended. The error is
// nil unless pc was closed outside ServePackets. Several calls may run at the same time, one per
// socket.
func (r *Relay) ServePackets(soft, hard context.Context, pc net.PacketConn) error {
	defer pc.Close()
	v, err := datagram.New(pc, datagram.Options{
		Settings:      &r.settings,
		Clients:       r.clients,
		Backends:      r.backends,
		ReceiveFailed: &r.acceptFailed,
		Logger:        r.logger,
	})
	if err != nil {
		return err
	}
	r.register(v)
	defer r.unregister(v)
	return v.Serve(soft, hard)
}
