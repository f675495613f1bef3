package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"linesplit/internal/discovery"
	"linesplit/internal/fanout"
	"linesplit/internal/flags"
	"linesplit/target"
)

// MainGroup is the name of the group that -target lists, where there are others.
const MainGroup = "main"

// Group is a group of targets beside that of -target. Its targets are in Config.Targets.
type Group struct {
	Name     string
	Required bool  // its targets must confirm lines; otherwise lines beyond Budget are dropped for it
	Budget   int64 // bytes of memory; 0 for a required group
}

// minBudget is the least budget of a best-effort group, in bytes.
const minBudget = 64 << 10

var validGroupName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// groupEntry is one address of a -group with the options for the group that stand behind it.
type groupEntry struct {
	name    string // empty: that of the entry before
	address string
	options map[string]string
}

func parseGroupEntry(entry string) (e groupEntry, err error) {
	named := false
	if e.name, e.address, named = target.CutGroup(entry); named && !validGroupName.MatchString(e.name) {
		return e, fmt.Errorf("the name %q: use letters, digits and any of . _ -, such as archive=%s", e.name, e.address)
	}
	e.address, e.options, err = cutGroupOptions(e.address)
	return e, err
}

// cutGroupOptions takes the options for the group out of the options of an address.
func cutGroupOptions(address string) (rest string, options map[string]string, err error) {
	host, query, _ := strings.Cut(address, "?")
	var others []string
	options = make(map[string]string)
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		_, given := options[key]
		switch {
		case part == "":
		case key != "required" && key != "budget":
			others = append(others, part)
		case given:
			return "", nil, fmt.Errorf("option %s is given twice", key)
		default:
			options[key] = value
		}
	}
	if others != nil {
		host += "?" + strings.Join(others, "&")
	}
	return host, options, nil
}

// groupReader reads the groups of a configuration: the entries of -group, and tables
// [group.NAME].
type groupReader struct {
	s       *flags.Set
	c       Config
	groups  []Group
	at      map[string]string // the groups of addresses, by AddressKey
	targets []target.Address
	sources []discovery.Spec // of all groups, that of -target first
}

// groupsOf adds the groups of line mode to c.
func groupsOf(s *flags.Set, c *Config) {
	if !s.OK("mode") {
		return
	}
	if c.Mode != LineMode {
		refuseGroupTables(s)
		return
	}
	r := groupReader{s: s, c: *c, at: map[string]string{}, sources: c.Sources}
	for _, a := range c.Targets {
		r.at[AddressKey(a.String())] = MainGroup
	}
	r.readEntries()
	for _, t := range s.Parts() {
		r.readTable(t)
	}
	checkGroups(s, *c, r.groups)
	c.Groups, c.Targets, c.Sources = r.groups, append(c.Targets, r.targets...), r.sources
	c.groupTables = len(s.Parts()) > 0
}

// readEntries reads -group.
func (r *groupReader) readEntries() {
	var current *Group
	for _, entry := range r.s.List("group") {
		e, err := parseGroupEntry(entry)
		switch {
		case err != nil:
		case e.name == "" && current == nil:
			err = errors.New("no name: write NAME=ADDRESS, such as archive=" + entry)
		case e.name == MainGroup:
			err = errMainGroup
		case r.has(e.name):
			err = fmt.Errorf("the group %s is named twice: list its addresses behind one another, %s=ADDRESS,ADDRESS", e.name, e.name)
		case e.name != "":
			r.groups = append(r.groups, Group{Name: e.name, Required: true})
			current = &r.groups[len(r.groups)-1]
		}
		if err == nil {
			err = current.setOptions(e.options)
		}
		if err == nil {
			err = r.add(e.address, current.Name)
		}
		if errors.Is(err, target.ErrUnknownOption) {
			err = fmt.Errorf("%w; for the group required=false or budget=64MiB", err)
		}
		if err != nil {
			r.s.FailEntry("group", entry, err)
		}
	}
}

var errMainGroup = fmt.Errorf("%s is the group of -target: choose another name", MainGroup)

func (r *groupReader) has(name string) bool {
	return slices.ContainsFunc(r.groups, func(g Group) bool { return g.Name == name })
}

