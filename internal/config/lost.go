package config

import (
	"errors"
	"fmt"
	"slices"

	"linesplit/admin"
	"linesplit/internal/flags"
)

// refuseEmptyFile records a fault for a file without a setting where nothing else names a target: a
// restart while the file is being written would send everything to the default one.
func refuseEmptyFile(s *flags.Set) {
	if s.Text("config") == "" || !s.OK("config") || s.Given("target") || s.Err() != nil {
		return
	}
	for _, o := range s.Options() {
		if s.Has(o.Name) && s.Source(o.Name) == flags.FromFile {
			return
		}
	}
	s.Fail("config", fmt.Errorf("the file holds no setting, and neither a flag nor %s names a target", EnvName("target")))
}

// CheckLost returns an error if next has lost what c had, as a file does that was truncated: all
// settings of the file, or every target, so that the default one would take their place. To get the
// defaults back, restart, or write them down.
func (c Config) CheckLost(next Config) error {
	var errs []error
	if had, has := c.fromFile(), next.fromFile(); had > 0 && has == 0 {
		errs = append(errs, fmt.Errorf("the file %s holds no setting, where it held %d: is it being written at the moment?",
			c.setting("config").Value, had))
	}
	if t := c.setting("target"); t.Source != admin.SourceDefault && next.setting("target").Source == admin.SourceDefault {
		errs = append(errs, fmt.Errorf("no target in the file, a flag or %s any more, and %d are in use: "+
			"to send everything to the default one, write target %s", EnvName("target"), len(c.Targets),
			next.setting("target").Value))
	}
	return errors.Join(errs...)
}

// fromFile returns how many settings come from the file.
func (c Config) fromFile() (n int) {
	for _, s := range c.Shown {
		if s.Source == admin.SourceFile {
			n++
		}
	}
	return n
}

// setting returns a setting that both modes have.
func (c Config) setting(name string) admin.Setting {
	return c.Shown[slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == name })]
}
