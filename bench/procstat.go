//go:build linux

package main

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

// userHZ is the unit of processor time in /proc: 1/100 s on all of Linux's architectures that Go runs on.
const userHZ = 100

// family returns a process and its children: nginx does its work in some.
func family(pid int) ([]int, error) {
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

// total sums up what a meter shows for a process and its children. A child that ends meanwhile counts no more: its processor time does in its parent's.
func total[N int | int64 | float64](pid int, meter func(pid int) (N, error)) (sum N, err error) {
	all, err := family(pid)
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

// cpuSeconds returns the processor time, user and system, that a process and those of its children that have ended have used. Resolution: 10 ms.
func cpuSeconds(pid int) (float64, error) {
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

// settledMemory waits until the resident memory of a process and its children stays as it is, but not for ever, and returns it.
func settledMemory(ctx context.Context, pid int, quiet time.Duration) (int64, error) {
	var base int64
	since, limit := time.Now(), time.Now().Add(settleLimit)
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

// settledDescriptors returns how many descriptors a process and its children have open once that has not changed for a while: the connection that
// found the process ready may still be closing.
func settledDescriptors(ctx context.Context, pid int) (int, error) {
	before := -1
	for {
		have, err := total(pid, descriptors)
		if err != nil || have == before {
			return have, err
		}
		before = have
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// awaitDescriptors waits until a process and its children have n descriptors open.
func awaitDescriptors(ctx context.Context, pid, n int) error {
	for {
		have, err := total(pid, descriptors)
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

// watchPeak looks at the peak memory of a process and its children until it is stopped, which returns the highest that it saw, in bytes.
func watchPeak(pid int) (stop func() int64) {
	done, highest := make(chan struct{}), make(chan int64, 1)
	go func() {
		var most int64
		for ticker := time.NewTicker(peakSampling); ; {
			now, _ := total(pid, peakRSS) // an error shows in the other meters
			most = max(most, now)
			select {
			case <-ticker.C:
			case <-done:
				now, _ = total(pid, peakRSS)
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

// machineTime is processor time of the whole machine, in units of its own.
type machineTime struct{ all, stolen float64 }

// machineCPU reads it. A virtual machine whose host gave its time to others has stolen time, and noisy figures.
func machineCPU() (m machineTime) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line) {
		v, _ := strconv.ParseFloat(field, 64)
		if i >= 1 && i <= 8 { // user nice system idle iowait irq softirq steal
			m.all += v
		}
		if i == 8 {
			m.stolen = v
		}
	}
	return m
}

// stolenSince returns the part of the machine's time since before that its host gave to others.
func (m machineTime) stolenSince(before machineTime) float64 {
	return (m.stolen - before.stolen) / max(m.all-before.all, 1)
}

// load returns the load average over the last minute.
func load() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// cpuModel returns the processor's name.
func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// kernel returns system and release, such as "Linux 6.18.1".
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
