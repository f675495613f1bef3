//go:build linux

package e2e

import (
	"math/rand/v2"
	"net"
	"time"

	"linesplit/internal/testrig"
)

// idle keeps up to a hundred connections open that send nothing, on the plain and the TLS listener,
// until stop is closed. They come and go one by one, half of them with a reset.
func (s *soak) idle(stop <-chan struct{}, rng *rand.Rand) {
	const most = 100
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for !closed(stop) {
		if len(open) < most && rng.IntN(5) < 3 {
			if conn, err := net.DialTimeout("tcp", pick(rng, s.Process.Listeners...), testrig.Patience); err == nil {
				open = append(open, conn)
			}
		} else if len(open) > 0 {
			i := rng.IntN(len(open))
			if conn := open[i]; rng.IntN(2) == 0 {
				testrig.ResetConn(conn)
			} else {
				conn.Close()
			}
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
		s.pause(rng)
	}
}

// pause is the time between two clients that come one after the other.
func (s *soak) pause(rng *rand.Rand) { time.Sleep(time.Duration(rng.Int64N(int64(s.hold / 5)))) }
