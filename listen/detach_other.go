//go:build !linux

package listen

// detached has a descriptor on Linux only.
type detached struct{}

func (*detached) control(func(fd int) error) (was bool, err error) { return false, nil }
func (*detached) close() (was bool)                                { return false }
