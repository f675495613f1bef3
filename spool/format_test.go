package spool

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/internal/framing"
)

// putChecksum makes the checksum of a copy of a header right.
func putChecksum(half []byte) {
	binary.LittleEndian.PutUint32(half[headerCopy-4:], crc32.Checksum(half[:headerCopy-4], castagnoli))
}

func testHeader() header {
	return header{
		id: segmentID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, number: 12, created: time.Unix(1, 5),
		groups: []string{"a", "archive", strings.Repeat("x", maxName)},
	}
}

func TestHeaderSurvivesDamageOfOneCopy(t *testing.T) {
	want := testHeader()
	for offset := range headerBlock {
		b := want.encode()
		b[offset] ^= 4
		got, err := decodeHeader(b)
		if err != nil || !got.damaged {
			t.Fatalf("byte %d is damaged: %v, noticed: %v", offset, err, got.damaged)
		}
		got.damaged = false
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(header{})); diff != "" {
			t.Fatalf("byte %d is damaged: %s", offset, diff)
		}
	}
}

func TestHeaderTakesAllNames(t *testing.T) {
	h := testHeader()
	h.groups = nil
	for i := range maxGroups {
		h.groups = append(h.groups, strings.Repeat(string(rune('a'+i)), maxName))
	}
	got, err := decodeHeader(h.encode())
	if diff := cmp.Diff(h.groups, got.groups); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
}

// A file may end within its header, after a crash while it was made.
func TestHeaderCutOff(t *testing.T) {
	h := testHeader()
	b := h.encode()
	for n := range headerBlock {
		got, err := decodeHeader(b[:n])
		if whole := n >= headerCopy; (err == nil) != whole || whole && !got.damaged {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestFrameHeaderNoticesEachFlippedBit(t *testing.T) {
	f := frame{
		sequence: 7, length: 1000, lines: 10, groups: 5, framing: framing.Octet,
		read: time.Unix(1700000000, 1), checksum: 0xdeadbeef,
	}
	var b [frameHeader]byte
	f.encode(&b, 99)
	got, ok := decodeFrame(b[:], 99)
	if diff := cmp.Diff(f, got, cmp.AllowUnexported(frame{})); !ok || diff != "" {
		t.Fatalf("%v: %s", ok, diff)
	}
	if _, ok := decodeFrame(b[:], 98); ok {
		t.Error("a frame of another segment is accepted")
	}
	for bit := range 8 * frameHeader {
		b[bit/8] ^= 1 << (bit % 8)
		if _, ok := decodeFrame(b[:], 99); ok {
			t.Fatalf("bit %d can be flipped", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestDoneBlockNoticesEachFlippedBit(t *testing.T) {
	id := segmentID{1, 2, 3}
	var want doneBits
	want.set(0)
	want.set(doneFrames - 1)
	b := appendDone(nil, &id, 3, 2, &want)
	if got, ok := decodeDone(b, &id, 3, 2); !ok || got != want {
		t.Fatal("a block is not what was written")
	}
	for _, place := range []struct {
		id           segmentID
		group, index int
	}{{segmentID{2}, 3, 2}, {id, 2, 2}, {id, 3, 3}, {id, 2, 3}} {
		if _, ok := decodeDone(b, &place.id, place.group, place.index); ok {
			t.Errorf("the block is accepted at %v", place)
		}
	}
	for bit := range 8 * doneBlock {
		b[bit/8] ^= 1 << (bit % 8)
		if got, ok := decodeDone(b, &id, 3, 2); ok || got != (doneBits{}) {
			t.Fatalf("bit %d can be flipped", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	if _, ok := decodeDone(make([]byte, doneBlock), &id, 3, 2); ok {
		t.Error("a block of zeros is accepted")
	}
	if _, ok := decodeDone(nil, &id, 3, 2); !ok {
		t.Error("the end of the file is refused")
	}
	if _, ok := decodeDone(b[:doneBlock-1], &id, 3, 2); ok {
		t.Error("a block that is cut off is accepted")
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]uint64{
		segmentName(1): 1, segmentName(123456789): 123456789, "00000012.seg": 12,
		"1.seg": 0, "000000001.seg": 0, "0000000x.seg": 0, "00000001.done": 0, "00000001.seg~": 0, "-0000001.seg": 0,
		"99999999999999999999.seg": 0, "9223372036854775807.seg": math.MaxInt64,
	} {
		if got, ok := parseName(name, segmentSuffix); got != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
}
