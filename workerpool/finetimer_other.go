//go:build !linux

package workerpool

import (
	"errors"
	"time"
)

// fineTimer is not available on this system.
type fineTimer struct{ rings chan time.Time }

func newFineTimer() (*fineTimer, error) { return nil, errors.ErrUnsupported }

func (t *fineTimer) set(time.Duration) {}
func (t *fineTimer) close()            {}
