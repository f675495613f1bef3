package splitter

import (
	"bytes"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"linesplit/internal/accept"
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
	mu    sync.Mutex // guards the fields below
	given map[hintKey]struct{}
	logs  map[string]*loglimit.Limiter // of each format, so that none hides another
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

// log returns the limiter of a format, of which there are few.
func (h *hints) log(format string) *loglimit.Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.logs[format]
	if l == nil {
		if h.logs == nil {
			h.logs = make(map[string]*loglimit.Limiter)
		}
		l = &loglimit.Limiter{Burst: hintBurst}
		h.logs[format] = l
	}
	return l
}

// flush logs what is held back.
func (h *hints) flush() {
	h.mu.Lock()
	all := slices.Collect(maps.Values(h.logs))
	h.mu.Unlock()
	for _, l := range all {
		l.Flush()
	}
}

// sniff looks at the beginning of a stream, up to its first newline, for bytes that are no lines:
// b[from:] has just been read, and b[:from] carried over. Of a connection that carries datagrams it
// looks at the start of each read.
func (c *conn) sniff(b []byte, from int) {
	f := formatOf(b[:min(len(b), sniffBytes)], c.datagrams)
	switch began := c.received.Load().Bytes == uint64(from); {
	case c.datagrams:
		if f == nil || from > 0 {
			return
		}
	case began && f != nil:
	case bytes.IndexByte(b[from:], '\n') >= 0:
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
	v.hints.log(f.name).Warn(v.o.Logger, "a sender's bytes do not look like lines", attrs...)
}
