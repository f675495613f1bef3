// Package lumberjack has the frames of Lumberjack v2, the protocol of Beats, as clients write and
// read them. Logstash, Vector and Graylog are among the servers.
//
// A client announces a number of events by a window frame, sends that many data frames with the
// sequence numbers 1, 2, 3 and so on, and waits until the server has acknowledged the last one.
// Numbers have four bytes and are big-endian:
//
//	window           "2W" number of events
//	data             "2J" sequence number, length, JSON object
//	compressed       "2C" length, data frames compressed by zlib
//	acknowledgement  "2A" sequence number
package lumberjack

import "encoding/binary"

// The first two bytes of frames are the version and the type.
const (
	beginsWindow     = "2W"
	beginsData       = "2J"
	beginsCompressed = "2C"
	beginsAck        = "2A"
)

// MaxLine is the length of the longest line that fits into a data frame whatever it consists of, in
// bytes.
const MaxLine = (1<<32 - 64) / longestEscape

const (
	windowHeader = 6
	dataHeader   = 10
)

// Window builds a window frame and the data frames that belong to it. The zero value is an empty
// window.
type Window struct {
	frames []byte // empty, or the window frame without its number and the data frames
	events uint32
}

// Add adds a data frame with the [AppendPayload] of a line, which has at most MaxLine bytes.
func (w *Window) Add(line []byte) {
	if len(w.frames) == 0 {
		w.frames = append(w.frames, beginsWindow+"\x00\x00\x00\x00"...)
	}
	w.events++
	w.frames = append(w.frames, beginsData...)
	w.frames = binary.BigEndian.AppendUint32(w.frames, w.events)
	w.frames = append(w.frames, 0, 0, 0, 0)
	begin := len(w.frames)
	w.frames = AppendPayload(w.frames, line)
	binary.BigEndian.PutUint32(w.frames[begin-4:], uint32(len(w.frames)-begin))
}

// Events returns the number of lines.
func (w *Window) Events() uint32 { return w.events }

// Bytes returns all frames as they are sent, which are valid until the next Add or Reset. There is
// at least one line.
func (w *Window) Bytes() []byte {
	binary.BigEndian.PutUint32(w.frames[windowHeader-4:], w.events)
	return w.frames
}

// Data returns the data frames of Bytes.
func (w *Window) Data() []byte { return w.frames[windowHeader:] }

// AppendCompressed appends a window frame for a number of events and a compressed frame, which has
// all their data frames, compressed by zlib. Servers reject a window in several compressed frames.
func AppendCompressed(b []byte, events uint32, compressed []byte) []byte {
	b = append(b, beginsWindow...)
	b = binary.BigEndian.AppendUint32(b, events)
	b = append(b, beginsCompressed...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(compressed)))
	return append(b, compressed...)
}

// maxKept is how much memory an empty window keeps for its next lines, in bytes.
const maxKept = 4 << 20

// Reset makes the window empty.
func (w *Window) Reset() {
	w.events, w.frames = 0, w.frames[:0]
	if cap(w.frames) > maxKept {
		w.frames = nil
	}
}
