package listen

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"linesplit/internal/clienthello"
	"linesplit/internal/servername"
)

// Rest is a set of clients whose server name fits none that is configured.
type Rest uint8

// The kinds of such clients.
const (
	UnknownName Rest = 1 << iota // asks for another name
	NoName                       // asks for none
	Encrypted                    // the name may be encrypted (ECH), and the one that shows is another or none
	NoRest      Rest = 0
	AllRest     Rest = UnknownName | NoName | Encrypted
)

// restNames are the kinds as ParseRest takes them, and as refusals are counted.
var restNames = []struct {
	kind Rest
	name string
}{{UnknownName, "unknown-name"}, {NoName, "no-name"}, {Encrypted, "ech"}}

// ParseRest reads a kind of clients: unknown-name, no-name or ech, or all of them.
func ParseRest(text string) (Rest, error) {
	if text == "all" {
		return AllRest, nil
	}
	for _, r := range restNames {
		if r.name == text {
			return r.kind, nil
		}
	}
	return NoRest, errors.New("write all, unknown-name, no-name or ech")
}

// String returns the kinds as ParseRest takes them, separated by commas.
func (r Rest) String() string {
	if r == AllRest {
		return "all"
	}
	var all []string
	for _, n := range restNames {
		if r&n.kind != 0 {
			all = append(all, n.name)
		}
	}
	return strings.Join(all, ",")
}

// Wanted says which clients of a TLS listener a service gets. The zero value is for those of no
// name and of no kind.
type Wanted struct {
	Names []string // that clients ask for, as servername.Parse returns them
	Rest  Rest     // clients that none of the names of any service fits
}

// Overlap returns an error that names what both want.
func (w Wanted) Overlap(other Wanted) error {
	for _, name := range w.Names {
		if slices.Contains(other.Names, name) {
			return fmt.Errorf("the server name %s", name)
		}
	}
	if both := w.Rest & other.Rest; both != NoRest {
		return fmt.Errorf("the clients %s", both)
	}
	return nil
}

// routes are the active listeners of a Router by what they want.
type routes struct {
	byName servername.Table[*Routed]
	byRest map[Rest]*Routed
}

func newRoutes(all []*Routed) *routes {
	r := &routes{byName: servername.Table[*Routed]{}, byRest: map[Rest]*Routed{}}
	for _, l := range all {
		if !l.active {
			continue
		}
		for _, name := range l.wanted.Names {
			r.byName[name] = l
		}
		for _, n := range restNames {
			if l.wanted.Rest&n.kind != 0 {
				r.byRest[n.kind] = l
			}
		}
	}
	return r
}

// find returns the listener for a client, or nil and the kind of the client if no listener serves
// that kind. Browsers also say that they encrypt the name where they do not, so that a name that
// fits counts.
func (r *routes) find(h clienthello.Hello) (*Routed, Rest) {
	if l, found := r.byName.Lookup(h.ServerName); found {
		return l, NoRest
	}
	kind := UnknownName
	switch {
	case h.Encrypted:
		kind = Encrypted
	case h.ServerName == "":
		kind = NoName
	}
	return r.byRest[kind], kind
}
