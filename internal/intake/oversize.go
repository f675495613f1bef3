package intake

import "fmt"

// Oversize is the policy for lines that are longer than Limits.MaxLine.
type Oversize int

const (
	Drop     Oversize = iota // skip the line, up to and including its newline
	Truncate                 // deliver the first MaxLine-1 bytes and a newline
	Close                    // close the connection, delivering only the lines before; over UDP the same as Drop
)

var oversizeNames = [...]string{Drop: "drop", Truncate: "truncate", Close: "close"}

// ParseOversize returns the policy with the given name: drop, truncate or close.
func ParseOversize(s string) (Oversize, error) {
	for o, name := range oversizeNames {
		if s == name {
			return Oversize(o), nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: want drop, truncate or close", s)
}

// String returns the name of the policy, in the form that ParseOversize takes.
func (o Oversize) String() string {
	if o < 0 || int(o) >= len(oversizeNames) {
		return fmt.Sprintf("Oversize(%d)", int(o))
	}
	return oversizeNames[o]
}
