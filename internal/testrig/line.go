//go:build linux

package testrig

import (
	"bytes"
	"hash/crc32"
	"strconv"
)

// The shape of a numbered line. The checksum covers all other bytes of the line,
// so that a line glued from two others or cut anywhere does not pass for whole.
const (
	lineSender = `{"sender":`
	lineSeq    = `,"seq":`
	lineSum    = `,"sum":"`
	linePad    = `","pad":"`
	lineEnd    = `"}`
	sumDigits  = 8
)

// MinLine is the least size of a numbered line, in bytes with its newline.
const MinLine = 80

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// padding is what lines are filled up with: long enough that lines start at
// different places of it and so differ in more than their numbers.
var padding = bytes.Repeat([]byte("all the lines that were sent arrive, whole and at least once; 0123456789 "), 1024)

// AppendLine appends line number seq of a sender, size bytes long with its
// newline (at least MinLine).
func AppendLine(b []byte, sender, seq, size int) []byte {
	start := len(b)
	b = append(b, lineSender...)
	b = strconv.AppendInt(b, int64(sender), 10)
	b = append(b, lineSeq...)
	b = strconv.AppendInt(b, int64(seq), 10)
	b = append(b, lineSum...)
	sum := len(b)
	b = append(b, "00000000"...)
	b = append(b, linePad...)
	b = appendPadding(b, (sender*131+seq*17)%1024, max(size, MinLine)-(len(b)-start)-len(lineEnd)-1)
	b = append(b, lineEnd...)
	putSum(b[sum:sum+sumDigits], checksum(b[start:sum], b[sum+sumDigits:]))
	return append(b, '\n')
}

func appendPadding(b []byte, from, n int) []byte {
	for n > 0 {
		part := padding[from:min(len(padding), from+n)]
		b = append(b, part...)
		n -= len(part)
		from = 0
	}
	return b
}

func checksum(before, after []byte) uint32 {
	return crc32.Update(crc32.Checksum(before, castagnoli), castagnoli, after)
}

func putSum(b []byte, sum uint32) {
	const hex = "0123456789abcdef"
	for i := range b {
		b[i] = hex[sum>>(28-4*i)&0xf]
	}
}

// parseLine reads a line without its newline. It is strict: what AppendLine
// cannot have written is not ok.
func parseLine(line []byte) (sender, seq int, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(lineSender))
	if !ok {
		return 0, 0, false
	}
	if sender, rest, ok = cutNumber(rest, lineSeq); !ok {
		return 0, 0, false
	}
	if seq, rest, ok = cutNumber(rest, lineSum); !ok || len(rest) < sumDigits {
		return 0, 0, false
	}
	var want [sumDigits]byte
	putSum(want[:], checksum(line[:len(line)-len(rest)], rest[sumDigits:]))
	return sender, seq, bytes.Equal(rest[:sumDigits], want[:]) && bytes.HasSuffix(rest, []byte(lineEnd))
}

// cutNumber reads digits and the text that must follow them.
func cutNumber(b []byte, then string) (n int, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 12 && b[i] >= '0' && b[i] <= '9' {
		n = n*10 + int(b[i]-'0')
		i++
	}
	rest, ok = bytes.CutPrefix(b[i:], []byte(then))
	return n, rest, ok && i > 0
}
