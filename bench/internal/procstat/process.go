//go:build linux

// Package procstat reads from /proc the processor time, memory and descriptors that processes use,
// and the state of the machine.
package procstat

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// userHZ is the unit of processor time in /proc: 1/100 s on all Linux architectures that Go
// supports.
const userHZ = 100

// WithChildren returns the IDs of a process and its children. nginx, for example, does its work in
// children.
func WithChildren(pid int) ([]int, error) {
	all := []int{pid}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // of each thread
	if len(tasks) == 0 {
		return all, fmt.Errorf("no /proc/%d/task/*/children: the process has ended, "+
			"or the kernel was built without CONFIG_PROC_CHILDREN", pid)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("unexpected %s: %s", task, text)
			}
			all = append(all, child)
		}
	}
	return all, err
}

// total returns the sum of a meter over a process and its children. A child that ends meanwhile is
// left out; its processor time then counts as its parent's.
func total[N int | int64 | float64](pid int, meter func(pid int) (N, error)) (sum N, err error) {
	all, err := WithChildren(pid)
	if err != nil {
		return sum, err
	}
	for _, one := range all {
		n, err := meter(one)
		if err != nil && one == pid {
			return sum, err
		}
		sum += n
	}
	return sum, nil
}

// TotalCPUSeconds returns the processor time of a process and its children. See CPUSeconds.
func TotalCPUSeconds(pid int) (float64, error) { return total(pid, CPUSeconds) }

// CPUSeconds returns the processor time, user and system, that a process and its ended children
// have used. The process's own time comes from its clock, which counts nanoseconds; that of the
// children comes in units of 10 ms.
func CPUSeconds(pid int) (float64, error) {
	own, err := clockSeconds(pid)
	if err != nil {
		return 0, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name may hold spaces; the fields after it begin with the third
	fields := strings.Fields(string(after))
	if len(fields) < 15 {
		return 0, fmt.Errorf("unexpected /proc/%d/stat: %s", pid, stat)
	}
	var ticks float64
	for _, field := range fields[13:15] { // cutime cstime
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("unexpected /proc/%d/stat: %s", pid, stat)
		}
		ticks += v
	}
	return own + ticks/userHZ, nil
}

// clockSeconds returns the processor time of all threads of a process, those that have ended
// included. What /proc/PID/stat shows is the same, rounded to 10 ms: too coarse for a process that
// hardly does anything.
func clockSeconds(pid int) (float64, error) {
	const scheduler = 2 // CPUCLOCK_SCHED: the time that the scheduler has accounted
	var t unix.Timespec
	// clock_getcpuclockid(3) makes the same ID.
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return float64(t.Nano()) / 1e9, nil
}

// peakRSS returns the peak resident memory of a process, in bytes.
func peakRSS(pid int) (int64, error) {
	return procKB(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
}

// resident returns the resident memory of a process, in bytes, from its page tables: VmRSS, which
// is cheaper, may be off by some hundred KB. Memory that the process shares with others, as a socat
// does with its children, counts in part.
func resident(pid int) (int64, error) {
	return procKB(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
}

func procKB(path, key string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == key {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", key, path)
}

// settleTimeout limits how long SettledMemory waits.
const settleTimeout = 20 * time.Second

// SettledMemory returns the resident memory, in bytes, of a process and its children. It waits
// until the value has changed by less than one per cent for the time quiet, at most settleTimeout.
func SettledMemory(ctx context.Context, pid int, quiet time.Duration) (int64, error) {
	var base int64
	since, limit := time.Now(), time.Now().Add(settleTimeout)
	for {
		now, err := total(pid, resident)
		if err != nil {
			return 0, err
		}
		if diff := now - base; max(diff, -diff) > base/100 {
			base, since = now, time.Now()
		}
		if time.Since(since) >= quiet || time.Now().After(limit) {
			return now, nil
		}
		if err := Pause(ctx, 250*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// descriptors returns how many descriptors a process has open.
func descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// SettledDescriptors returns how many descriptors a process and its children have open, once the
// number has not changed for 300 ms: the connection that found the process ready may still be
// closing.
func SettledDescriptors(ctx context.Context, pid int) (int, error) {
	before := -1
	for {
		have, err := total(pid, descriptors)
		if err != nil || have == before {
			return have, err
		}
		before = have
		if err := Pause(ctx, 300*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// AwaitDescriptors waits until a process and its children have n descriptors open.
func AwaitDescriptors(ctx context.Context, pid, n int) error {
	for {
		have, err := total(pid, descriptors)
		if err != nil || have >= n {
			return err
		}
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d descriptors open: %w", have, n, err)
		}
	}
}

// peakInterval is the time between two samples of SamplePeak. A single sample at the end would miss
// children that have ended before it.
const peakInterval = 100 * time.Millisecond

// SamplePeak samples the peak resident memory of a process and its children until stop is called.
// stop returns the highest sum that it saw, in bytes.
func SamplePeak(pid int) (stop func() int64) {
	done, result := make(chan struct{}), make(chan int64, 1)
	go func() {
		var highest int64
		for ticker := time.NewTicker(peakInterval); ; {
			now, _ := total(pid, peakRSS) // the other meters report an error
			highest = max(highest, now)
			select {
			case <-ticker.C:
			case <-done:
				now, _ = total(pid, peakRSS)
				ticker.Stop()
				result <- max(highest, now)
				return
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-result
	}
}

// Pause waits for d. If ctx ends first, it returns the error of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
