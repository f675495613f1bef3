//go:build !linux

package target

import "errors"

// countsKept is false where the system does not tell what a peer has acknowledged: the whole
// window of a failed connection is then sent again.
const countsKept = false

func countTCP(int) (kernelCounts, error)  { return kernelCounts{}, errors.ErrUnsupported }
func countUnix(int) (kernelCounts, error) { return kernelCounts{}, errors.ErrUnsupported }
func socketError(int) error               { return nil }
