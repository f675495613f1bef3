package proof

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// busyUnixTargets keeps the backlogs of the targets full, as many clients of a busy server do. Each
// further connect then fails at once with EAGAIN, and a proxy may take the targets for dead.
func busyUnixTargets(s *stage) {
	s.startLoad(2, steadyRate)
	s.awaitLines(400)
	var full, served int
	for end := time.Now().Add(time.Duration(s.size(6, 3)) * time.Second); !s.failed() && time.Now().Before(end); {
		for _, t := range s.targets {
			conn, err := net.Dial("unix", t.Addr())
			switch {
			case err == nil:
				conn.Close()
				served++
			case errors.Is(err, syscall.EAGAIN):
				full++
			}
		}
		s.wait(pollEvery)
	}
	s.recordStaged(full > 0, "connects that met a full backlog: %d, that met none: %d", full, served)
	for _, p := range s.proxies {
		if strings.Contains(p.output.String(), "target down") {
			s.fail(Failed, "linesplit took a busy target for one that is down: %s", p.output)
		}
	}
	s.awaitLines(400)
}
