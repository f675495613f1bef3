//go:build linux

package contender

import (
	"bytes"
	"embed"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"linesplit/bench/internal/load"
	"linesplit/internal/testcert"
)

// The other proxies' configurations. What each is tuned for, and what it does not do, stands in them.
//
//go:embed haproxy.cfg nginx.conf rsyslog.conf socat.args
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "*"))

// configData is what configurations are made of.
type configData struct {
	Threads       int
	Listen        address
	Targets       []address
	TLSIn, TLSOut bool
	Suite         string         // the only one to use, as OpenSSL calls it
	Certs         testcert.Files // with TLS
	Pair          string         // the server's certificate and key in one file
	Splice        bool           // HAProxy
	Module        string         // nginx's stream module, empty where it is built in
	Dir           string         // to work in
}

// address is HOST:PORT, and both halves of it.
type address struct{ Host, Port string }

func (a address) String() string { return net.JoinHostPort(a.Host, a.Port) }

// splitAddress takes apart what a listener calls its address.
func splitAddress(s string) (a address) {
	a.Host, a.Port, _ = net.SplitHostPort(s)
	return a
}

func (l *Launcher) configData(s Setup, listen string, targets []string) configData {
	d := configData{Threads: l.Threads, Listen: splitAddress(listen), TLSIn: s.TLS.In, TLSOut: s.TLS.Out, Suite: load.SuiteName,
		Certs: l.Certs.Files, Pair: l.Certs.Pair, Splice: s.Name == Splicing, Module: l.Programs.Nginx.module, Dir: l.Dir}
	for _, t := range targets {
		d.Targets = append(d.Targets, splitAddress(t))
	}
	return d
}

// configure writes a configuration to a file of ours and returns its path.
func (l *Launcher) configure(name string, d configData) (string, error) {
	var text bytes.Buffer
	if err := configs.ExecuteTemplate(&text, name, d); err != nil {
		return "", err
	}
	path := filepath.Join(l.Dir, name)
	return path, os.WriteFile(path, text.Bytes(), 0o600)
}

// arguments returns a configuration that is a command line, one argument to a line.
func arguments(name string, d configData) ([]string, error) {
	var text bytes.Buffer
	err := configs.ExecuteTemplate(&text, name, d)
	return strings.Split(strings.TrimSpace(text.String()), "\n"), err
}
