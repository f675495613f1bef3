package splitter

import "fmt"

// Oversize says what becomes of a line that is longer than Options.MaxLine.
type Oversize int

const (
	Drop     Oversize = iota // skip it, up to and including its newline
	Truncate                 // deliver its first MaxLine-1 bytes and a newline
	Close                    // close its connection; the whole lines before it are delivered
)

var oversizeNames = [...]string{Drop: "drop", Truncate: "truncate", Close: "close"}

// ParseOversize is the reverse of String.
func ParseOversize(s string) (Oversize, error) {
	for o, name := range oversizeNames {
		if s == name {
			return Oversize(o), nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: want drop, truncate or close", s)
}

// String returns the name of the policy as a flag takes it: drop, truncate or close.
func (o Oversize) String() string {
	if o < 0 || int(o) >= len(oversizeNames) {
		return fmt.Sprintf("Oversize(%d)", int(o))
	}
	return oversizeNames[o]
}
