package service

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/target"
	"linesplit/tlsconf"
)

// mode is line mode or connection mode: what happens between the listeners and the targets. All
// methods but carry and report are safe for concurrent use. adopt and rebalance are called with the
// service's mu held.
type mode interface {
	// carry serves the listeners of in and closes them. It stops accepting when accepting ends,
	// lets what has begun finish, and returns when all of it has, or soon after hard has ended.
	// Line mode, which may have finite listeners, calls endInput when all listeners have ended,
	// with the error of those that have failed.
	carry(accepting, hard context.Context, in *inbound, endInput func(error)) error
	// report logs how the run ended, with the datagrams that the kernel has dropped. The error
	// tells how much was not finished.
	report(droppedDatagrams uint64) error
	// waitsFor returns attributes for the log: how much is not finished.
	waitsFor() []any

	// ready reports whether work can go out, and if not, why.
	ready() (bool, string)
	// describe fills in what the mode knows of a Status.
	describe(*admin.Status)
	// connections returns at most limit of the clients that are connected, the oldest first.
	connections(limit int) []admin.Connection
	// handshakes returns the bound for TLS handshakes with clients.
	handshakes() *tlsconf.Handshakes
	// histogram returns the seconds to confirm a buffer of lines or to connect to a target.
	histogram() prometheus.Histogram
	// spoolSyncs returns the seconds of syncs of the spool, or nil if there is no spool.
	spoolSyncs() prometheus.Histogram

	// targets returns those that are not being removed.
	targets() []*target.Target
	// inForce returns what the API may have changed: the addresses of targets with their weights,
	// and in connection mode the balance rule.
	inForce() (targets []target.Address, balance string)
	addTarget(target.Address) error
	removeTarget(name string) error
	drainTarget(name string) error
	resumeTarget(name string) error
	setWeight(name string, weight int) error
	setBalance(rule string) error
	// adopt changes from one configuration to another, as far as that is possible while running.
	// dial reaches the targets of next. If it returns an error, nothing has changed.
	adopt(old, next config.Config, dial target.Options) error
	// rebalance applies what the service gets of what services share.
	rebalance()
	// close gives back what the mode has of that, at its end.
	close()
}

func newMode(cfg config.Config, dial target.Options, s *service) (mode, error) {
	if cfg.Mode == config.ConnectionMode {
		return newConnectionMode(cfg, dial, s), nil
	}
	return newLineMode(cfg, dial, s)
}
