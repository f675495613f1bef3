package config

import (
	"slices"
	"strings"

	"linesplit/admin"
	"linesplit/internal/flags"
	"linesplit/target"
)

// restartOnly are the settings that a running service has from its start to its end, such as those
// of open sockets and of memory. ByReplacement tells which of them a service in its place can
// change. Of TLS that is only the names of the files: changes of their contents take effect at
// once.
var restartOnly = []string{
	"mode", "listen", "addr", "port", "reuse-port", "connections", "key", "key-missing", "buffer", "queue", "memory",
	"spool", "spool-mode", "spool-size", "spool-full", "spool-sync", "dead-letter", "dead-letter-size", "loops", "access-log", "log-format", "tls-cert",
	"tls-key", "tls-client-ca", "tls-client-crl", "tls-min-version",
	"tls-passthrough", "admin", "admin-token-file", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca",
	"admin-tls-client-crl", "profiling", "config", "check", "t", "help", "version",
}

// reloadable reports whether a reload can change a setting.
func reloadable(name string) bool { return !slices.Contains(restartOnly, name) }

// shown returns the settings for which has returns true, with their values and sources. It masks
// secrets, and writes sizes so that they are unambiguous.
func shown(s *flags.Set, has func(flags.Option) bool) []admin.Setting {
	sources := [...]string{
		flags.FromDefault: admin.SourceDefault, flags.FromFlag: admin.SourceFlag,
		flags.FromEnv: admin.SourceEnvironment, flags.FromFile: admin.SourceFile,
	}
	var all []admin.Setting
	for _, o := range settingsOf(s, has) {
		value := s.Written(o.Name)
		if o.Name == "health-send" && value != "" { // it may hold a password
			value = "***"
		}
		if o.Arg == "SIZE" {
			value = flags.Unambiguous(value)
		}
		all = append(all, admin.Setting{
			Name: o.Name, Value: value, Source: sources[s.Source(o.Name)],
			Reloadable: reloadable(o.Name) || !onlyAtStart(s.Name(), o.Name),
		})
	}
	return all
}

// settingsOf returns the options for which has returns true, less those for the command line only.
func settingsOf(s *flags.Set, has func(flags.Option) bool) (all []flags.Option) {
	for _, o := range s.Options() {
		if s.Has(o.Name) && !o.CommandLine && has(o) {
			all = append(all, o)
		}
	}
	return all
}

// writtenSetting is a setting with all values that were written for it; see flags.Set.Written.
type writtenSetting struct{ name, value string }

// written returns the settings for which has returns true, in the order of shown.
func written(s *flags.Set, has func(flags.Option) bool) []writtenSetting {
	var all []writtenSetting
	for _, o := range settingsOf(s, has) {
		all = append(all, writtenSetting{o.Name, s.Written(o.Name)})
	}
	return all
}

// Diff returns the names of the settings that differ between two configurations of a service: those
// that a reload changes, and those that need a restart. If the modes differ, all of them need one.
func Diff(old, next Config) (changed, needRestart []string) {
	if old.Mode != next.Mode {
		return nil, acrossModes(old, next)
	}
	for i, was := range old.compared {
		is := next.compared[i]
		switch {
		case was == is, was.name == "memory" && old.sharesMemory && next.sharesMemory: // the process names it
		case old.CanChange(was.name, next):
			changed = append(changed, was.name)
		default:
			needRestart = append(needRestart, was.name)
		}
	}
	if names := append(targetsThatNeedRestart(old, next), sourcesThatNeedRestart(old, next)...); len(names) > 0 {
		needRestart = append(needRestart, "target "+strings.Join(names, ", ")+
			" (group, backup, health-interval, rise, fall, max-connections, proxy-protocol, server-name, max-age, "+
			"options of batches)")
	}
	return changed, needRestart
}

// acrossModes is Diff for configurations of different modes. It returns the names of the settings
// of next that differ from those of old, or that are given and not valid in the mode of old.
func acrossModes(old, next Config) (names []string) {
	for i, is := range next.compared {
		j := slices.IndexFunc(old.compared, func(was writtenSetting) bool { return was.name == is.name })
		if j < 0 && next.Shown[i].Source != admin.SourceDefault || j >= 0 && old.compared[j] != is {
			names = append(names, is.name)
		}
	}
	return names
}

// CanChange reports whether a setting can change from c's value to that of next without a restart.
func (c Config) CanChange(name string, next Config) bool {
	switch {
	case !reloadable(name):
		return false
	case name == "group": // the targets of groups can change, but not the groups
		return sameGroups(c.Groups, next.Groups)
	case name == "proxy-protocol-from": // listeners opened without trusted proxies do not read headers
		return len(c.Access.ProxyFrom) > 0 || len(next.Access.ProxyFrom) == 0
	case strings.HasPrefix(name, "sni"): // listeners opened without names do not look at first messages
		return c.Routes() == next.Routes()
	case strings.HasPrefix(name, "health") && c.Mode == LineMode: // workers either probe by dialing, or rely on checks
		return c.Health.Check.Enabled() == next.Health.Check.Enabled()
	}
	return true
}

