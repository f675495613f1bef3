package admin

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Control wraps one of these errors to tell clients the kind of a failure. Any other error is
// an internal one, answered with 500.
var (
	// ErrUnknown means that there is no target of that name. 404.
	ErrUnknown = errors.New("no such target")
	// ErrExists means that there already is a target with that address. 409.
	ErrExists = errors.New("the target is there already")
	// ErrLast means that no other target is in use, so that this one must stay. 409.
	ErrLast = errors.New("the last target cannot be removed")
	// ErrNotInMode means that the present -mode does not support the operation. 409.
	ErrNotInMode = errors.New("not in this mode")
	// ErrDraining means that linesplit itself drains, and its targets no longer change. 409.
	ErrDraining = errors.New("linesplit is draining")
	// ErrNotRunning means that the service could not be started. 409.
	ErrNotRunning = errors.New("the service does not run")
	// ErrInvalid means that an address, weight, rule or configuration is not valid. Nothing was
	// changed. 422.
	ErrInvalid = errors.New("not valid")
)

// Control shows and changes a run for the API. Its methods must be safe for concurrent use. They
// take targets by the names in Status.
type Control interface {
	// Status returns the present state and counts. It is called at least once a second, so it
	// must be cheap and must not block. The caller owns the result, and fills in Rates and Now.
	Status() Status
	// Connections returns at most limit of the connected clients, oldest first.
	Connections(limit int) []Connection
	// Config returns the effective configuration in the order of -help, with secrets masked.
	Config() []Setting

	// Add adds a target. The address has the form of -target. Errors: ErrExists, ErrInvalid,
	// ErrDraining.
	Add(ctx context.Context, address string) error
	// Remove drains a target and then removes it. It may return before it is drained. Errors:
	// ErrUnknown, ErrLast, ErrDraining.
	Remove(ctx context.Context, name string) error
	// Drain gives a target nothing new and lets it finish its work. It may return before it is
	// drained. Draining a drained target is no error. Errors: ErrUnknown, ErrDraining.
	Drain(ctx context.Context, name string) error
	// Resume undoes Drain at any stage. Resuming a target that was not drained is no error. Errors:
	// ErrUnknown.
	Resume(ctx context.Context, name string) error
	// SetWeight changes a target's share. Errors: ErrUnknown, ErrInvalid, ErrNotInMode.
	SetWeight(ctx context.Context, name string, weight int) error
	// SetBalance changes the balancing rule. Errors: ErrInvalid, ErrNotInMode.
	SetBalance(ctx context.Context, rule string) error
	// Reload reads the configuration file again. It returns the names of the settings that it
	// changed, and of those that differ but need a restart. If err is not nil, nothing was
	// changed. Errors: ErrInvalid if the configuration is not valid, ErrLast, ErrDraining.
	Reload(ctx context.Context) (changed, needRestart []string, err error)
}

// Process shows and changes a process whose services have names. Its methods must be safe for
// concurrent use.
type Process interface {
	// Services returns the services in the order of the configuration, with those last that drain
	// since they were removed or replaced. No two have the same name.
	Services() []Service
	// SharedPorts returns what has come to the TLS listeners of services that are told apart by
	// server names, and to none of the services.
	SharedPorts() SharedPorts
	// Config returns the settings that all services share, as Control.Config does.
	Config() []Setting
	// Reload is that of Control. It may add and remove services.
	Reload(ctx context.Context) (changed, needRestart []string, err error)
}

// SharedPorts counts clients of listeners that services may share, before it is known which service
// they are for. The counts of a listener go with its last service.
type SharedPorts struct {
	AcceptErrors uint64      `json:"accept_errors"`
	Probes       uint64      `json:"probes"` // ended before their first byte
	Refused      []RefusedBy `json:"refused"`
}

// Service is one of several services.
type Service struct {
	Name    string // letters, digits, - and _; ~ and a number behind it if another service has the name by now
	Control Control
	// Histogram, if not nil, is one of the metrics of the service. See NewConfirmation and
	// NewConnect.
	Histogram prometheus.Histogram
	// SpoolSync, if not nil, is another metric of the service. See NewSpoolSync.
	SpoolSync prometheus.Histogram
}

// Connection describes a connected client.
type Connection struct {
	ID            uint64    `json:"id"` // unique within a run
	Client        string    `json:"client"`
	Listener      string    `json:"listener"`
	Target        string    `json:"target,omitempty"` // connection mode, once connected to one
	Since         time.Time `json:"since"`
	ReceivedBytes uint64    `json:"received_bytes"` // from the client
	ReceivedLines uint64    `json:"received_lines"` // line mode
	SentBytes     uint64    `json:"sent_bytes"`     // to the client; connection mode
}

// These are the values of Setting.Source.
const (
	SourceDefault     = "default"
	SourceFlag        = "flag"
	SourceEnvironment = "environment"
	SourceFile        = "file"
	SourceAPI         = "api" // changed while running
)

// Setting is a setting with its effective value.
type Setting struct {
	Service    string `json:"service,omitempty"` // of several that has it; empty for what they share
	Name       string `json:"name"`              // of the flag
	Value      string `json:"value"`             // in the flag's syntax; secrets are masked
	Source     string `json:"source"`
	Reloadable bool   `json:"reloadable"` // a change takes effect without a restart
}
