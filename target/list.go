package target

import "errors"

// The reasons to refuse a change of a list of targets. The packages that keep such lists return
// errors that wrap these.
var (
	ErrUnknown = errors.New("there is no such target")
	ErrExists  = errors.New("this target exists already")
	ErrLast    = errors.New("no target would be left in use: add or resume another one first")
)
