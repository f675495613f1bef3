package splitter

import (
	"bytes"
	"log/slog"
	"net"
	"sync"

	"linesplit/internal/accept"
	"linesplit/internal/framing"
	"linesplit/internal/loglimit"
)

const (
	maxHinted  = 1024 // hints remembered; beyond that linesplit forgets all of them
	hintBurst  = 3    // hints about one format logged at once in one loglimit.DefaultPeriod
	sniffBytes = 512  // looked at for a format's mark at the beginning of a stream
	crBytes    = 4096 // with a carriage return among them and no newline: the records end in CR
)

// hints tells the operator once per peer that its bytes cannot be lines. Such bytes are treated as
// any others: they are forwarded, or dropped by the rules for lines.
type hints struct {
	logs loglimit.Kinds // by format

	mu    sync.Mutex // guards the field below
	given map[hintKey]struct{}
}

// hintKey is the address of a peer, or its listener's name if it has none, and what its bytes look
// like.
type hintKey struct{ peer, format string }

// first reports whether the hint has not been given yet.
func (h *hints) first(key hintKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, given := h.given[key]; given {
		return false
	}
	if h.given == nil || len(h.given) >= maxHinted {
		h.given = make(map[hintKey]struct{})
	}
	h.given[key] = struct{}{}
	return true
}

// sniff looks at the beginning of a stream, up to its first newline, for bytes that are no lines:
// b[from:] has just been read, and b[:from] carried over. Of a connection that carries datagrams it
// looks at the start of each read.
func (c *conn) sniff(b []byte, from int) {
	f := formatOf(b[:min(len(b), sniffBytes)], c.datagrams)
	if c.v.framing != framing.Newline && f.isFraming() {
		f = nil
	}
	switch began := c.received.Load().Bytes == uint64(from); {
	case c.datagrams:
		if f == nil || from > 0 {
			return
		}
	case began && f != nil:
	case c.v.framing != framing.Newline, bytes.IndexByte(b[from:], '\n') >= 0:
		c.sniffing = false
		return
	case bytes.IndexByte(b[from:], 0) >= 0:
		f = &nulDelimited
	case len(b) >= crBytes && bytes.IndexByte(b[:len(b)-1], '\r') >= 0:
		f = &crDelimited
	default:
		return
	}
	c.sniffing = false
	c.v.hint(c, f)
}

func (v *serving) hint(c *conn, f *format) {
	listener := accept.Name(v.ln)
	peer := peerName(c.nc.RemoteAddr())
	key := hintKey{listener, f.name}
	if host, _, err := net.SplitHostPort(peer); err == nil {
		key.peer = host
	}
	if !v.hints.first(key) {
		return
	}
	attrs := []slog.Attr{slog.String("looks_like", f.name), slog.String("advice", f.advice), slog.String("listener", listener)}
	if peer != "" {
		attrs = append(attrs, slog.String("peer", peer))
	}
	v.hints.logs.Of(f.name).Warn(v.o.Logger, "a sender's bytes do not look like lines", attrs...)
}
