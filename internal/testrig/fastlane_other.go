//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package testrig

func lockFile(string) (func(), error) { return nil, errNoFileLocks }
