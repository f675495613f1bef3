package simulate

import (
	"context"
	"fmt"

	"linesplit/internal/simulate/send"
	"linesplit/linebuf"
)

// sender writes records at a steady rate over one connection.
type sender struct {
	id   int // starting at 1; its records have the number below
	rate int // lines per second

	sent linebuf.Count // valid once run has returned
}

// run sends until ctx ends and then closes the connection. Lines sent before an error are
// counted.
func (s *sender) run(ctx context.Context, addr string) error {
	summary, err := send.Run(ctx, send.Options{
		To:          []send.Dial{{Network: "tcp", Address: addr}},
		Rate:        float64(s.rate),
		FirstSender: uint32(s.id - 1),
	}, nil)
	s.sent = linebuf.Count{Lines: summary.Lines, Bytes: summary.Bytes}
	if err == nil && summary.Failed() > 0 {
		err = fmt.Errorf("its connection failed: %v", summary.Clients[send.Stream].Reasons)
	}
	if err != nil {
		return fmt.Errorf("sender %d: %w", s.id, err)
	}
	return nil
}
