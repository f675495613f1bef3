//go:build linux

package procstat

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MachineTime is processor time of the whole machine since its start, in units of 1/100 s: all of
// it, and the part that a virtual machine's host gave to others.
type MachineTime struct{ All, Stolen float64 }

// MachineCPU returns the machine's processor time so far, 0 if it cannot be read. Figures are noisy
// where time was stolen.
func MachineCPU() (m MachineTime) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line) {
		v, _ := strconv.ParseFloat(field, 64)
		if i >= 1 && i <= 8 { // user nice system idle iowait irq softirq steal
			m.All += v
		}
		if i == 8 {
			m.Stolen = v
		}
	}
	return m
}

// StolenSince returns the share of the machine's time since before that its host gave to others.
func (m MachineTime) StolenSince(before MachineTime) float64 {
	return (m.Stolen - before.Stolen) / max(m.All-before.All, 1)
}

// Load returns the load average over the last minute.
func Load() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// CPUModel returns the name of the processor.
func CPUModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// Kernel returns the name and release of the system, such as "Linux 6.18.1".
func Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