// add reads a target of a group, or a source of targets.
func (r *groupReader) add(address, group string) error {
	if discovery.IsSource(address) {
		return r.addSource(address, group)
	}
	a, err := parseTarget(address, r.c.tlsTargets)
	if err != nil {
		return err
	}
	a.Group = group
	key := AddressKey(a.String())
	if r.at[key] != "" {
		return fmt.Errorf("the address is in the group %s already", r.at[key])
	}
	r.at[key] = group
	r.targets = append(r.targets, a)
	return nil
}

// addSource reads a source of targets. No two groups may ask the same one, since no two have the
// same target.
func (r *groupReader) addSource(text, group string) error {
	spec, err := parseSource(text, r.c.tlsTargets)
	if err != nil {
		return err
	}
	for _, other := range r.sources {
		if other.String() == text || other.SamePlace(spec) && other.Group() != group {
			return fmt.Errorf("the source is in the group %s already", cmp.Or(other.Group(), MainGroup))
		}
	}
	r.sources = append(r.sources, spec.InGroup(group))
	return nil
}

// setOptions reads the options for the group.
func (g *Group) setOptions(options map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		var err error
		switch key {
		case "required":
			if g.Required, err = strconv.ParseBool(value); err != nil {
				err = fmt.Errorf("required=%q is neither true nor false: write required=false", value)
			}
		case "budget":
			if g.Budget, err = flags.ParseSize(value); err == nil && g.Budget < minBudget {
				err = fmt.Errorf("budget=%q: must be at least 64KiB", value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkGroups looks at what groups must have in common, and fills in their budgets.
func checkGroups(s *flags.Set, c Config, all []Group) {
	if len(all) >= fanout.Max {
		failGroups(s, fmt.Errorf("%d groups: there may be at most %d beside that of -target", len(all), fanout.Max-1))
	}
	if !s.OK("group") {
		return
	}
	bestEffort, sum := int64(0), int64(0)
	for _, g := range all {
		if !g.Required {
			bestEffort++
		}
	}
	for i := range all {
		g := &all[i]
		switch {
		case g.Required && g.Budget > 0:
			failGroup(s, g.Name, "budget", errors.New("a required group has no budget: it holds up senders; "+
				"write required=false, too, to drop lines for it"))
		case !g.Required && g.Budget == 0:
			g.Budget = c.Memory / 4 / bestEffort
		}
		sum += g.Budget
	}
	if s.OK("memory") && sum > c.Memory/2 {
		failGroups(s, fmt.Errorf("the budgets are %d bytes in sum: may be at most half of -memory, which is %s", sum, s.Text("memory")))
	}
}

// InGroup returns those of the targets that belong to a group, in their order.
func InGroup(targets []target.Address, name string) (in []target.Address) {
	for _, a := range targets {
		if a.Group == name || a.Group == "" && name == MainGroup {
			in = append(in, a)
		}
	}
	return in
}

// grouped returns the targets of all groups but the first.
func (c Config) grouped() (all []target.Address) {
	for _, g := range c.Groups {
		all = append(all, InGroup(c.Targets, g.Name)...)
	}
	return all
}

// WriteGroups returns the groups with those of the targets that are in them, and their sources, as
// -group takes them.
func (c Config) WriteGroups(targets []target.Address) string {
	var all []string
	for _, g := range c.Groups {
		written := g.Name + "=" + c.writeTargets(targets, g.Name)
		if !g.Required {
			separator := "?"
			if strings.Contains(written[strings.LastIndexByte(written, ',')+1:], "?") {
				separator = "&"
			}
			written += fmt.Sprintf("%srequired=false&budget=%dB", separator, g.Budget)
		}
		all = append(all, written)
	}
	return strings.Join(all, ",")
}

// cutGroup returns the group of an address that is to be added, written as for -group or -target.
func (c Config) cutGroup(address string) (group, rest string, err error) {
	e, err := parseGroupEntry(address)
	switch {
	case err != nil:
		return "", "", err
	case len(e.options) > 0:
		return "", "", errors.New("required and budget are of the whole group, which does not change while linesplit runs")
	case e.name == "" || e.name == MainGroup:
		return "", e.address, nil
	case slices.ContainsFunc(c.Groups, func(g Group) bool { return g.Name == e.name }):
		return e.name, e.address, nil
	}
	return "", "", fmt.Errorf("there is no group %q", e.name)
}
