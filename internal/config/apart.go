package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"linesplit/internal/flags"
	"linesplit/linebuf"
	"linesplit/listen"
)

// checkApart records addresses on which two services listen and that they cannot share. It also
// prepares the listeners of all services to stand beside each other; see listen.Apart.
func checkApart(s *flags.Set, services []Config) {
	type listener struct {
		spec listen.Spec
		of   Config // the service
	}
	there := map[string][]listener{} // by AddressKey
	var all []listen.Spec
	for _, c := range services {
		for _, spec := range c.Listen {
			all = append(all, spec)
			if ChoosesPort(spec) {
				continue
			}
			key := ListenerKey(spec)
			for _, other := range there[key] {
				if err := mayShare(spec, other.spec, other.of, c); err != nil && other.of.Name != c.Name {
					s.AddError(err)
				}
			}
			there[key] = append(there[key], listener{spec, c})
		}
	}
	listen.Apart(all)
	for i := range services {
		n := copy(services[i].Listen, all)
		all = all[n:]
	}
}

// checkParts records services that may have more memory than all services together, and services
// whose longest line does not fit the part of the memory that is reserved for them.
func checkParts(s *flags.Set, p Process) {
	if !s.OK("memory") {
		return
	}
	pools := 0
	for _, c := range p.Services {
		if c.Mode == LineMode {
			pools++
		}
	}
	for _, c := range p.Services {
		if c.Memory > p.Memory {
			s.AddError(fmt.Errorf("%s %s: memory is %s, and at the top of the file %s for all services", tableKind, c.Name,
				humanize.IBytes(uint64(c.Memory)), humanize.IBytes(uint64(p.Memory))))
		}
		part := linebuf.Part(p.Memory, c.Memory, pools)
		if longest := max(int64(c.Lines.MaxLine), c.Buffer); c.Mode == LineMode && pools > 1 && longest > part/4 {
			s.AddError(fmt.Errorf("%s %s: -max-line and -buffer must be at most a quarter of the memory that the service can "+
				"count on, which is %s: half of -memory, divided by %d services", tableKind, c.Name, humanize.IBytes(uint64(part)), pools))
		}
	}
}

// checkRounds records services that send to each other, directly or through others, so that lines
// would go round for ever. checkOwn finds a service that sends to itself.
func checkRounds(s *flags.Set, services []Config) {
	at := map[ownPlace]string{} // services by the places of their listeners
	for _, c := range services {
		for place := range c.ownPlaces().listeners {
			at[place] = c.Name
		}
	}
	g := graph{leads: map[string][]string{}, seen: map[string]bool{}}
	for _, c := range services {
		own := c.ownPlaces()
		for _, a := range c.Targets {
			for _, place := range own.namesOf(a) {
				if to, found := at[place]; found && to != c.Name {
					g.leads[c.Name] = append(g.leads[c.Name], to)
				}
			}
		}
	}
	for _, c := range services {
		if round := g.roundFrom(c.Name); round != nil {
			s.AddError(fmt.Errorf("the services send to each other, %s: what is sent there would go round for ever",
				strings.Join(round, " to ")))
			return
		}
	}
}

// graph is the graph of services that send to services.
type graph struct {
	leads map[string][]string // the services that each service sends to
	seen  map[string]bool     // services that roundFrom has visited
	way   []string            // from the first service to the one that roundFrom visits
}

// roundFrom returns a round that can be reached from a service, its first name also at the end, or
// nil.
func (g *graph) roundFrom(name string) []string {
	if i := slices.Index(g.way, name); i >= 0 {
		return append(g.way[i:], name)
	}
	if g.seen[name] {
		return nil
	}
	g.seen[name] = true
	g.way = append(g.way, name)
	for _, next := range g.leads[name] {
		if round := g.roundFrom(next); round != nil {
			return round
		}
	}
	g.way = g.way[:len(g.way)-1]
	return nil
}
