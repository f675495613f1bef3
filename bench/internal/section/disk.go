//go:build linux

package section

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/bench/internal/contender"
)

// diskAlone is the row of a plain file that is written and synced, with no lines and no proxy.
const diskAlone = "disk alone"

// diskBlock is the size of one write of writeFile in bytes.
const diskBlock = 128 << 10

// measureDisk writes as many bytes to a file as a trial moves, and adds the speed.
func (b *Bench) measureDisk(t *trial) (string, error) {
	seconds, err := writeFile(b.Disk, t.spec.Bytes, contender.SyncInterval)
	if err != nil {
		return "", err
	}
	speed := float64(t.spec.Bytes) / 1e6 / seconds
	t.add(speed)
	return fmt.Sprintf("%6.0f MB/s", speed), nil
}

// writeFile writes a new file in a folder, syncs it every interval meanwhile and once at the end,
// and removes it. It returns the seconds that this took without the removal.
func writeFile(folder string, size int64, interval time.Duration) (seconds float64, err error) {
	f, err := os.CreateTemp(folder, "file-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return 0, fmt.Errorf("allocate %s: %w", f.Name(), err)
	}
	begin := time.Now()
	written, synced := make(chan struct{}), make(chan error, 1)
	go func() { synced <- syncUntil(written, f, interval) }()
	err = writeBlocks(f, size)
	close(written)
	err = errors.Join(err, <-synced)
	return time.Since(begin).Seconds(), err
}

func writeBlocks(f *os.File, size int64) error {
	block := bytes.Repeat([]byte("0123456789abcdef"), diskBlock/16)
	for size > 0 {
		n, err := f.Write(block[:min(size, diskBlock)])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// syncUntil syncs a file every interval, and a last time when written is closed.
func syncUntil(written <-chan struct{}, f *os.File, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-written:
			last = true
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return fmt.Errorf("sync %s: %w", f.Name(), err)
		}
	}
	return nil
}
