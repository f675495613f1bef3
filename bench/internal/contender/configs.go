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

// The configurations of the other proxies. Comments in them say what each is tuned for and what it
// does not do.
//
//go:embed haproxy.cfg nginx.conf rsyslog.conf rsyslog-disk.conf socat.args syslog-ng.conf
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "*"))

// configData holds the values that the templates of configurations use.
type configData struct {
	Threads       int
	Listen        address
	Targets       []address
	TLSIn, TLSOut bool
	Suite         string         // the only TLS suite, as OpenSSL calls it
	Certs         testcert.Files // used with TLS
	Pair          string         // the server's certificate and key in one file
	Splice        bool           // whether HAProxy splices
	Module        string         // nginx's stream module, empty if it is built in
	Dir           string         // working directory
	Spool         string         // folder for lines, empty if they are not kept on disk
}

// address is a host and a port. Templates show it as HOST:PORT.
type address struct{ Host, Port string }

func (a address) String() string { return net.JoinHostPort(a.Host, a.Port) }

// splitAddress splits HOST:PORT.
func splitAddress(s string) (a address) {
	a.Host, a.Port, _ = net.SplitHostPort(s)
	return a
}

func (l *Launcher) configData(s Setup, listen string, targets []string) configData {
	d := configData{Threads: l.Threads, Listen: splitAddress(listen), TLSIn: s.TLS.In, TLSOut: s.TLS.Out,
		Suite: load.SuiteName, Certs: l.Certs.Files, Pair: l.Certs.Pair, Splice: s.Name == HAProxySplicing,
		Module: l.Programs.Nginx.module, Dir: l.Dir, Spool: s.Spool}
	for _, t := range targets {
		d.Targets = append(d.Targets, splitAddress(t))
	}
	return d
}

// configure writes a configuration to a file in Dir and returns its path.
func (l *Launcher) configure(name string, d configData) (string, error) {
	var text bytes.Buffer
	if err := configs.ExecuteTemplate(&text, name, d); err != nil {
		return "", err
	}
	path := filepath.Join(l.Dir, name)
	return path, os.WriteFile(path, text.Bytes(), 0o600)
}

// arguments returns the arguments of a configuration that has one of them per line.
func arguments(name string, d configData) ([]string, error) {
	var text bytes.Buffer
	err := configs.ExecuteTemplate(&text, name, d)
	return strings.Split(strings.TrimSpace(text.String()), "\n"), err
}
