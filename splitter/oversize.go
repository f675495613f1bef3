package splitter

import "linesplit/internal/intake"

// Oversize is the policy for lines that are longer than Tuning.MaxLine.
type Oversize = intake.Oversize

// These are the policies.
const (
	Drop     = intake.Drop
	Truncate = intake.Truncate
	Close    = intake.Close
)

// ParseOversize returns the policy with the given name: drop, truncate or close.
func ParseOversize(s string) (Oversize, error) { return intake.ParseOversize(s) }
