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
	"text/template"
)

// nginxBinary is an nginx that has the stream module.
type nginxBinary struct {
	path   string // empty if there is none
	module string // file to load; empty if the module is built in
}

// findNginx looks for nginx on PATH, and for its stream module.
func findNginx(ctx context.Context) (n nginxBinary, err error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return n, errors.New("nginx is not on PATH")
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

var nginxConfig = template.Must(template.New("").Parse(`{{with .Module}}load_module {{.}};
{{end}}worker_processes {{.Threads}};
daemon off;
pid nginx.pid;
error_log stderr error;
events {
    worker_connections 10000;
}
stream {
    upstream bench {
{{- range .Targets}}
        server {{.}};
{{- end}}
    }
    server {
        listen {{.Addr}};
        proxy_pass bench;
        proxy_timeout 10m;
    }
}
`))

func (b *bench) nginxCommand(ctx context.Context, addr string, targets []string) (*exec.Cmd, error) {
	path, err := b.configure(nginxConfig, addr, targets)
	return exec.CommandContext(ctx, b.nginx.path, "-p", b.dir, "-e", "stderr", "-c", path), err
}
