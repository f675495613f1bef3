package config

import (
	"errors"
	"slices"
	"strings"

	"linesplit/internal/discovery"
	"linesplit/internal/flags"
	"linesplit/internal/framing"
	"linesplit/target"
)

func discoveryRules(s *flags.Set) discovery.Rules {
	drain := flags.Parsed(s, "discovery-empty", func(text string) (bool, error) {
		if text != "keep" && text != "drain" {
			return false, errors.New("write keep or drain")
		}
		return text == "drain", nil
	})
	return discovery.Rules{DrainEmpty: drain}
}

func parseResolver(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return discovery.ParseResolver(text)
}

// checkDiscovery records options for sources where there are none.
func checkDiscovery(s *flags.Set, c Config) {
	if len(c.Sources) > 0 || !s.OK("target") {
		return
	}
	if s.Given("discovery-empty") && s.OK("discovery-empty") {
		s.Fail("discovery-empty", errors.New("no source of targets: write dns://NAME:PORT in -target, for example"))
	}
	asksDNS := func(spec discovery.Spec) bool { return spec.AsksDNS() }
	if s.Given("resolver") && s.OK("resolver") && !slices.ContainsFunc(c.Sources, asksDNS) {
		s.Fail("resolver", errors.New("no source that asks DNS: write dns://NAME:PORT or srv://NAME in -target"))
	}
}

// SourceNames returns the names of the sources.
func (c Config) SourceNames() (names []string) {
	for _, spec := range c.Sources {
		names = append(names, spec.String())
	}
	return names
}

// WriteTargets returns the group of -target with c's sources as -target takes it, the targets
// sorted.
func (c Config) WriteTargets(targets []target.Address) string {
	all := c.SourceNames()
	if list := WriteTargets(targets, MainGroup); list != "" {
		all = append([]string{list}, all...)
	}
	return strings.Join(all, ",")
}

// sourcesThatNeedRestart returns the names of sources with options that targets from there, as they
// run, do not take over.
func sourcesThatNeedRestart(old, next Config) (names []string) {
	for _, was := range old.Sources {
		for _, is := range next.Sources {
			if was.SamePlace(is) && fixed(was.Sample()) != fixed(is.Sample()) {
				names = append(names, is.String())
			}
		}
	}
	return names
}

// fixed returns a without what can change while a target runs, or makes another target.
func fixed(a target.Address) target.Address {
	a.Weight, a.Scheme, a.ViaProxy, a.Framing = 0, "", false, framing.Newline
	return a
}
