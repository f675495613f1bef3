package acked

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Options are what connections to all targets share.
type Options struct {
	Dial    target.Options
	Rejects *Rejects
	Version string // of linesplit, for the User-Agent header and the offer of RELP
	// Note, unless nil, is called before a batch with an ID is sent, so that a later process can
	// send it again with that ID. first names the batch, as linebuf.Buffer.Batch does. runs are its
	// lines; of a batch whose name others have, too, it may be called with the lines of each. Note
	// keeps neither, and may wait for a moment.
	Note func(first linebuf.Mark, runs []linebuf.Run)
}

// Dial connects to a target whose scheme is one with acknowledgements. The context bounds the
// attempt only. The caller owns the connection, and must Close or Abort it.
func Dial(ctx context.Context, a target.Address, o *Options) (*Conn, error) {
	if err := a.CheckToken(); err != nil {
		return nil, fmt.Errorf("target %s: %w", a, err)
	}
	if a.RELP() {
		s, err := dialRELP(ctx, a, o)
		if err != nil {
			return nil, err
		}
		return newConn(a, s, o), nil
	}
	dial := func(ctx context.Context) (net.Conn, error) { return target.Dial(ctx, a, &o.Dial, nil) }
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	if a.Lumberjack() {
		if a.Batching.Lines == 0 {
			a.Batching.Lines = windowLines // a batch is one window: less is sent again after a failure
		}
		return newConn(a, newLumberjackSender(a, conn, dial), o), nil
	}
	s := newHTTPSender(a, &firstConn{conn: conn, made: time.Now(), dial: dial}, o)
	if a.Bulk() {
		s.useBulk()
	}
	return newConn(a, s, o), nil
}

// dialFunc makes a connection. Its error names the target.
type dialFunc func(context.Context) (net.Conn, error)

// firstFresh is how long the connection of a dial is good for the first request. Servers end
// connections on which nothing comes, and then a request on it would fail.
const firstFresh = time.Second

// firstConn makes connections. The first one is there already.
type firstConn struct {
	dial dialFunc
	made time.Time

	mu   sync.Mutex // guards the field below
	conn net.Conn   // nil: it is in use, or closed
}

// next returns a connection.
func (f *firstConn) next(ctx context.Context) (net.Conn, error) {
	if c := f.take(); c != nil {
		if time.Since(f.made) < firstFresh {
			return c, nil
		}
		c.Close()
	}
	return f.dial(ctx)
}

func (f *firstConn) take() net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.conn
	f.conn = nil
	return c
}

// close closes the first connection if it was not used.
func (f *firstConn) close() {
	if c := f.take(); c != nil {
		c.Close()
	}
}
