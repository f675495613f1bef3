package splitter

import (
	"io"
	"log/slog"
	"net"
	"time"

	"linesplit/internal/accept"
)

// datagramsRetry is how long reading datagrams rests after a failure.
const datagramsRetry = 100 * time.Millisecond

// noteEnd counts and reports a connection whose end is not an orderly one: reading has failed, or
// standard input was left before its end. Ends that linesplit has caused have counts of their own.
func (c *conn) noteEnd(err error) {
	switch {
	case err == io.EOF, c.cutOffBy(err), c.hasTimedOut():
	case c.stdin:
		c.v.inputFailed(err)
	case err == errTooLong, err == errUncounted:
	case c.datagrams:
		c.v.datagramsFailed.Warn(c.v.o.Logger, "reading datagrams failed, trying again",
			slog.String("listener", accept.Name(c.v.ln)), slog.Any("err", err))
		accept.Pause(c.v.hard, datagramsRetry)
	default:
		c.v.counters.broken.Add(1)
	}
}

// cutOffBy reports whether err means that the connection had not ended when the drain or the
// process did.
func (c *conn) cutOffBy(err error) bool {
	return err == errCutOff || err != io.EOF && c.v.hard.Err() != nil
}

func isStdin(nc net.Conn) bool {
	a := nc.RemoteAddr()
	return a != nil && a.Network() == "stdin"
}

func (c *conn) hasTimedOut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timedOut != nil
}

// inputFailed logs that standard input cannot be read to its end, and makes Serve return the error:
// there is no sender that would notice and send the rest again.
func (v *serving) inputFailed(err error) {
	v.o.Logger.Error("standard input failed, its rest is not read", "err", err)
	v.inputErr = err
}
