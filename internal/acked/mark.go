package acked

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"

	"linesplit/linebuf"
)

// source marks the lines that have no other mark: those that are in no spool.
var source = func() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}()

var runs atomic.Uint64 // marked so far

// newMark returns a mark for a run of lines that no other run in this or another process has.
func newMark() linebuf.Mark { return linebuf.Mark{Source: source, Number: runs.Add(1)} }
