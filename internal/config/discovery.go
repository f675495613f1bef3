package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"linesplit/internal/discovery"
	"linesplit/internal/flags"
	"linesplit/internal/framing"
	"linesplit/target"
)

// discoveryRules reads -discovery-empty.
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

// checkDiscovery records settings for sources of targets if there are none that they apply to.
func checkDiscovery(s *flags.Set, c Config) {
	if !s.OK("target", "group") {
		return
	}
	if len(c.Sources) == 0 {
		unused(s, "discovery-empty", "no source of targets: write dns://NAME:PORT in -target, for example")
	}
	if !slices.ContainsFunc(c.Sources, discovery.Spec.AsksDNS) {
		unused(s, "resolver", "no source that asks DNS: write dns://NAME:PORT or srv://NAME in -target")
	}
}

// SourceNames returns the names of a group's sources.
func (c Config) SourceNames(group string) (names []string) {
	for _, spec := range c.Sources {
		if cmp.Or(spec.Group(), MainGroup) == group {
			names = append(names, spec.String())
		}
	}
	return names
}

// WriteTargets returns the value of -target for those of the targets that are in its group, sorted,
// and its sources.
func (c Config) WriteTargets(targets []target.Address) string {
	return c.writeTargets(targets, MainGroup)
}

func (c Config) writeTargets(targets []target.Address, group string) string {
	all := c.SourceNames(group)
	if list := WriteTargets(targets, group); list != "" {
		all = append([]string{list}, all...)
	}
	return strings.Join(all, ",")
}

// sourcesThatNeedRestart returns the names of sources whose options have changed in a way that
// running targets from these sources do not adopt.
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

// keepSources returns the sources of next, each in the group that it is in while linesplit runs. If
// groups cannot change, all but main keep their sources.
func keepSources(old, next Config, groupsStay bool) (all []discovery.Spec) {
	for _, spec := range next.Sources {
		i := slices.IndexFunc(old.Sources, func(was discovery.Spec) bool { return was.SamePlace(spec) })
		if i >= 0 {
			spec = spec.InGroup(old.Sources[i].Group())
		}
		if spec.Group() == "" || !groupsStay {
			all = append(all, spec)
		}
	}
	for _, was := range old.Sources {
		if groupsStay && was.Group() != "" {
			all = append(all, was)
		}
	}
	return all
}

// fixed returns a without the options that can change while a target runs, and without those that
// make it another target.
func fixed(a target.Address) target.Address {
	a.Weight, a.Scheme, a.Path, a.ViaProxy, a.Framing = 0, "", "", false, framing.Newline
	return a
}
