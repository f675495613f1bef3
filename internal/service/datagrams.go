package service

import (
	"context"
	"log/slog"
	"net"
	"time"

	"linesplit/admin"
	"linesplit/internal/accept"
	"linesplit/listen"
)

// datagramInterval is the time between two looks at what the kernel has dropped.
const datagramInterval = 10 * time.Second

// datagramListener is one udp:// listener.
type datagramListener struct {
	name   string
	counts listen.DatagramCounts
}

func packetsName(pc net.PacketConn) string { return "udp://" + pc.LocalAddr().String() }

func (in *inbound) datagramListeners() (all []datagramListener) {
	for _, ln := range in.listeners {
		if counts, ok := listen.Datagrams(ln); ok {
			all = append(all, datagramListener{accept.Name(ln), counts})
		}
	}
	for _, pc := range in.packets {
		if counts, ok := listen.Datagrams(pc); ok {
			all = append(all, datagramListener{packetsName(pc), counts})
		}
	}
	return all
}

func (in *inbound) datagramStatus() (all []admin.DatagramListener) {
	for _, l := range in.datagramListeners() {
		all = append(all, admin.DatagramListener{
			Listener: l.name, Dropped: l.counts.Dropped, ReceiveBuffer: uint64(l.counts.Granted),
		})
	}
	return all
}

// droppedDatagrams returns how many datagrams the kernel has dropped at all listeners, also after
// they were closed.
func (in *inbound) droppedDatagrams() (n uint64) {
	for _, l := range in.datagramListeners() {
		n += l.counts.Dropped
	}
	return n
}

// warnOfSmallBuffer logs that the kernel holds fewer datagrams than it was asked to, since their
// reader is told nothing of those that it drops.
func warnOfSmallBuffer(logger *slog.Logger, l datagramListener) {
	if l.counts.Granted < l.counts.Asked {
		logger.Warn("the receive buffer is smaller than asked for: raise net.core.rmem_max, or bursts may be lost",
			"listener", l.name, "bytes", l.counts.Granted, "asked", l.counts.Asked)
	}
}

// watchDatagrams logs what the kernel drops at udp:// listeners, in sum, until ctx ends, and once
// more then.
func (in *inbound) watchDatagrams(ctx context.Context, logger *slog.Logger) {
	before := map[string]uint64{}
	if len(in.datagramListeners()) == 0 {
		return
	}
	for ctx.Err() == nil {
		accept.Pause(ctx, datagramInterval)
		for _, l := range in.datagramListeners() {
			if dropped := l.counts.Dropped - before[l.name]; dropped > 0 {
				before[l.name] = l.counts.Dropped
				logger.Warn("the kernel has dropped datagrams, most likely since the receive buffer was full",
					"listener", l.name, "datagrams", dropped, "total", l.counts.Dropped)
			}
		}
	}
}
