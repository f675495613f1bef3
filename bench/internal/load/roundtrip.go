//go:build linux

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// WarmupTrips round trips come first and are not counted.
const WarmupTrips = 1000

// roundtripRole sends a message at each beat and waits until it is back, and says "roundtrip" with p50, p99 and p99.9 in microseconds.
// It blocks in system calls on a thread of its own, so that no scheduler but the kernel's is in what it measures.
func roundtripRole(o Options, in *bufio.Scanner, say func(string, ...any)) error {
	runtime.LockOSThread()
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
	message, reply := compose(1, 1000)[:o.size], make([]byte, o.size)
	beat, err := newMetronome(o.rate)
	if err != nil {
		return err
	}
	for n := range cap(delays) {
		beat.await(n)
		begin := time.Now()
		if err := writeAll(fd, message); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if err := readAll(fd, reply); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		delays = append(delays, time.Since(begin))
		if !bytes.Equal(reply, message) {
			return fmt.Errorf("%q came back as %q", message, reply)
		}
	}
	delays = delays[WarmupTrips:]
	slices.Sort(delays)
	say("roundtrip %.1f %.1f %.1f", micros(delays, 0.5), micros(delays, 0.99), micros(delays, 0.999))
	in.Scan()
	return nil
}
