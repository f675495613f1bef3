package workerpool

import (
	"context"

	"linesplit/internal/acked"
	"linesplit/target"
)

// Conn is a connection to a target as a worker uses it; [target.Conn] documents each method. It
// is an interface so that the rules of delivery can be tested without a kernel.
type Conn interface {
	Write(p []byte, waiting func() error) (int, error)
	TryWrite(p []byte) (int, error)
	Progress() target.Progress
	Events() <-chan struct{}
	CloseWrite() error
	Abort()
	Close()
}

// Dial connects to a target. The context bounds the attempt only.
type Dial func(ctx context.Context, a target.Address) (Conn, error)

func dialWith(o target.Options, acknowledged acked.Options) Dial {
	acknowledged.Dial = o
	return func(ctx context.Context, a target.Address) (Conn, error) {
		if a.Acknowledges() {
			c, err := acked.Dial(ctx, a, &acknowledged)
			if err != nil {
				return nil, err // not a nil *acked.Conn in a Conn
			}
			return c, nil
		}
		c, err := target.DialTracked(ctx, a, &o)
		if err != nil {
			return nil, err // not a nil *target.Conn in a Conn
		}
		return c, nil
	}
}
