//go:build !linux

package target

import "syscall"

func setNotSentLowat(syscall.RawConn) error { return nil }
