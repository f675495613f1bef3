package spool

import (
	"fmt"
	"strings"
)

// What is damaged is kept in the directory quarantine, in files that a scanner reads as segments:
// each begins with the header of the segment that it comes from.
//
//	00000012-0123456789abcdef-00004096.frame  one frame: its header is good, its lines are not
//	00000012-0123456789abcdef-00004096.raw    bytes without the header of a frame
//	00000012-0123456789abcdef.seg             a whole segment, parts of which could not be read
//
// The parts of a name are the number of the segment, the begin of its id, and the offset at which
// the bytes stood.
const (
	frameSuffix = ".frame"
	rawSuffix   = ".raw"
)

// quarantinedName returns the name of a file with bytes of a segment from an offset on.
func quarantinedName(h *header, offset int64, suffix string) string {
	return fmt.Sprintf("%08d-%016x-%08d%s", h.number, h.id.short(), offset, suffix)
}

// quarantinedSegment returns the name of a whole segment.
func quarantinedSegment(h *header) string {
	return fmt.Sprintf("%08d-%016x%s", h.number, h.id.short(), segmentSuffix)
}

// isQuarantined reports whether a name is that of a file that a spool has put into quarantine.
func isQuarantined(name string) bool {
	return strings.HasSuffix(name, frameSuffix) || strings.HasSuffix(name, rawSuffix) || strings.HasSuffix(name, segmentSuffix)
}
