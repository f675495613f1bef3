package target

import "errors"

// What changes of a list of targets are refused with, whoever keeps the list. Errors of those who
// do wrap them.
var (
	ErrUnknown = errors.New("there is no such target")
	ErrExists  = errors.New("there is such a target already")
	ErrLast    = errors.New("no target would be left in use: add or resume another one first")
)
