//go:build linux

package contender

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"linesplit/bench/internal/load"
)

// Launcher starts contenders.
type Launcher struct {
	Linesplit string   // path of the binary
	Flags     string   // additional flags for linesplit, separated by spaces
	Old       string   // path of the old linesplit; empty for none
	OldFlags  string   // additional flags for the old linesplit
	Threads   int      // that each proxy may use
	Without   []string // those of Others that are not to be measured
	Programs  Programs
	Certs     load.Certificates
	Dir       string // temporary; the caller removes it
	Disk      string // for the folders of contenders that keep lines on disk; temporary, too
}

// command returns the command that starts a contender.
func (l *Launcher) command(ctx context.Context, s Setup, addr string, targets []string) (*exec.Cmd, error) {
	switch {
	case s.Name == IOCopy:
		self, err := os.Executable()
		return l.goCommand(ctx, self, "copy", "-listen", addr, "-to", strings.Join(targets, ",")), err
	case Ours(s.Name):
		args := append(l.linesplitArgs(s, addr, targets), strings.Fields(l.Flags)...)
		return l.goCommand(ctx, l.Linesplit, args...), nil
	case isOld(s.Name):
		args := append(l.linesplitArgs(s, addr, targets), strings.Fields(l.OldFlags)...)
		return l.goCommand(ctx, l.Old, args...), nil
	}
	return l.otherCommand(ctx, s.Name, l.configData(s, addr, targets))
}

// otherCommand returns the command that starts a proxy with a configuration of its own.
func (l *Launcher) otherCommand(ctx context.Context, name string, d configData) (*exec.Cmd, error) {
	switch name {
	case Nginx:
		path, err := l.configure("nginx.conf", d)
		return exec.CommandContext(ctx, l.Programs.Nginx.Path, "-p", l.Dir, "-e", "stderr", "-c", path), err
	case Socat:
		args, err := arguments("socat.args", d)
		return exec.CommandContext(ctx, l.Programs.Socat, args...), err
	case Rsyslog:
		return l.rsyslogCommand(ctx, "rsyslog.conf", d)
	case RsyslogDisk:
		return l.rsyslogCommand(ctx, "rsyslog-disk.conf", d)
	case SyslogNG:
		path, err := l.configure("syslog-ng.conf", d)
		return exec.CommandContext(ctx, l.Programs.SyslogNG, "--foreground", "--stderr", "--no-caps",
			"--worker-threads="+strconv.Itoa(l.Threads), "--cfgfile="+path,
			"--persist-file="+filepath.Join(d.Spool, "persist"), // it names the file of each queue
			"--pidfile="+filepath.Join(l.Dir, "syslog-ng.pid"), "--control="+filepath.Join(l.Dir, "syslog-ng.ctl")), err
	}
	path, err := l.configure("haproxy.cfg", d)
	return exec.CommandContext(ctx, l.Programs.HAProxy, "-db", "-f", path), err
}

func (l *Launcher) rsyslogCommand(ctx context.Context, config string, d configData) (*exec.Cmd, error) {
	path, err := l.configure(config, d)
	pid := filepath.Join(l.Dir, "rsyslog.pid")
	return exec.CommandContext(ctx, l.Programs.Rsyslog, "-n", "-f", path, "-i", pid), err
}

func (l *Launcher) linesplitArgs(s Setup, addr string, targets []string) []string {
	listen, scheme := "tcp://", "tcp://"
	var args []string
	if s.TLS.In {
		listen = "tls://"
		args = append(args, "-tls-cert", l.Certs.ServerCert, "-tls-key", l.Certs.ServerKey)
	}
	if s.TLS.Out {
		scheme = "tls://"
		args = append(args, "-tls-target-ca", l.Certs.CA, "-tls-target-server-name", "localhost")
	}
	args = append(args, "-listen", listen+addr, "-target", scheme+strings.Join(targets, ","+scheme))
	if s.Name == LinesplitConnection || s.Name == OldLinesplitConnection {
		return append(args, "-mode", "connection")
	}
	args = append(args, "-connections", strconv.Itoa(s.workers()))
	if flags := spoolFlags[s.Name]; flags != nil {
		args = append(append(args, "-spool", s.Spool), flags...)
	}
	return args
}

// goCommand returns a command for a Go program, limited to Threads processors and without the
// user's configuration of linesplit.
func (l *Launcher) goCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LINESPLIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(l.Threads))
	return cmd
}
