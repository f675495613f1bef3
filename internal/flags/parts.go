package flags

import (
	"fmt"
	"slices"
	"strings"
)

// Parts describe tables [KIND.NAME] for things of which the top of a TOML file, and each of its
// tables, may have several. Each such table is a Set of its own; see Set.Parts.
type Parts struct {
	// Kind is the first word of the tables. An option of the same name may describe such things,
	// too: where it is set, tables further out have no effect.
	Kind    string
	Options []Option
}

func (s *Set) isPartKind(word string) bool { return word != "" && word == s.partKind.Kind }

// Parts returns the tables [KIND.NAME] that are in force in s. Those at the top of the file are
// inherited by its tables, key by key, as other settings are. Faults of a part are faults of s.
func (s *Set) Parts() []*Set {
	if own := s.byName[s.partKind.Kind]; own != nil && s.name == "" && own.source != FromDefault && own.source != FromFile {
		return nil // a flag or a variable takes the place of what is at the top of the file
	}
	return s.parts
}

// IsInherited reports whether a part stands outside the table that has it.
func (s *Set) IsInherited() bool { return s.outside }

// IsMisread reports whether a part has keys that could not be read, so that it may seem to lack
// some.
func (s *Set) IsMisread() bool { return s.misread }

// FailPart records a fault of a part as a whole.
func (s *Set) FailPart(err error) {
	s.AddError(fmt.Errorf("%s:%d: %s: %w", s.path(), s.line, s.title(), err))
}

// inheritParts adds the parts at the top of the file to those of a table.
func (s *Set) inheritParts(top *Set) {
	if own := s.byName[s.partKind.Kind]; own != nil && own.source == FromFile && !own.inherited {
		return
	}
	var inherited []*Set
	for _, from := range top.Parts() {
		if i := slices.IndexFunc(s.parts, func(p *Set) bool { return p.name == from.name }); i >= 0 {
			s.parts[i].inheritFrom(from)
			continue
		}
		p := s.newPart(from.name, from.line)
		p.outside = true
		p.inheritFrom(from)
		inherited = append(inherited, p)
	}
	s.parts = append(inherited, s.parts...)
}

func (s *Set) newPart(name string, line int) *Set {
	p := New(s.partKind.Options)
	p.name, p.tableKind, p.line, p.within = name, s.partKind.Kind, line, s
	return p
}

// partOf returns the part that an entry is in, whose path is relative to s.
func (s *Set) partOf(e tomlEntry, path []string) (p *Set, fault string) {
	name := path[1]
	for _, p := range s.parts {
		if p.name == name {
			return p, ""
		}
	}
	if len(s.parts) == maxTables {
		return nil, fmt.Sprintf("[%s]: more than %d tables", strings.Join(e.path, "."), maxTables)
	}
	p = s.newPart(name, e.line)
	s.parts = append(s.parts, p)
	return p, ""
}

// setPart reads an entry whose path, relative to s, begins with the kind of its parts.
func (s *Set) setPart(e tomlEntry, path []string) (fault string) {
	kind, depth := s.partKind.Kind, len(path)
	switch {
	case e.array && e.header:
		return fmt.Sprintf("[[%s]] is a list of tables: write [%sNAME]", strings.Join(e.path, "."), s.partPrefix())
	case e.header && depth == 1:
		return ""
	case !e.header && depth == 2:
		return fmt.Sprintf("key %s outside a table of its own: write it in [%sNAME]", quote(path[1]), s.partPrefix())
	case depth > 3 || e.header && depth == 3:
		return fmt.Sprintf("unknown table [%s]: [%s.%s] has no tables", strings.Join(e.path, "."), kind, path[1])
	}
	p, fault := s.partOf(e, path)
	if fault != "" || e.header {
		return fault
	}
	fault = p.setEntry(p.byName, e, p.title())
	p.misread = p.misread || fault != ""
	return fault
}

// partPrefix returns what the tables of parts of s begin with.
func (s *Set) partPrefix() string {
	if s.name == "" {
		return s.partKind.Kind + "."
	}
	return s.tableKind + "." + s.name + "." + s.partKind.Kind + "."
}

// keyNames lists the keys of a part, for an error about one that it does not have.
func (s *Set) keyNames() string {
	var names []string
	for _, o := range s.options {
		names = append(names, o.Name)
	}
	return ": its keys are " + strings.Join(names, ", ")
}

// adviseParts adds to a fault in the syntax of a file how parts are written, if it is about that.
func (s *Set) adviseParts(err error) error {
	kind := s.partKind.Kind
	if kind == "" || !strings.Contains(err.Error(), "key "+kind+" already exists") {
		return err
	}
	return fmt.Errorf("%w: write all as tables [%s.NAME], or all of them in the key %s", err, kind, kind)
}
