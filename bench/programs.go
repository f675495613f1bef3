//go:build linux

package main

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

// programs are the other proxies that are here: paths, empty where there is none.
type programs struct {
	haproxy, socat, rsyslog string
	nginx                   nginxBinary
}

// nginxBinary is an nginx that has the stream module.
type nginxBinary struct {
	path   string
	module string // file to load; empty if the module is built in
}

// findPrograms looks for all of them, and says of each that it does not find why.
func findPrograms(ctx context.Context, say func(error)) (p programs) {
	for _, one := range []struct {
		name string
		path *string
	}{{"haproxy", &p.haproxy}, {"socat", &p.socat}, {"rsyslogd", &p.rsyslog}} {
		path, err := look(one.name)
		if err != nil {
			say(err)
		}
		*one.path = path
	}
	var err error
	if p.nginx, err = findNginx(ctx); err != nil {
		say(err)
	}
	return p
}

// look finds a program, also where a user's PATH does not lead.
func look(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not on PATH", name)
}

// findNginx looks for nginx, and for its stream module.
func findNginx(ctx context.Context) (n nginxBinary, err error) {
	path, err := look("nginx")
	if err != nil {
		return n, err
	}
	out, err := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	if err != nil {
		return n, fmt.Errorf("nginx -V: %w", err)
	}
	built := strings.Fields(string(out))
	if slices.Contains(built, "--with-stream") {
		return nginxBinary{path: path}, nil
	}
	for _, option := range built {
		if modules, ok := strings.CutPrefix(option, "--modules-path="); ok {
			module := filepath.Join(modules, "ngx_stream_module.so")
			if _, err := os.Stat(module); err == nil {
				return nginxBinary{path, module}, nil
			}
		}
	}
	return n, errors.New("nginx has no stream module (Debian: libnginx-mod-stream)")
}

// version returns how a program calls itself: the first line that has a figure.
func version(ctx context.Context, path, flag string) string {
	out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.ContainsAny(line, "0123456789") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " compiled with")
			return line
		}
	}
	return filepath.Base(path)
}
