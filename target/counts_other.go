//go:build !linux

package target

import "errors"

// countsKept is false because this system does not report what a peer has acknowledged. The whole
// window of a failed connection is then sent again.
const countsKept = false

func countTCP(int) (kernelCounts, error)  { return kernelCounts{}, errors.ErrUnsupported }
func countUnix(int) (kernelCounts, error) { return kernelCounts{}, errors.ErrUnsupported }
func socketError(int) error               { return nil }
