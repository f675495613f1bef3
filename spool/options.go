package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"linesplit/linebuf"
)

// Options describe a spool.
type Options struct {
	Dir        string        // made if it is missing; its parent is not
	Size       int64         // the most bytes of segment files, at least 1 MiB
	Segment    int64         // bytes of a segment; 0: 128 MiB, or an eighth of Size if that is less
	Sync       time.Duration // the longest time between a write and the begin of its sync; 0: none
	DropOldest bool          // the oldest lines make room for new ones when Size is used up
	// Groups are the names of the groups of targets, whose indices are the bits of linebuf.Groups:
	// 1 to 16 different ones.
	Groups []string
	// Hold limits the bytes of buffers that wait for a sync, beyond one; 0: 16 MiB.
	Hold    int64
	Buffers *linebuf.Pool // where Append's buffers are put back to, and Next's come from
	// Logger gets faults, repeated ones as a summary. nil discards them.
	Logger *slog.Logger
	FS     FS // nil: OS
	// SyncSeconds gets the duration of each sync. It may be nil.
	SyncSeconds Observer
}

// Observer takes measurements.
type Observer interface{ Observe(float64) }

const (
	defaultSegment = 128 << 20
	defaultHold    = 16 << 20

	// MinSize is the lowest Options.Size: eight segments of the smallest size.
	MinSize    = 8 * minSegment
	minSegment = 128 << 10
	maxSegment = math.MaxUint32 * frameAlign // offsets are kept in 32 bits
)

// complete fills in defaults, and returns an error for what cannot work.
func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("no directory")
	}
	if o.Size < MinSize {
		return fmt.Errorf("a size of %d bytes: at least %d are needed", o.Size, int64(MinSize))
	}
	if o.Segment == 0 {
		o.Segment = min(defaultSegment, o.Size/8)
	}
	o.Segment &^= headerBlock - 1
	if o.Segment < minSegment || o.Segment > min(o.Size/2, maxSegment) {
		return fmt.Errorf("segments of %d bytes: from %d bytes to half of the size", o.Segment, int64(minSegment))
	}
	if o.Buffers == nil {
		return errors.New("no pool of buffers")
	}
	if o.Hold == 0 {
		o.Hold = defaultHold
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = OS
	}
	return checkGroups(o.Groups)
}

func checkGroups(names []string) error {
	if len(names) == 0 || len(names) > maxGroups {
		return fmt.Errorf("%d groups: from 1 to %d are possible", len(names), maxGroups)
	}
	seen := map[string]bool{}
	for _, name := range names {
		switch {
		case name == "" || len(name) > maxName:
			return fmt.Errorf("the group name %q: from 1 to %d bytes are possible", name, maxName)
		case seen[name]:
			return fmt.Errorf("two groups with the name %q", name)
		}
		seen[name] = true
	}
	return nil
}

// The errors of Append that are no faults. The caller keeps the buffer and tries again when
// Room tells, ErrTooLarge and ErrClosed excepted.
var (
	ErrFull     = errors.New("the spool is full")
	ErrBusy     = errors.New("the spool waits for the disk")
	ErrTooLarge = errors.New("the lines take more than half of the spool")
	ErrClosed   = errors.New("the spool is closed")
)
