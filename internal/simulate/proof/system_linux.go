package proof

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many bytes written to conn the peer's kernel has not acknowledged.
func unacknowledged(conn *net.TCPConn) (n int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}

// newProcessGroup makes a child the leader of a process group. An interrupt at the terminal then
// reaches only us, and we end the child; killGroup ends what it has started. If we are killed, it
// gets SIGTERM.
func newProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func killGroup(p *os.Process) {
	syscall.Kill(-p.Pid, syscall.SIGKILL)
	p.Kill()
}

// peakTreeRSS returns the sum of the peaks of resident memory of a process and its present
// children, in bytes; 0 if the process has ended.
func peakTreeRSS(pid int) int64 {
	sum := peakRSS(pid)
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // one per thread
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // nothing if the thread has ended
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				sum += peakTreeRSS(child)
			}
		}
	}
	return sum
}

func peakRSS(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kb, _ := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// withDisk returns a command that runs args with a disk of size bytes at dir. The disk is a tmpfs
// that only the command sees, so that it ends with the command.
func withDisk(dir string, size int64, args []string) []string {
	const script = `mount -t tmpfs -o "$0" none "$1" && shift && exec "$@"`
	options := fmt.Sprintf("size=%d,mode=0700", size)
	return append([]string{"unshare", "--mount", "sh", "-c", script, options, dir}, args...)
}

// canMountDisk reports whether withDisk works here. That takes root and util-linux.
func canMountDisk(dir string) bool {
	args := withDisk(dir, 1<<20, []string{"true"})
	return exec.Command(args[0], args[1:]...).Run() == nil
}
