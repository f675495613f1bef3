package config

import (
	"errors"
	"fmt"
	"slices"

	"linesplit/admin"
	"linesplit/internal/flags"
)

// refuseEmptyFile records a fault for a file without a setting if neither a flag nor the
// environment names a target: a restart while the file is being written would send everything to
// the default target.
func refuseEmptyFile(s *flags.Set) {
	if s.Text("config") == "" || !s.OK("config") || s.Given("target") || s.Err() != nil || len(s.Tables())+len(s.Parts()) > 0 {
		return
	}
	for _, o := range s.Options() {
		if s.Has(o.Name) && s.Source(o.Name) == flags.FromFile {
			return
		}
	}
	s.Fail("config", fmt.Errorf("the file holds no setting, and neither a flag nor %s names a target", EnvName("target")))
}

// CheckLost returns an error if next lacks all settings of the file, all services, or every target
// of a service, where p has some: then the file was probably truncated, and the default target
// would take the place of the others. Users who want the defaults restart, or write them into the
// file.
func (p Process) CheckLost(next Process) error {
	if p.Named() && !next.Named() {
		return fmt.Errorf("the file %s holds no service, where it held %d: is it being written at the moment?",
			p.setting("config").Value, len(p.Services))
	}
	var errs []error
	if had, has := p.fromFile(), next.fromFile(); !p.Named() && had > 0 && has == 0 {
		errs = append(errs, fmt.Errorf("the file %s holds no setting, where it held %d: is it being written at the moment?",
			p.setting("config").Value, had))
	}
	for _, c := range p.Services {
		for _, is := range next.Services {
			if c.Name == is.Name {
				errs = append(errs, c.checkLostTargets(is))
			}
		}
	}
	return errors.Join(errs...)
}

// checkLostTargets returns an error if next has only the default target, and c has others.
func (c Config) checkLostTargets(next Config) error {
	if c.setting("target").Source == admin.SourceDefault || next.setting("target").Source != admin.SourceDefault {
		return nil
	}
	about := ""
	if c.Name != "" {
		about = tableKind + " " + c.Name + ": "
	}
	return fmt.Errorf("%sno target in the file, a flag or %s any more, and %d are in use: "+
		"to send everything to the default one, write target %s", about, EnvName("target"), len(c.Targets)+len(c.Sources),
		next.setting("target").Value)
}

// fromFile returns the number of settings that come from the file.
func (c Config) fromFile() (n int) {
	for _, s := range c.Shown {
		if s.Source == admin.SourceFile {
			n++
		}
	}
	return n
}

// setting returns a setting of c. It panics if c has no such setting.
func (c Config) setting(name string) admin.Setting {
	return c.Shown[slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == name })]
}
