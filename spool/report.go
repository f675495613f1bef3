package spool

import (
	"fmt"
	"slices"
	"time"

	"linesplit/linebuf"
)

// Report is what Inspect and Verify find in the directory of a spool.
type Report struct {
	Dir      string
	Bytes    int64 // of all segment files
	Segments []SegmentReport
	Groups   []GroupReport // in the order in which the segments name them

	// Unconfirmed counts the lines that at least one group waits for. Oldest is the time at which
	// the oldest of them was read; zero: there is none.
	Unconfirmed linebuf.Count
	Oldest      time.Time

	// Quarantined counts the lines of damaged frames in quarantine, as their headers tell.
	// QuarantinedBytes counts the bytes beside them: those that belong to no frame, and whole
	// segments.
	Quarantined       linebuf.Count
	QuarantinedFrames uint64
	QuarantinedBytes  int64

	// Damaged counts the lines of unconfirmed frames that are not as they were written, and
	// DamagedFrames these frames. Inspect does not read lines, and finds none.
	Damaged       linebuf.Count
	DamagedFrames uint64

	Faults     []Fault // in the order of the files, at most maxFaults
	MoreFaults int     // number of further ones

	read    int64 // bytes of the segments that were read to their ends
	skipped error // of the first segment that could not be opened
}

// SegmentReport is what is in one segment.
type SegmentReport struct {
	Name        string // of the file
	Bytes       int64  // size of the file
	Created     time.Time
	Groups      []string
	Frames      uint64
	Lines       linebuf.Count // of all frames
	Unconfirmed linebuf.Count // as in Report
}

// GroupReport is what waits for one group.
type GroupReport struct {
	Name    string
	Waiting linebuf.Count
}

// maxFaults limits the list of faults: a disk that returns garbage has very many.
const maxFaults = 100

// Fault is something that is wrong with a file. Faults of a file of confirmations cost no line: at
// most, lines are delivered twice.
type Fault struct {
	File string // name in the directory
	Text string // what is wrong, and where
}

func (r *Report) addFault(file, format string, args ...any) {
	if len(r.Faults) >= maxFaults {
		r.MoreFaults++
		return
	}
	r.Faults = append(r.Faults, Fault{File: file, Text: fmt.Sprintf(format, args...)})
}

// OK reports whether nothing is wrong: there are no faults and no damaged frames.
func (r *Report) OK() bool { return len(r.Faults) == 0 && r.DamagedFrames == 0 }

// group returns the report of a group, which it adds if it is new.
func (r *Report) group(name string) *GroupReport {
	i := slices.IndexFunc(r.Groups, func(g GroupReport) bool { return g.Name == name })
	if i < 0 {
		i = len(r.Groups)
		r.Groups = append(r.Groups, GroupReport{Name: name})
	}
	return &r.Groups[i]
}
