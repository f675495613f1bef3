package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"
)

// The file of confirmations of a segment begins with a block of doneBlock bytes that names the
// segment: magic, version, id, number of groups, CRC32C in the last 4 bytes. Behind it are blocks
// of bits. Block i of group g is number i*groups+g; bit n of its first 504 bytes is set when the
// group needs frame i*doneFrames+n no more. Then follow 4 bytes of magic, and a CRC32C that covers
// the id, g and i as well: a block that was damaged, or written for another segment, confirms
// nothing. No block is written before all in front of it are, so that one of zeros is damaged, too.
// The file may end behind any block.
const (
	doneBlock  = 512
	doneWords  = (doneBlock - 8) / 8
	doneFrames = doneWords * 64 // frames of a block of bits
	doneMagic  = 0x454e4f44     // "DONE"
)

var doneHeaderMagic = [8]byte{'l', 's', 'd', 'o', 'n', 'e', '\r', '\n'}

// doneBits is the content of a block of bits.
type doneBits [doneWords]uint64

// set sets bit i.
func (d *doneBits) set(i int) { d[i/64] |= 1 << (i % 64) }

// has reports whether bit i is set.
func (d *doneBits) has(i int) bool { return d[i/64]>>(i%64)&1 != 0 }

// past returns the number behind the last bit that is set.
func (d *doneBits) past() int {
	for i := len(d) - 1; i >= 0; i-- {
		if d[i] != 0 {
			return i*64 + bits.Len64(d[i])
		}
	}
	return 0
}

// doneOffset returns the place of block number n in the file.
func doneOffset(n int) int64 { return doneBlock * (1 + int64(n)) }

// encodeDoneHeader returns the first block of a file of confirmations.
func encodeDoneHeader(id *segmentID, groups int) []byte {
	b := make([]byte, doneBlock)
	copy(b, doneHeaderMagic[:])
	binary.LittleEndian.PutUint32(b[8:], headerVersion)
	copy(b[12:], id[:])
	binary.LittleEndian.PutUint32(b[28:], uint32(groups))
	binary.LittleEndian.PutUint32(b[doneBlock-4:], crc32.Checksum(b[:doneBlock-4], castagnoli))
	return b
}

// decodeDoneHeader reports whether b is the first block of the confirmations of a segment.
func decodeDoneHeader(b []byte, id *segmentID, groups int) bool {
	return len(b) >= doneBlock && [doneBlock]byte(b) == [doneBlock]byte(encodeDoneHeader(id, groups))
}

// appendDone appends a block of bits to b.
func appendDone(b []byte, id *segmentID, group, index int, bits *doneBits) []byte {
	start := len(b)
	for _, word := range bits {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	b = binary.LittleEndian.AppendUint32(b, doneMagic)
	return binary.LittleEndian.AppendUint32(b, doneChecksum(b[start:], id, group, index))
}

// decodeDone reads a block of bits. It reports whether the block is good; a bad one has no bits. A
// block of no bytes at all is good: the file ends in front of it.
func decodeDone(b []byte, id *segmentID, group, index int) (bits doneBits, ok bool) {
	if len(b) < doneBlock {
		return doneBits{}, len(b) == 0
	}
	if binary.LittleEndian.Uint32(b[doneBlock-8:]) != doneMagic ||
		binary.LittleEndian.Uint32(b[doneBlock-4:]) != doneChecksum(b[:doneBlock-4], id, group, index) {
		return doneBits{}, false
	}
	for i := range bits {
		bits[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return bits, true
}

func doneChecksum(content []byte, id *segmentID, group, index int) uint32 {
	var place [24]byte
	copy(place[:], id[:])
	binary.LittleEndian.PutUint32(place[16:], uint32(group))
	binary.LittleEndian.PutUint32(place[20:], uint32(index))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, content)
}

// readDone reads a block of bits from the confirmations of a segment. It reports whether the block
// is good; a bad one has no bits. past is set if the file ends in front of it.
func readDone(file io.ReaderAt, id *segmentID, groups, group, index int) (bits doneBits, ok, past bool, err error) {
	var b [doneBlock]byte
	n, err := file.ReadAt(b[:], doneOffset(index*groups+group))
	if n < doneBlock && err != io.EOF {
		return doneBits{}, false, false, err
	}
	bits, ok = decodeDone(b[:n], id, group, index)
	return bits, ok, n == 0, nil
}
