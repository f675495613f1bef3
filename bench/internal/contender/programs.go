//go:build linux

package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Programs holds the paths of the other proxies. A path is empty if the program is not installed.
type Programs struct {
	HAProxy, Socat, Rsyslog, SyslogNG string
	Nginx                             NginxBinary
}

// NginxBinary is an nginx with the stream module.
type NginxBinary struct {
	Path   string
	module string // file to load; empty if the module is built in
}

// FindPrograms looks for the programs of those proxies that are to be measured. It calls missing
// with the reason for each that it does not find.
func (l *Launcher) FindPrograms(ctx context.Context, missing func(error)) {
	p := &l.Programs
	for _, one := range []struct {
		contender, program string
		path               *string
	}{
		{HAProxy, "haproxy", &p.HAProxy}, {Socat, "socat", &p.Socat}, {Rsyslog, "rsyslogd", &p.Rsyslog},
		{SyslogNG, "syslog-ng", &p.SyslogNG},
	} {
		if !l.Wants(one.contender) {
			continue
		}
		path, err := findProgram(one.program)
		if err != nil {
			missing(err)
		}
		*one.path = path
	}
	if l.Wants(Nginx) {
		var err error
		if p.Nginx, err = findNginx(ctx); err != nil {
			missing(err)
		}
	}
}

// FindLinesplit returns the absolute path of a binary to measure. If path is empty, it builds the
// binary in dir from the module of the current directory.
func FindLinesplit(ctx context.Context, path, dir string) (string, error) {
	if path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		return exec.LookPath(path)
	}
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	path = filepath.Join(dir, "linesplit")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	build.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build linesplit: %w\n%s", err, out)
	}
	return path, nil
}

// findProgram looks for a program on PATH and in /usr/sbin, which PATH may lack.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not on PATH", name)
}

// findNginx looks for nginx and its stream module.
func findNginx(ctx context.Context) (n NginxBinary, err error) {
	path, err := findProgram("nginx")
	if err != nil {
		return n, err
	}
	out, err := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	if err != nil {
		return n, fmt.Errorf("nginx -V: %w", err)
	}
	built := strings.Fields(string(out))
	if slices.Contains(built, "--with-stream") {
		return NginxBinary{Path: path}, nil
	}
	for _, option := range built {
		if modules, ok := strings.CutPrefix(option, "--modules-path="); ok {
			module := filepath.Join(modules, "ngx_stream_module.so")
			if _, err := os.Stat(module); err == nil {
				return NginxBinary{path, module}, nil
			}
		}
	}
	return n, errors.New("nginx has no stream module (Debian: libnginx-mod-stream)")
}

// Version returns the first line with a digit that a program prints when it gets a flag.
func Version(ctx context.Context, path, flag string) string {
	out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.ContainsAny(line, "0123456789") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " compiled with")
			return line
		}
	}
	return filepath.Base(path)
}

// Wants reports whether another proxy is to be measured, installed or not.
func (l *Launcher) Wants(name string) bool {
	return !slices.Contains(l.Without, program(name))
}

// Has reports whether a contender can be started and is to be measured.
func (l *Launcher) Has(name string) bool {
	switch p := l.Programs; name {
	case IOCopy:
		return l.Wants(name)
	case OldLinesplit, OldLinesplitConnection:
		return l.Old != ""
	case HAProxy, HAProxySplicing:
		return p.HAProxy != ""
	case Nginx:
		return p.Nginx.Path != ""
	case Socat:
		return p.Socat != ""
	case Rsyslog, RsyslogDisk:
		return p.Rsyslog != ""
	case SyslogNG:
		return p.SyslogNG != ""
	}
	return true
}

// Available returns those of the named contenders that Has.
func (l *Launcher) Available(names ...string) (available []string) {
	for _, name := range names {
		if l.Has(name) {
			available = append(available, name)
		}
	}
	return available
}
