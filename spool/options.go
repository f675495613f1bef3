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
	Dir        string        // made with its parents if it is missing, with mode 0700
	Size       int64         // limit of all segment files, in bytes; at least MinSize
	Segment    int64         // bytes of a segment; 0: 64 MiB, or an eighth of Size if that is less
	Sync       time.Duration // longest time from a write to the start of its sync; 0: at once
	DropOldest bool          // drops the oldest lines when Size is used up
	// Groups are the names of the groups of targets, whose indices are the bits of linebuf.Groups:
	// 1 to 16 different ones. One with an empty name does not use the spool.
	Groups []string
	// Hold limits the bytes of buffers that wait for a sync; a single buffer may exceed it. 0: 16
	// MiB.
	Hold int64
	// Marked makes Next return each frame by itself, so that its lines have the marks that they had
	// when they were appended; see linebuf.Mark. Without it, Next joins small frames.
	Marked  bool
	Buffers *linebuf.Pool // of the buffers that Append takes and Next returns
	// Logger gets a warning for each fault; repeated ones are summed up. nil discards them.
	Logger *slog.Logger
	FS     FS // nil: OS
	// SyncSeconds gets the duration of each sync of a segment in use. It may be nil.
	SyncSeconds Observer
}

// Observer takes measurements, in seconds. One goroutine at a time calls it.
type Observer interface{ Observe(float64) }

const (
	defaultSegment = 64 << 20
	defaultHold    = 16 << 20

	// MinSize is the lowest Options.Size: eight segments of the smallest size.
	MinSize    = 8 * minSegment
	minSegment = 128 << 10
	maxSegment = math.MaxUint32 * frameAlign // offsets are kept in 32 bits
)

// complete fills in defaults, and returns an error if the options are not valid.
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
	if allGroups(names) == 0 {
		return errors.New("no group has a name")
	}
	seen := map[string]bool{}
	for _, name := range names {
		switch {
		case len(name) > maxName:
			return fmt.Errorf("the group name %q: at most %d bytes are possible", name, maxName)
		case name != "" && seen[name]:
			return fmt.Errorf("two groups with the name %q", name)
		}
		seen[name] = true
	}
	return nil
}

// Errors of Append and Reserve that are no faults of the disk. The caller keeps the buffer, and
// after ErrFull and ErrBusy tries again when the channel of Room is closed.
var (
	ErrFull     = errors.New("the spool is full")                          // Options.Size is used up
	ErrBusy     = errors.New("the spool waits for the disk")               // for a sync, or a new segment
	ErrTooLarge = errors.New("the lines take more than half of the spool") // or more than 1 GiB
	ErrClosed   = errors.New("the spool is closed")                        // also the error of Next
)
