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
	Linesplit string // path of the binary
	Flags     string // more of linesplit's, separated by spaces
	Threads   int    // of each proxy
	Programs  Programs
	Certs     load.Certificates
	Dir       string // for files that go away at the end
}

// command returns what starts a contender, which has not been started.
func (l *Launcher) command(ctx context.Context, s Setup, addr string, targets []string) (*exec.Cmd, error) {
	switch s.Name {
	case Copier:
		self, err := os.Executable()
		return l.goCommand(ctx, self, "copy", "-listen", addr, "-to", strings.Join(targets, ",")), err
	case Linesplit, Relaying:
		return l.goCommand(ctx, l.Linesplit, append(l.linesplitArgs(s, addr, targets), strings.Fields(l.Flags)...)...), nil
	}
	return l.otherCommand(ctx, s.Name, l.configData(s, addr, targets))
}

// otherCommand is command for the proxies that are configured by a file of theirs.
func (l *Launcher) otherCommand(ctx context.Context, name string, d configData) (*exec.Cmd, error) {
	switch name {
	case Nginx:
		path, err := l.configure("nginx.conf", d)
		return exec.CommandContext(ctx, l.Programs.Nginx.Path, "-p", l.Dir, "-e", "stderr", "-c", path), err
	case Socat:
		args, err := arguments("socat.args", d)
		return exec.CommandContext(ctx, l.Programs.Socat, args...), err
	case Rsyslog:
		path, err := l.configure("rsyslog.conf", d)
		return exec.CommandContext(ctx, l.Programs.Rsyslog, "-n", "-f", path, "-i", filepath.Join(l.Dir, "rsyslog.pid")), err
	}
	path, err := l.configure("haproxy.cfg", d)
	return exec.CommandContext(ctx, l.Programs.HAProxy, "-db", "-f", path), err
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
	if s.Name == Relaying {
		return append(args, "-mode", "connection")
	}
	return append(args, "-connections", strconv.Itoa(s.workers()))
}

// goCommand gives a program in Go as many processors as the others.
func (l *Launcher) goCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() { // a user's own configuration has no place here
		if !strings.HasPrefix(v, "LINESPLIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(l.Threads))
	return cmd
}
