package admin

import (
	"net/http"
	"time"
)

// SpoolStatus is the state of the spool of a service in line mode: files that keep lines until they
// are confirmed. Counts begin when the spool is opened, and never fall unless they are gauges.
type SpoolStatus struct {
	Directory  string `json:"directory"`
	LimitBytes uint64 `json:"limit_bytes"` // of its segment files
	Bytes      uint64 `json:"bytes"`       // gauge: size of its segment files, including room that was allocated ahead
	Segments   uint64 `json:"segments"`    // gauge: the number of these files
	// UnscannedBytes is a gauge: the size of segments of earlier runs whose lines are not counted
	// yet, neither in Unconfirmed nor in Groups.
	UnscannedBytes uint64 `json:"unscanned_bytes"`
	Full           bool   `json:"full"` // gauge: there is no room, so that senders wait or the oldest lines are dropped

	// Unconfirmed is a gauge: lines that not all groups have confirmed. Oldest says when the oldest
	// of them was read; zero: there is none.
	Unconfirmed Amount    `json:"unconfirmed"`
	Oldest      time.Time `json:"oldest,omitzero"`
	// EmptySeconds is the time to an empty spool at the rate at which Unconfirmed.Bytes and
	// UnscannedBytes fell within the last ten seconds. Server fills it in. 0: the spool is empty,
	// or does not shrink.
	EmptySeconds float64 `json:"empty_seconds,omitempty"`

	Appended          Amount `json:"appended"`    // lines written to it
	Dropped           Amount `json:"dropped"`     // the oldest lines, dropped to make room for new ones
	Orphaned          Amount `json:"orphaned"`    // lines that waited for groups that no longer exist
	Quarantined       Amount `json:"quarantined"` // lines of damaged frames, which are not delivered
	QuarantinedFrames uint64 `json:"quarantined_frames"`
	Syncs             uint64 `json:"syncs"`        // flushes of segments to the disk
	SyncErrors        uint64 `json:"sync_errors"`  // failed flushes of its files
	WriteErrors       uint64 `json:"write_errors"` // failed writes to its files
	// Faults counts the errors of the disk, SyncErrors and WriteErrors included, and damage in the
	// files.
	Faults    uint64       `json:"faults"`
	LastFault string       `json:"last_fault,omitempty"`
	HeldBytes uint64       `json:"held_bytes"` // gauge: memory of lines that wait to be flushed
	Groups    []SpoolGroup `json:"groups"`     // in the order of the configuration
}

// SpoolGroup is the part of one group of targets in a SpoolStatus.
type SpoolGroup struct {
	Name      string `json:"name"`
	Waiting   Amount `json:"waiting"`   // gauge: to be read back from the spool
	InFlight  Amount `json:"in_flight"` // gauge: with the group's workers, not yet confirmed
	Replayed  Amount `json:"replayed"`  // read back from the spool
	Confirmed Amount `json:"confirmed"` // of those that were written to the spool
	Dropped   Amount `json:"dropped"`   // the oldest lines that waited for the group, dropped to make room
}

// SpoolSample holds some of the counts of a SpoolStatus.
type SpoolSample struct {
	Bytes       uint64 `json:"bytes"`       // gauge
	Unconfirmed Amount `json:"unconfirmed"` // gauge
}

// spoolSample returns the sample of s, or nil if s is nil.
func spoolSample(s *SpoolStatus) *SpoolSample {
	if s == nil {
		return nil
	}
	return &SpoolSample{Bytes: s.Bytes, Unconfirmed: s.Unconfirmed}
}

// left returns the bytes that are to be delivered, as far as they are known. s may be nil.
func (s *SpoolStatus) left() uint64 {
	if s == nil {
		return 0
	}
	return s.Unconfirmed.Bytes + s.UnscannedBytes
}

// setEmptySeconds sets EmptySeconds from what was left some seconds ago. s may be nil.
func (s *SpoolStatus) setEmptySeconds(before uint64, seconds float64) {
	if now := s.left(); now < before && s != nil {
		s.EmptySeconds = float64(now) / (float64(before-now) / seconds)
	}
}

// withoutNil returns a copy of s whose list is not nil, or nil if s is nil.
func (s *SpoolStatus) withoutNil() *SpoolStatus {
	if s == nil {
		return nil
	}
	spool := *s
	spool.Groups = orEmpty(spool.Groups)
	return &spool
}

func (v view) getSpool(w http.ResponseWriter, _ *http.Request) error {
	s := v.status()
	if s.Spool == nil {
		return newProblem(http.StatusConflict, "no-spool", "there is no spool: -spool DIR sets one up, in line mode")
	}
	return respond(w, s.Spool)
}