// targetsThatNeedRestart returns the names of targets whose options differ in more than weight and
// connections.
func targetsThatNeedRestart(old, next Config) (names []string) {
	index := indexOf(next.Targets)
	for _, was := range old.Targets {
		i, found := index[was.String()]
		if !found {
			continue
		}
		is := next.Targets[i]
		was.Weight, was.Connections = is.Weight, is.Connections
		was.HostName, is.HostName = "", ""
		if was != is {
			names = append(names, was.String())
		}
	}
	return names
}

// Keeping returns c with the values that stay in force until a restart. names are the settings that
// need one, as Diff(old, c) returns them: Keeping takes their values from old, in Shown and
// compared, and in the fields that a reload would otherwise pass to running parts.
func (c Config) Keeping(old Config, names []string) Config {
	for i, was := range old.Shown {
		if slices.Contains(names, was.Name) {
			c.Shown[i], c.compared[i] = was, old.compared[i]
		}
	}
	if len(old.Access.ProxyFrom) == 0 {
		c.Access.ProxyFrom = nil
	}
	if !old.CanChange("health", c) {
		c.Health = old.Health
	}
	if !old.CanChange("sni", c) {
		c.Wanted = old.Wanted
	}
	c.TLSPassthrough = old.TLSPassthrough
	configured, groups := c.WriteTargets(c.Targets), c.WriteGroups(c.Targets)
	c.Sources = keepSources(old, c, !old.CanChange("group", c))
	if !old.CanChange("group", c) {
		c.Groups, c.Targets = old.Groups, slices.Concat(InGroup(c.Targets, MainGroup), old.grouped())
	}
	c.Targets = slices.Clone(c.Targets)
	index := indexOf(old.Targets)
	for i, is := range c.Targets {
		if j, found := index[is.String()]; found { // keep old options, so that the next Diff names these again
			c.Targets[i] = old.Targets[j]
			c.Targets[i].Weight, c.Targets[i].Connections = is.Weight, is.Connections
		}
	}
	c.showIfChanged("target", configured, c.WriteTargets(c.Targets))
	if !slices.Contains(names, "group") {
		c.showIfChanged("group", groups, c.WriteGroups(c.Targets))
	}
	c.TargetTLS.MinVersion, c.Connections, c.Memory = old.TargetTLS.MinVersion, old.Connections, old.Memory
	return c
}

// showIfChanged shows what is in force for a setting if it is not what was configured.
func (c Config) showIfChanged(name, configured, inForce string) {
	if inForce == configured {
		return
	}
	i := slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == name })
	c.Shown[i].Value = inForce
}

// MaxLineFits reports whether the longest line fits the memory budget.
func (c Config) MaxLineFits() bool { return c.fitsMemory(int64(c.Lines.MaxLine)) }

// WithTargets returns c with the running targets, some of which may have been added by hand,
// besides its own. Of a target that is in both, it takes the running options with the weight and
// connections of c.
func (c Config) WithTargets(running []target.Address) Config {
	c.Targets = slices.Clone(c.Targets)
	index := indexOf(c.Targets)
	for _, a := range running {
		i, found := index[a.String()]
		if !found {
			c.Targets = append(c.Targets, a)
			continue
		}
		a.Weight, a.Connections = c.Targets[i].Weight, c.Targets[i].Connections
		c.Targets[i] = a
	}
	return c
}

// WriteTargets returns the value of -target for those of the targets that are in a group, sorted.
func WriteTargets(targets []target.Address, group string) string {
	var all []string
	for _, a := range InGroup(targets, group) {
		all = append(all, a.Written())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// DiffTargets returns the targets to add to a list, and the names of those to remove, so that the
// list old becomes next.
func DiffTargets(old, next []target.Address) (add []target.Address, remove []string) {
	inOld, inNext := indexOf(old), indexOf(next)
	for _, a := range next {
		if _, found := inOld[a.String()]; !found {
			add = append(add, a)
		}
	}
	for _, a := range old {
		if _, found := inNext[a.String()]; !found {
			remove = append(remove, a.String())
		}
	}
	return add, remove
}

// DiffWeights returns the weights that differ, by the names of their targets. It includes the
// weights of targets that are new in next, which may have been added by hand with another weight.
func DiffWeights(old, next []target.Address) map[string]int {
	weights := make(map[string]int)
	index := indexOf(old)
	for _, a := range next {
		if i, found := index[a.String()]; !found || old[i].Share() != a.Share() {
			weights[a.String()] = a.Share()
		}
	}
	return weights
}

// DiffShares returns the targets of next whose weight or number of connections differs. It includes
// new targets, which may have been added by hand with other values.
func DiffShares(old, next []target.Address) (differ []target.Address) {
	index := indexOf(old)
	for _, a := range next {
		if i, found := index[a.String()]; !found || old[i].Share() != a.Share() || old[i].Connections != a.Connections {
			differ = append(differ, a)
		}
	}
	return differ
}

// indexOf returns the indexes of the targets of a list, by their names.
func indexOf(list []target.Address) map[string]int {
	index := make(map[string]int, len(list))
	for i, a := range list {
		index[a.String()] = i
	}
	return index
}
