//go:build linux

// Package procstat reads what processes and the machine use: processor time, memory and descriptors, all from /proc.
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
)

// userHZ is the unit of processor time in /proc: 1/100 s on all of Linux's architectures that Go runs on.
const userHZ = 100

// Family returns a process and its children: nginx does its work in some.
func Family(pid int) ([]int, error) {
	all := []int{pid}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // of each thread
	if len(tasks) == 0 {
		return all, fmt.Errorf("no /proc/%d/task/*/children: the process has ended, or the kernel was built without CONFIG_PROC_CHILDREN", pid)
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

// Total sums up what a meter shows for a process and its children. A child that ends meanwhile counts no more: its processor time does in its parent's.
func Total[N int | int64 | float64](pid int, meter func(pid int) (N, error)) (sum N, err error) {
	all, err := Family(pid)
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

// CPUSeconds returns the processor time, user and system, that a process and those of its children that have ended have used. Resolution: 10 ms.
func CPUSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name may hold spaces; the fields behind it begin with the third
	fields := strings.Fields(string(after))
	if len(fields) < 15 {
		return 0, fmt.Errorf("unexpected /proc/%d/stat: %s", pid, stat)
	}
	var ticks float64
	for _, field := range fields[11:15] { // utime stime cutime cstime
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("unexpected /proc/%d/stat: %s", pid, stat)
		}
		ticks += v
	}
	return ticks / userHZ, nil
}

// peakRSS returns the most resident memory that a process has had, in bytes.
func peakRSS(pid int) (int64, error) {
	return procKB(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
}

// resident returns the resident memory of a process, in bytes, from its page tables: the cheaper VmRSS may be off by some hundred KB. What
// it shares with others, as a socat does with its children, counts in part.
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

// settleLimit is how long memory may take to settle, which it has once it stayed within a per cent for a while.
const settleLimit = 20 * time.Second

// SettledMemory waits until the resident memory of a process and its children stays as it is, but not for ever, and returns it.
func SettledMemory(ctx context.Context, pid int, quiet time.Duration) (int64, error) {
	var base int64
	since, limit := time.Now(), time.Now().Add(settleLimit)
	for {
		now, err := Total(pid, resident)
		if err != nil {
			return 0, err
		}
		if diff := now - base; max(diff, -diff) > base/100 {
			base, since = now, time.Now()
		}
		if time.Since(since) >= quiet || time.Now().After(limit) {
			return now, nil
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// descriptors returns how many a process has open.
func descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// SettledDescriptors returns how many descriptors a process and its children have open once that has not changed for a while: the connection that
// found the process ready may still be closing.
func SettledDescriptors(ctx context.Context, pid int) (int, error) {
	before := -1
	for {
		have, err := Total(pid, descriptors)
		if err != nil || have == before {
			return have, err
		}
		before = have
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// AwaitDescriptors waits until a process and its children have n descriptors open.
func AwaitDescriptors(ctx context.Context, pid, n int) error {
	for {
		have, err := Total(pid, descriptors)
		if err != nil || have >= n {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d descriptors open: %w", have, n, err)
		}
	}
}

// peakSampling is how often the peak memory of a family is looked at: children may have ended before the end.
const peakSampling = 100 * time.Millisecond

// WatchPeak looks at the peak memory of a process and its children until it is stopped, which returns the highest that it saw, in bytes.
func WatchPeak(pid int) (stop func() int64) {
	done, highest := make(chan struct{}), make(chan int64, 1)
	go func() {
		var most int64
		for ticker := time.NewTicker(peakSampling); ; {
			now, _ := Total(pid, peakRSS) // an error shows in the other meters
			most = max(most, now)
			select {
			case <-ticker.C:
			case <-done:
				now, _ = Total(pid, peakRSS)
				ticker.Stop()
				highest <- max(most, now)
				return
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-highest
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
