package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"linesplit/admin"
	"linesplit/internal/flags"
)

// groupParts are the tables [group.NAME] and [service.NAME.group.NAME] of a TOML file.
func groupParts() flags.Parts {
	return flags.Parts{Kind: "group", Options: []flags.Option{
		{Name: "target", Arg: "ADDRESS", Many: true},
		{Name: "required", Default: "true"},
		{Name: "budget", Arg: "SIZE"},
	}}
}

// readTable reads a table [group.NAME].
func (r *groupReader) readTable(t *flags.Set) {
	name := t.Name()
	switch {
	case !validGroupName.MatchString(name):
		t.FailPart(errors.New("a name of a group has letters, digits and any of . _ -, and begins with a letter or digit"))
		return
	case name == MainGroup:
		t.FailPart(fmt.Errorf("%s is the group of the key target: choose another name", MainGroup))
		return
	case r.has(name):
		t.FailPart(fmt.Errorf("the group %s is named twice: the key group names it, too", name))
		return
	}
	g := Group{Name: name, Required: t.Bool("required")}
	if t.Given("budget") {
		g.Budget = t.Size("budget", minBudget, math.MaxInt64)
	}
	r.groups = append(r.groups, g)
	entries := t.List("target")
	if len(entries) == 0 && t.OK("target") && !t.IsMisread() {
		t.FailPart(errors.New(`the group has no target: write target = ["10.0.0.1:9999"], for example`))
	}
	for _, entry := range entries {
		_, options, err := cutGroupOptions(entry)
		if err == nil && len(options) > 0 {
			err = errors.New("required and budget are keys of the table here: write required = false, for example")
		}
		if err == nil {
			err = r.add(entry, name)
		}
		if err != nil {
			t.FailEntry("target", entry, err)
		}
	}
}

// refuseGroupTables records tables of groups in connection mode. Those at the top of a file are for
// other services.
func refuseGroupTables(s *flags.Set) {
	for _, t := range s.Parts() {
		if !t.IsInherited() {
			t.FailPart(errors.New("only valid with -mode line: each client is connected to one target"))
		}
	}
}

// groupTable returns the table of a group, nil if it has none.
func groupTable(s *flags.Set, group string) *flags.Set {
	for _, t := range s.Parts() {
		if t.Name() == group {
			return t
		}
	}
	return nil
}

// failGroup records that something is wrong with a group, in the key of its table that the fault is
// about, or in -group.
func failGroup(s *flags.Set, group, key string, err error) {
	if t := groupTable(s, group); t != nil {
		t.Fail(key, err)
		return
	}
	s.FailEntry("group", group, err)
}

// failGroups records that groups do not fit each other, where the last of them was written.
func failGroups(s *flags.Set, err error) {
	if all := s.Parts(); len(all) > 0 {
		all[len(all)-1].FailPart(err)
		return
	}
	s.Fail("group", err)
}

// showGroupTables puts groups in tables into what is shown and compared, as -group takes them.
func (c *Config) showGroupTables() {
	if !c.groupTables {
		return
	}
	i := slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == "group" })
	all := c.WriteGroups(c.Targets)
	c.Shown[i].Value, c.Shown[i].Source = all, admin.SourceFile
	c.compared[i].value = all
}

// sameGroups reports whether two lists have the same groups, in any order.
func sameGroups(a, b []Group) bool {
	byName := func(x, y Group) int { return strings.Compare(x.Name, y.Name) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byName), slices.SortedFunc(slices.Values(b), byName))
}

// failTarget records that a target or a source of a group is wrong, where it was written.
func failTarget(s *flags.Set, group, value string, err error) {
	t := groupTable(s, group)
	switch {
	case group == "":
		s.FailValue("target", value, err)
	case t != nil:
		t.FailValue("target", value, err)
	default:
		s.FailValue("group", value, err)
	}
}
