package splitter

import (
	"crypto/tls"
	"io"
	"time"
)

// answerWait limits the time for close_notify to enter the socket's buffer. That buffer is empty
// unless the sender has made crypto/tls answer it many times, by key updates, without reading.
const answerWait = time.Second

// answerEnd answers a TLS sender's close_notify with ours, once everything before it has been
// handed over. Many TLS libraries report an error, such as Python's UNEXPECTED_EOF, if the stream
// ends without it. Nothing else is ever written to a sender: if it closes at once, whatever we
// write turns its close into a reset. Here a reset costs nothing, since all it sent has been read.
func (c *conn) answerEnd(err error) {
	t, ok := c.nc.(*tls.Conn)
	if !ok || err != io.EOF || c.endedWithoutNotify(t) || c.sentFIN() {
		return
	}
	limit := time.AfterFunc(answerWait, func() { c.raw.Close() })
	defer limit.Stop()
	t.CloseWrite() // an error means that the sender has gone
}

// truncation returns err, or in its place errNoClose if TLS ended in mid-line without close_notify:
// the sender has died, or anything on the path has ended the stream. Many senders never send
// close_notify, so an end after a whole line is an orderly one.
func (c *conn) truncation(err error) error {
	t, ok := c.nc.(*tls.Conn)
	if ok && err == io.EOF && c.in.Unfinished() > 0 && c.endedWithoutNotify(t) {
		return errNoClose
	}
	return err
}

// endedWithoutNotify reports whether the stream below the TLS has ended, so that close_notify did
// not end it.
func (c *conn) endedWithoutNotify(t *tls.Conn) bool {
	below, ok := t.NetConn().(interface{ Ended() bool })
	return ok && below.Ended()
}

func (c *conn) sentFIN() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halfClosed
}
