//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tripsWarm round trips come first and are not counted.
const tripsWarm = 1000

func (b *bench) roundtripTime() float64 {
	return float64(b.Reps*len(b.forwarders())) * (0.2 + float64(tripsWarm+b.size.trips)/float64(b.size.rate))
}

// Trips are paced: back to back, they show little but on which processors the kernel happened to put the three processes. The same
// proxy's p50 was then 28 µs in one run and 170 µs in the next.
func (b *bench) roundtrip(ctx context.Context) ([]section, error) {
	t, trials := oneTable(b.forwarders(), "p50 µs", "p99 µs", "p99.9 µs")
	err := b.turns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		p, err := b.roundtripRun(ctx, t.setup)
		if err != nil {
			return "", err
		}
		t.add(p[:]...)
		return fmt.Sprintf("%.0f %.0f %.0f µs", p[0], p[1], p[2]), nil
	})
	addRatios(t, relaying)
	return []section{{
		title: "Connection mode: round trip",
		about: fmt.Sprintf("%d round trips of %d bytes per run, %d per second, evenly spaced on one connection: from just before the write until all has come back.",
			b.size.trips, messageSize, b.size.rate),
		table:   t,
		figures: []figure{dots(t, "roundtrip", "Connection mode: round trip", "µs", t.columns...)},
	}}, err
}

// roundtripRun returns p50, p99 and p99.9 in microseconds.
func (b *bench) roundtripRun(ctx context.Context, s setup) (p [3]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	st, err := b.raise(ctx, s, "echo")
	if err != nil {
		return p, err
	}
	defer st.stop()
	client, err := spawn(ctx, "roundtrip", "-to", st.to[0], "-size", strconv.Itoa(messageSize), "-rate", strconv.Itoa(b.size.rate), "-count", strconv.Itoa(b.size.trips))
	if err != nil {
		return p, err
	}
	defer client.stop()
	fields, err := client.await("roundtrip")
	if err != nil {
		return p, err
	}
	if err := scan(fields, p[:]); err != nil {
		return p, err
	}
	client.stop()
	return p, st.proxy.stop()
}

// roundtripRole sends a message at each beat and waits until it is back, and says "roundtrip" with p50, p99 and p99.9 in microseconds.
// It blocks in system calls on a thread of its own, so that no scheduler but the kernel's is in what it measures.
func roundtripRole(o roleOptions, in *bufio.Scanner, say func(string, ...any)) error {
	runtime.LockOSThread()
	conn, err := net.Dial("tcp", o.to[0])
	if err != nil {
		return err
	}
	fd, err := blocking(conn.(*net.TCPConn))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	delays := make([]time.Duration, 0, tripsWarm+o.count)
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
	delays = delays[tripsWarm:]
	slices.Sort(delays)
	say("roundtrip %.1f %.1f %.1f", micros(delays, 0.5), micros(delays, 0.99), micros(delays, 0.999))
	in.Scan()
	return nil
}

func readAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}
