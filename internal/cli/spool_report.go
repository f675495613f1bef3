package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/linebuf"
	"linesplit/spool"
)

// spoolReport prints what is in a spool.
type spoolReport struct {
	*spool.Report
	verified bool // lines were read and compared with their checksums
}

// writer returns the function that prints the report, as JSON or as text.
func (r spoolReport) writer(asJSON bool) func(io.Writer) {
	if asJSON {
		return r.writeJSON
	}
	return r.write
}

func (r spoolReport) write(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "size\t%s in %s\n", sizeOf(r.Bytes), counted(uint64(len(r.Segments)), "segment"))
	fmt.Fprintf(t, "unconfirmed\t%s\n", linesOf(r.Unconfirmed))
	if !r.Oldest.IsZero() {
		fmt.Fprintf(t, "oldest line\tread %s, %s\n", r.Oldest.Format(time.RFC3339), humanize.Time(r.Oldest))
	}
	if r.QuarantinedFrames > 0 || r.QuarantinedBytes > 0 {
		fmt.Fprintf(t, "quarantined\t%s in %s, and %s beside them\n", linesOf(r.Quarantined), counted(r.QuarantinedFrames, "frame"),
			sizeOf(r.QuarantinedBytes))
	}
	switch {
	case r.DamagedFrames > 0:
		fmt.Fprintf(t, "damaged\t%s in %s: they will not be delivered\n", linesOf(r.Damaged), counted(r.DamagedFrames, "frame"))
	case r.verified && r.OK():
		fmt.Fprintf(t, "verified\tall lines in the segments are as they were written\n")
	}
	t.Flush()
	r.writeGroups(w)
	r.writeSegments(w)
	writeFaults(w, r.Report)
}

func (r spoolReport) writeGroups(w io.Writer) {
	if len(r.Groups) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nGROUP\tWAITING LINES\tBYTES\n")
	for _, g := range r.Groups {
		fmt.Fprintf(t, "%s\t%s\t%s\n", g.Name, humanize.Comma(int64(g.Waiting.Lines)), sizeOf(int64(g.Waiting.Bytes)))
	}
	t.Flush()
}

func (r spoolReport) writeSegments(w io.Writer) {
	if len(r.Segments) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nSEGMENT\tCREATED\tSIZE\tFRAMES\tLINES\tUNCONFIRMED\n")
	for _, s := range r.Segments {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Created.Format(time.RFC3339), sizeOf(s.Bytes),
			humanize.Comma(int64(s.Frames)), humanize.Comma(int64(s.Lines.Lines)), humanize.Comma(int64(s.Unconfirmed.Lines)))
	}
	t.Flush()
}

// writeFaults lists the faults, if there are any.
func writeFaults(w io.Writer, r *spool.Report) {
	if len(r.Faults) > 0 {
		fmt.Fprintln(w)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(w, "%s: %s\n", f.File, f.Text)
	}
	if r.MoreFaults > 0 {
		fmt.Fprintf(w, "%s more\n", counted(uint64(r.MoreFaults), "fault"))
	}
}

// writeExported prints the account of an export.
func writeExported(w io.Writer, e *spool.Exported) {
	fmt.Fprintf(w, "exported %s", linesOf(e.Count))
	if e.Altered > 0 {
		fmt.Fprintf(w, ", %s of them altered", humanize.Comma(int64(e.Altered)))
	}
	if e.Refused > 0 {
		fmt.Fprintf(w, ", %s of them left out because of a delimiter within", humanize.Comma(int64(e.Refused)))
	}
	if e.Report.DamagedFrames > 0 {
		fmt.Fprintf(w, "; damaged and left out: %s", linesOf(e.Report.Damaged))
	}
	fmt.Fprintln(w)
	writeFaults(w, e.Report)
}

func sizeOf(n int64) string { return humanize.IBytes(uint64(n)) }

func linesOf(c linebuf.Count) string {
	return counted(c.Lines, "line") + ", " + sizeOf(int64(c.Bytes))
}

// spoolAmount is an admin.Amount of the report.
type spoolAmount struct {
	Lines uint64 `json:"lines"`
	Bytes uint64 `json:"bytes"`
}

// These are the report as JSON.
type (
	spoolJSON struct {
		Directory         string         `json:"directory"`
		Bytes             int64          `json:"bytes"` // of the segment files
		Unconfirmed       spoolAmount    `json:"unconfirmed"`
		Oldest            time.Time      `json:"oldest,omitzero"`
		Groups            []spoolGroup   `json:"groups"`
		Segments          []spoolSegment `json:"segments"`
		Quarantined       spoolAmount    `json:"quarantined"`
		QuarantinedFrames uint64         `json:"quarantined_frames"`
		QuarantinedBytes  int64          `json:"quarantined_bytes"` // beside these frames
		Verified          bool           `json:"verified"`          // lines were read
		Damaged           spoolAmount    `json:"damaged"`           // 0 unless Verified
		DamagedFrames     uint64         `json:"damaged_frames"`
		Faults            []spoolFault   `json:"faults"`
		MoreFaults        int            `json:"more_faults"`
	}
	spoolGroup struct {
		Name    string      `json:"name"`
		Waiting spoolAmount `json:"waiting"`
	}
	spoolSegment struct {
		Name        string      `json:"name"`
		Bytes       int64       `json:"bytes"`
		Created     time.Time   `json:"created"`
		Groups      []string    `json:"groups"`
		Frames      uint64      `json:"frames"`
		Lines       spoolAmount `json:"lines"`
		Unconfirmed spoolAmount `json:"unconfirmed"`
	}
	spoolFault struct {
		File string `json:"file"`
		Text string `json:"text"`
	}
)

func (r spoolReport) writeJSON(w io.Writer) {
	all := spoolJSON{
		Directory: r.Dir, Bytes: r.Bytes, Unconfirmed: spoolAmount(r.Unconfirmed), Oldest: r.Oldest,
		Quarantined: spoolAmount(r.Quarantined), QuarantinedFrames: r.QuarantinedFrames, QuarantinedBytes: r.QuarantinedBytes,
		Verified: r.verified, Damaged: spoolAmount(r.Damaged), DamagedFrames: r.DamagedFrames, MoreFaults: r.MoreFaults,
		Groups: []spoolGroup{}, Segments: []spoolSegment{}, Faults: []spoolFault{},
	}
	for _, g := range r.Groups {
		all.Groups = append(all.Groups, spoolGroup{g.Name, spoolAmount(g.Waiting)})
	}
	for _, s := range r.Segments {
		all.Segments = append(all.Segments, spoolSegment{Name: s.Name, Bytes: s.Bytes, Created: s.Created, Groups: s.Groups,
			Frames: s.Frames, Lines: spoolAmount(s.Lines), Unconfirmed: spoolAmount(s.Unconfirmed)})
	}
	for _, f := range r.Faults {
		all.Faults = append(all.Faults, spoolFault(f))
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(all) // w is memory
}
