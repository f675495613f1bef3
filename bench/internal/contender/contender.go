//go:build linux

// Package contender sets up, starts and stops what is measured: linesplit, the other proxies, and no proxy at all.
package contender

// The contenders.
const (
	Direct    = "direct"
	HAProxy   = "HAProxy"
	Splicing  = "HAProxy splicing"
	Nginx     = "nginx stream"
	Socat     = "socat"
	Rsyslog   = "rsyslog"
	Copier    = "io.Copy"
	Linesplit = "linesplit" // in line mode
	Relaying  = "linesplit -mode connection"
)

// Legs are the ways on which TLS is spoken: from senders to the proxy, and from the proxy to targets.
type Legs struct{ In, Out bool }

func (l Legs) String() string {
	switch {
	case l.In && l.Out:
		return "TLS in and out"
	case l.In:
		return "TLS in"
	case l.Out:
		return "TLS out"
	}
	return "plain"
}

// Setup is a contender, and how it is to stand between senders and targets.
type Setup struct {
	Name        string
	TLS         Legs
	Connections int // to each target, where linesplit is in line mode; 0: as at the base point
}

// BaseWorkers is how many connections to each target linesplit has at the base point.
const BaseWorkers = 4

func (s Setup) workers() int {
	if s.Connections == 0 {
		return BaseWorkers
	}
	return s.Connections
}
