//go:build linux

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// WarmupTrips is the number of round trips that come first and are not counted.
const WarmupTrips = 1000

// roundtripRole sends a message at each tick and waits until it comes back. It replies "roundtrip"
// with p50, p99 and p99.9 in microseconds. It makes raw system calls, so that only the kernel's
// scheduler affects the result.
func roundtripRole(o Options, in *bufio.Scanner, reply Reply) error {
	allowRaw(1)
	conn, err := net.Dial("tcp", o.To[0])
	if err != nil {
		return err
	}
	fd, err := blocking(conn.(*net.TCPConn))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	delays := make([]time.Duration, 0, WarmupTrips+o.count)
	message, echoed := makeLines(1, 1000)[:o.size], make([]byte, o.size)
	tick, err := newPacer(o.rate)
	if err != nil {
		return err
	}
	for n := range cap(delays) {
		tick.await(n)
		begin := time.Now()
		if err := writeAll(fd, message); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if err := readAll(fd, echoed); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		delays = append(delays, time.Since(begin))
		if !bytes.Equal(echoed, message) {
			return fmt.Errorf("%q came back as %q", message, echoed)
		}
	}
	delays = delays[WarmupTrips:]
	slices.Sort(delays)
	reply("roundtrip %.1f %.1f %.1f", micros(delays, 0.5), micros(delays, 0.99), micros(delays, 0.999))
	in.Scan()
	return nil
}
