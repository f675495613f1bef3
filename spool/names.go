package spool

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The names of what is in the directory of a spool. Those of segments carry their order.
const (
	lockName       = "lock"
	quarantineName = "quarantine"
	spareName      = "spare"
	segmentSuffix  = ".seg"
	doneSuffix     = ".done"
	batchesSuffix  = ".batches"
)

// maxNumber is a number that the files of a spool do not reach. Names can have higher ones, so that
// no file that it makes is overlooked later.
const maxNumber = 1 << 62

// segmentName returns the name of a segment file.
func segmentName(number uint64) string { return fmt.Sprintf("%08d", number) + segmentSuffix }

// doneName returns the name of the file of confirmations of a segment.
func doneName(number uint64) string { return fmt.Sprintf("%08d", number) + doneSuffix }

// batchesName returns the name of the file of batches of a segment.
func batchesName(number uint64) string { return fmt.Sprintf("%08d", number) + batchesSuffix }

// parseName returns the number in a name with the given suffix.
func parseName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) < 8 || len(digits) > 8 && digits[0] == '0' {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, false
	}
	return number, true
}

// listing is what is in the directory of a spool.
type listing struct {
	segments []listed // in order of their numbers
	dones    []uint64
	batches  []uint64 // in their order
	last     uint64   // highest number of any file; 0 if there is none
}

// listed is a segment file.
type listed struct {
	number uint64
	size   int64
}

// compare orders a file by a number.
func (l listed) compare(number uint64) int { return cmp.Compare(l.number, number) }

// list reads the directory of a spool. Other files in it do not matter.
func list(fsys FS, dir string) (listing, error) {
	entries, err := fsys.List(dir)
	if err != nil {
		return listing{}, err
	}
	var l listing
	for _, e := range entries {
		if !e.Regular {
			continue
		}
		if n, ok := parseName(e.Name, segmentSuffix); ok {
			l.segments = append(l.segments, listed{n, e.Size})
			l.last = max(l.last, n)
		} else if n, ok := parseName(e.Name, doneSuffix); ok {
			l.dones = append(l.dones, n)
			l.last = max(l.last, n)
		} else if n, ok := parseName(e.Name, batchesSuffix); ok {
			l.batches = append(l.batches, n)
			l.last = max(l.last, n)
		}
	}
	slices.Sort(l.batches)
	slices.SortFunc(l.segments, func(a, b listed) int { return a.compare(b.number) })
	return l, nil
}

// path returns the path of a file in the directory of a spool.
func path(dir, name string) string { return filepath.Join(dir, name) }
