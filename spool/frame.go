package spool

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// A segment has frames behind its header. Each begins at a multiple of frameAlign, with a header of
// frameHeader bytes and the lines right behind it:
//
//	 0  magic
//	 4  sequence number of the frame in its segment, from 0
//	 8  first 8 bytes of the id of the segment
//	16  length of the lines in bytes
//	20  number of lines
//	24  the groups that the lines are for, as bits; their names stand in the header of the segment
//	26  framing of the lines
//	27  0
//	28  CRC32C of the lines
//	32  time at which the lines were read, in nanoseconds since 1970
//	40  key of the lines, see linebuf.Buffer.Key
//	48  number of frames at the beginning of the segment that were synced before this one was written
//	52  number of the segment
//	60  CRC32C of the 60 bytes before it
//
// Frames may be missing in between: a crash can leave out some that were reserved earlier than
// others that are complete. In their places, and behind the last frame, are zeros or bytes of the
// segment that had the file before. What was synced before a later frame was written cannot be
// missing: there such bytes are damage.
const (
	frameHeader = 64
	frameAlign  = 64
	frameMagic  = 0x4d52464c // "LFRM"

	// maxLength is the most bytes of lines in a frame.
	maxLength = 1 << 30
)

// frame is the header of a frame.
type frame struct {
	sequence uint32
	length   uint32
	lines    uint32
	groups   linebuf.Groups // by the names in the header of its segment
	framing  framing.Framing
	read     time.Time
	key      uint64
	checksum uint32 // of the lines
	synced   uint32 // number of frames before it that are durable for certain: all up to this one
	segment  uint64 // number of its segment; 0 in files of versions that did not write it
}

// extent returns the bytes that a frame with lines of the given length takes in its segment.
func extent(length int) int64 {
	return (frameHeader + int64(length) + frameAlign - 1) &^ (frameAlign - 1)
}

// checksum returns the checksum of lines.
func checksum(lines []byte) uint32 { return crc32.Checksum(lines, castagnoli) }

// encode writes the header of a frame of the segment with the given short id.
func (f *frame) encode(b *[frameHeader]byte, id uint64) {
	*b = [frameHeader]byte{}
	binary.LittleEndian.PutUint32(b[0:], frameMagic)
	binary.LittleEndian.PutUint32(b[4:], f.sequence)
	binary.LittleEndian.PutUint64(b[8:], id)
	binary.LittleEndian.PutUint32(b[16:], f.length)
	binary.LittleEndian.PutUint32(b[20:], f.lines)
	binary.LittleEndian.PutUint16(b[24:], uint16(f.groups))
	b[26] = byte(f.framing)
	binary.LittleEndian.PutUint32(b[28:], f.checksum)
	binary.LittleEndian.PutUint64(b[32:], uint64(f.read.UnixNano()))
	binary.LittleEndian.PutUint64(b[40:], f.key)
	binary.LittleEndian.PutUint32(b[48:], f.synced)
	binary.LittleEndian.PutUint64(b[52:], f.segment)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
}

// decodeFrame reads the header of a frame from the first bytes of b. It reports whether there is
// one that belongs to the segment with the given short id.
func decodeFrame(b []byte, id uint64) (frame, bool) {
	if len(b) < frameHeader || !hasMagic(b) || shortID(b) != id || !isWhole(b) {
		return frame{}, false
	}
	f := frame{
		sequence: binary.LittleEndian.Uint32(b[4:]),
		length:   binary.LittleEndian.Uint32(b[16:]),
		lines:    binary.LittleEndian.Uint32(b[20:]),
		groups:   linebuf.Groups(binary.LittleEndian.Uint16(b[24:])),
		framing:  framing.Framing(b[26]),
		read:     time.Unix(0, int64(binary.LittleEndian.Uint64(b[32:]))),
		checksum: binary.LittleEndian.Uint32(b[28:]),
		key:      binary.LittleEndian.Uint64(b[40:]),
		synced:   binary.LittleEndian.Uint32(b[48:]),
		segment:  segmentNumber(b),
	}
	if f.length == 0 || f.length > maxLength || f.framing >= framing.Auto {
		return frame{}, false
	}
	return f, true
}

// These are of the frameHeader bytes of the header of a frame.
func hasMagic(b []byte) bool        { return binary.LittleEndian.Uint32(b) == frameMagic }
func shortID(b []byte) uint64       { return binary.LittleEndian.Uint64(b[8:]) }
func segmentNumber(b []byte) uint64 { return binary.LittleEndian.Uint64(b[52:]) }
func isWhole(b []byte) bool         { return checksum(b[:60]) == binary.LittleEndian.Uint32(b[60:]) }

// count returns the lines of the frame and their bytes.
func (f *frame) count() linebuf.Count {
	return linebuf.Count{Lines: uint64(f.lines), Bytes: uint64(f.length)}
}
