package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A segment file begins with a block that says which segment it is. The block has two copies of the
// same content, so that one bad sector does not cost the names of the groups:
//
//	 0  magic, 8 bytes
//	 8  version of the format
//	12  id of the segment, 16 random bytes
//	28  number of the segment
//	36  time of creation, in nanoseconds since 1970
//	44  number of groups, and for each the length of its name and the name
//	2040  flags: bit 0 is set if the file was used for an earlier segment
//	2044  CRC32C of all bytes of the copy before it
//
// All numbers are little-endian. The magic, the version and the CRC stand at the same place in all
// versions.
const (
	headerBlock   = 4096 // bytes
	headerCopy    = headerBlock / 2
	headerVersion = 1
	headerGroups  = 44 // offset of the number of groups
	headerFlags   = headerCopy - 8
	flagReused    = 1

	// maxName is the length of the longest name of a group, in bytes: the names of maxGroups groups
	// fit into a header.
	maxName   = 120
	maxGroups = 16
)

var headerMagic = [8]byte{'l', 's', 'p', 'o', 'o', 'l', '\r', '\n'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentID tells segments apart, those of other directories included.
type segmentID [16]byte

// short returns the part of the id that frames carry.
func (id *segmentID) short() uint64 { return binary.LittleEndian.Uint64(id[:8]) }

// header is the content of the first block of a segment.
type header struct {
	id      segmentID
	number  uint64
	created time.Time
	groups  []string // names; their indices are the bits of frame.groups
	reused  bool     // the file has bytes of an earlier segment where this one has no frames
	damaged bool     // one of the two copies is not readable
}

// errHeader is the error of a block that is no header, or a damaged one.
var errHeader = errors.New("the header of the segment is damaged")

// versionError is the error of a segment in a format that this program does not know.
type versionError uint32

func (v versionError) Error() string {
	return fmt.Sprintf("format %d, of which this version of linesplit knows only %d: "+
		"use the version that wrote it, or another directory", uint32(v), headerVersion)
}

// encode returns the first block of a segment. There are at most maxGroups names of at most maxName
// bytes.
func (h *header) encode() []byte {
	b := make([]byte, headerBlock)
	copy(b, headerMagic[:])
	binary.LittleEndian.PutUint32(b[8:], headerVersion)
	copy(b[12:], h.id[:])
	binary.LittleEndian.PutUint64(b[28:], h.number)
	binary.LittleEndian.PutUint64(b[36:], uint64(h.created.UnixNano()))
	binary.LittleEndian.PutUint16(b[headerGroups:], uint16(len(h.groups)))
	at := headerGroups + 2
	for _, name := range h.groups {
		b[at] = byte(len(name))
		at += 1 + copy(b[at+1:], name)
	}
	if h.reused {
		binary.LittleEndian.PutUint32(b[headerFlags:], flagReused)
	}
	binary.LittleEndian.PutUint32(b[headerCopy-4:], crc32.Checksum(b[:headerCopy-4], castagnoli))
	copy(b[headerCopy:], b[:headerCopy])
	return b
}

// decodeHeader reads the first block of a segment, or as much of it as there is.
func decodeHeader(b []byte) (header, error) {
	var whole [2]header
	var errs [2]error
	for i := range errs {
		errs[i] = errHeader
		if len(b) >= (i+1)*headerCopy {
			whole[i], errs[i] = decodeHeaderCopy(b[i*headerCopy : (i+1)*headerCopy])
		}
	}
	switch {
	case errs[0] == nil:
		whole[0].damaged = errs[1] != nil
		return whole[0], nil
	case errs[1] == nil:
		whole[1].damaged = true
		return whole[1], nil
	case errs[0] == errHeader:
		return header{}, errs[1]
	}
	return header{}, errs[0]
}

func decodeHeaderCopy(b []byte) (header, error) {
	if [8]byte(b) != headerMagic || crc32.Checksum(b[:headerCopy-4], castagnoli) != binary.LittleEndian.Uint32(b[headerCopy-4:]) {
		return header{}, errHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != headerVersion {
		return header{}, versionError(v)
	}
	h := header{
		id:      segmentID(b[12:]),
		number:  binary.LittleEndian.Uint64(b[28:]),
		created: time.Unix(0, int64(binary.LittleEndian.Uint64(b[36:]))),
		reused:  binary.LittleEndian.Uint32(b[headerFlags:])&flagReused != 0,
	}
	groups := int(binary.LittleEndian.Uint16(b[headerGroups:]))
	if groups > maxGroups {
		return header{}, errHeader
	}
	names := b[headerGroups+2 : headerFlags]
	for range groups {
		if len(names) == 0 || len(names) <= int(names[0]) {
			return header{}, errHeader
		}
		n := int(names[0])
		h.groups = append(h.groups, string(names[1:1+n]))
		names = names[1+n:]
	}
	return h, nil
}
