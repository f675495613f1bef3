package admin

import (
	"context"
	"errors"
	"time"
)

// The errors that a Control wraps, so that clients are told which of these it was. Any other error is a fault of
// linesplit's own, a 500.
var (
	// ErrUnknown: there is no target of that name. 404.
	ErrUnknown = errors.New("no such target")
	// ErrExists: there is a target with that address already. 409.
	ErrExists = errors.New("the target is there already")
	// ErrLast: it is the last target that takes anything, and cannot go. 409.
	ErrLast = errors.New("the last target cannot be removed")
	// ErrNotInMode: the present -mode has nothing of the kind. 409.
	ErrNotInMode = errors.New("not in this mode")
	// ErrDraining: linesplit itself drains, and its targets do not change any more. 409.
	ErrDraining = errors.New("linesplit is draining")
	// ErrInvalid: an address, weight, rule or configuration is not valid. Nothing has changed. 422.
	ErrInvalid = errors.New("not valid")
)

// Control is what the API shows and changes. All its methods may be called from many goroutines at once. Targets are
// called by their names as Status gives them.
type Control interface {
	// Status returns everything there is to see at the moment. It is called at least once a second: it has to be cheap,
	// and not to wait for anything. The caller owns what it returns. Rates and Now are left to the caller.
	Status() Status
	// Connections returns at most limit of the clients that are connected now, the oldest first.
	Connections(limit int) []Connection
	// Config returns the effective configuration in the order of -help, secrets masked.
	Config() []Setting

	// Add adds a target that is written as -target takes it. Errors: ErrExists, ErrInvalid, ErrDraining.
	Add(ctx context.Context, address string) error
	// Remove drains a target and then forgets it. It may return before that has happened. Errors: ErrUnknown, ErrLast,
	// ErrDraining.
	Remove(ctx context.Context, name string) error
	// Drain sees to it that a target gets nothing new, and that what it has ends in order. It may return before that has
	// happened. Draining what drains is no error. Errors: ErrUnknown, ErrDraining.
	Drain(ctx context.Context, name string) error
	// Resume undoes Drain at any stage. Resuming what was not drained is no error. Errors: ErrUnknown.
	Resume(ctx context.Context, name string) error
	// SetWeight changes a target's share. Errors: ErrUnknown, ErrInvalid, ErrNotInMode.
	SetWeight(ctx context.Context, name string, weight int) error
	// SetBalance changes the rule by which targets are chosen. Errors: ErrInvalid, ErrNotInMode.
	SetBalance(ctx context.Context, rule string) error
	// Reload reads the configuration file again. It returns the names of the settings that it has changed, and of those
	// that differ and need a restart. If err is not nil, which is ErrInvalid where the configuration is at fault, and
	// may be ErrLast or ErrDraining, nothing has changed.
	Reload(ctx context.Context) (changed, needRestart []string, err error)
}

// Connection is one client that is connected.
type Connection struct {
	ID            uint64    `json:"id"` // never given twice within a run
	Client        string    `json:"client"`
	Listener      string    `json:"listener"`
	Target        string    `json:"target,omitempty"` // connection mode, once there is one
	Since         time.Time `json:"since"`
	ReceivedBytes uint64    `json:"received_bytes"` // from the client
	ReceivedLines uint64    `json:"received_lines"` // line mode
	SentBytes     uint64    `json:"sent_bytes"`     // to the client; connection mode
}

// The values of Setting.Source.
const (
	SourceDefault     = "default"
	SourceFlag        = "flag"
	SourceEnvironment = "environment"
	SourceFile        = "file"
	SourceAPI         = "api" // changed while running
)

// Setting is one setting with the value that is in force.
type Setting struct {
	Name       string `json:"name"`  // of the flag
	Value      string `json:"value"` // as the flag takes it; masked where it is a secret
	Source     string `json:"source"`
	Reloadable bool   `json:"reloadable"` // a change takes effect without a restart
}
