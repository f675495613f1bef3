//go:build linux

package e2e

import (
	"math/rand/v2"
	"net"

	"linesplit/internal/testrig"
)

// comeIdle keeps up to a hundred connections open that send nothing, on the plain and the TLS
// listener. They come and go one by one, half of them with a reset.
func (s *soak) comeIdle() {
	const most = 100
	var open []net.Conn
	s.come(func(rng *rand.Rand) error {
		if len(open) < most && rng.IntN(5) < 3 {
			conn, err := net.DialTimeout("tcp", pick(rng, s.Process.Listeners...), testrig.Patience)
			if err == nil {
				open = append(open, conn)
			}
			return nil
		}
		if len(open) > 0 {
			i := rng.IntN(len(open))
			if conn := open[i]; rng.IntN(2) == 0 {
				testrig.ResetConn(conn)
			} else {
				conn.Close()
			}
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
		return nil
	}, func() {
		for _, conn := range open {
			conn.Close()
		}
	})
}
