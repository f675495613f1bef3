package record

import (
	"bytes"
	"hash/crc32"
	"time"
)

// Every record ends in its identity,
// `"event_id":"SSSSSSSS-NNNNNNNNNN-TTTTTTTTTTTTTTTT-CCCCCCCC"}`, in hex: sender, number, sending
// time in nanoseconds since 1970, and a CRC-32C of everything before the last dash. The width is
// fixed, so a receiver finds the identity from the end of the line without parsing. The checksum
// distinguishes a whole line from one that was torn, or glued together from two halves that each
// look intact.
const (
	identityKey  = `,"event_id":"`
	identityTail = `"}`
	identityLen  = len(identityKey) + len("SSSSSSSS-NNNNNNNNNN-TTTTTTTTTTTTTTTT-CCCCCCCC") + len(identityTail)

	senderDigits = 8
	seqDigits    = 10
	timeDigits   = 16
	sumDigits    = 8

	seqAt  = len(identityKey) + senderDigits + 1 // offset in the identity
	timeAt = seqAt + seqDigits + 1
	sumAt  = timeAt + timeDigits + 1
)

// MaxSeq is one more than the highest number of a record.
const MaxSeq = 1 << (4 * seqDigits)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // read-only

// ID identifies a record.
type ID struct {
	Sender uint32
	Seq    uint64    // starting at 0; below MaxSeq
	Sent   time.Time // by the sender's clock, to the nanosecond
}

// appendIdentity ends the record that begins at b[start:].
func appendIdentity(b []byte, start int, id ID) []byte {
	b = append(b, identityKey...)
	b = appendHex(b, uint64(id.Sender), senderDigits)
	b = append(b, '-')
	b = appendHex(b, id.Seq, seqDigits)
	b = append(b, '-')
	b = appendHex(b, uint64(id.Sent.UnixNano()), timeDigits)
	sum := crc32.Checksum(b[start:], castagnoli)
	b = append(b, '-')
	b = appendHex(b, uint64(sum), sumDigits)
	return append(b, identityTail...)
}

// Parse returns the identity of a line given without its newline. It returns false for anything
// but a whole record.
func Parse(line []byte) (ID, bool) {
	if len(line) < MinLength-1 || line[0] != '{' {
		return ID{}, false
	}
	id := line[len(line)-identityLen:]
	if !Numbered(line) || string(id[len(id)-len(identityTail):]) != identityTail ||
		id[seqAt-1] != '-' || id[timeAt-1] != '-' || id[sumAt-1] != '-' {
		return ID{}, false
	}
	sender, ok1 := parseHex(id[len(identityKey) : seqAt-1])
	seq, ok2 := parseHex(id[seqAt : timeAt-1])
	sent, ok3 := parseHex(id[timeAt : sumAt-1])
	sum, ok4 := parseHex(id[sumAt : sumAt+sumDigits])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return ID{}, false
	}
	covered := line[:len(line)-identityLen+sumAt-1]
	return ID{uint32(sender), seq, time.Unix(0, int64(sent))}, crc32.Checksum(covered, castagnoli) == uint32(sum)
}

// Numbered reports whether a line, given without its newline, ends like a record. If Parse does
// not accept such a line, the line was altered on its way.
func Numbered(line []byte) bool {
	return len(line) >= identityLen && string(line[len(line)-identityLen:][:len(identityKey)]) == identityKey
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint64, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

func parseHex(digits []byte) (v uint64, ok bool) {
	for _, c := range digits {
		i := bytes.IndexByte([]byte(hexDigits), c)
		if i < 0 {
			return 0, false
		}
		v = v<<4 | uint64(i)
	}
	return v, true
}
