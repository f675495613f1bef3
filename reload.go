package main

import (
	"slices"
	"strings"

	"linesplit/admin"
	"linesplit/listen"
	"linesplit/target"
)

// restartOnly are the settings that hold from the start to the end: sockets that are open, and sizes that all else is built on.
func restartOnly() []string {
	return []string{"mode", "listen", "addr", "port", "reuse-port", "connections", "buffer", "queue", "memory", "access-log", "log-format",
		"tls-cert", "tls-key", "tls-client-ca", "tls-min-version", // the files' contents are looked after all the time
		"admin", "admin-token-file", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca", "profiling", "config", "help", "version"}
}

func reloadable(name string) bool { return !slices.Contains(restartOnly(), name) }

// shown returns all settings that are of use in a mode, with their values and where those came from.
func (s *settings) shown(m mode) []admin.Setting {
	sources := [...]string{fromDefault: admin.SourceDefault, fromFlag: admin.SourceFlag, fromEnv: admin.SourceEnvironment, fromFile: admin.SourceFile}
	var all []admin.Setting
	for _, o := range s.known {
		set := s.byName[o.name]
		if set == nil || o.name == "version" || o.mode != anyMode && o.mode != m {
			continue
		}
		value := set.written()
		if o.name == "health-send" && value != "" { // it may hold a password
			value = "***"
		}
		all = append(all, admin.Setting{Name: o.name, Value: value, Source: sources[set.source], Reloadable: reloadable(o.name)})
	}
	return all
}

// differences returns the settings that differ between two configurations: those that can change at once, and those that cannot.
func differences(old, next config) (changed, needRestart []string) {
	for i, was := range old.compared {
		is := next.compared[i]
		switch {
		case was == is:
		case old.canFollow(was.Name, next):
			changed = append(changed, was.Name)
		default:
			needRestart = append(needRestart, was.Name)
		}
	}
	if names := stubborn(old, next); len(names) > 0 {
		needRestart = append(needRestart, "target "+strings.Join(names, ", ")+" (backup, max-connections, proxy-protocol)")
	}
	return changed, needRestart
}

// canFollow says whether a setting can go over from c to next without a restart.
func (c config) canFollow(name string, next config) bool {
	switch {
	case !reloadable(name):
		return false
	case name == "proxy-protocol-from": // listeners that were opened without proxies do not look for headers
		return len(c.Access.ProxyFrom) > 0 || len(next.Access.ProxyFrom) == 0
	case strings.HasPrefix(name, "health") && c.Mode == lineMode: // workers that find out by themselves go on doing so
		return c.Health.Check.Enabled() == next.Health.Check.Enabled()
	}
	return true
}

// keeping returns c with the values that old had of some settings, in what is shown and compared, and where a mode would heed the new one: in
// force are still the old ones.
func (c config) keeping(old config, names []string) config {
	for i, was := range old.Shown {
		if slices.Contains(names, was.Name) {
			c.Shown[i], c.compared[i] = was, old.compared[i]
		}
	}
	if len(old.Access.ProxyFrom) == 0 {
		c.Access.ProxyFrom = nil
	}
	if !old.canFollow("health", c) {
		c.Health = old.Health
	}
	written := written(c.Targets)
	c.Targets = slices.Clone(c.Targets)
	for i, is := range c.Targets {
		if j := find(old.Targets, is); j >= 0 { // and what it needs a restart for is named again the next time
			c.Targets[i] = old.Targets[j]
			c.Targets[i].Weight = is.Weight
		}
	}
	c.showTargetsUnless(written)
	c.TargetTLS.MinVersion, c.Connections, c.Memory = old.TargetTLS.MinVersion, old.Connections, old.Memory
	return c
}

// showTargetsUnless has the targets shown as they are if they are not those that are written.
func (c config) showTargetsUnless(as string) {
	if is := written(c.Targets); is != as {
		i := slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == "target" })
		c.Shown[i].Value = is
	}
}

// having returns c with these targets besides its own: those that were added by hand. One of its own may have been removed and added
// again by hand, with other options: it has those then, and the weight that c has.
func (c config) having(targets []target.Address) config {
	c.Targets = slices.Clone(c.Targets)
	for _, a := range targets {
		i := find(c.Targets, a)
		if i < 0 {
			c.Targets = append(c.Targets, a)
			continue
		}
		a.Weight = c.Targets[i].Weight
		c.Targets[i] = a
	}
	return c
}

// pair is a setting with all that was written for it.
type pair struct{ Name, Value string }

func (s *settings) compared(m mode) []pair {
	all := make([]pair, 0, len(s.known))
	for _, shown := range s.shown(m) {
		all = append(all, pair{shown.Name, s.byName[shown.Name].written()})
	}
	return all
}

// lists are what the guard goes by.
func (a access) lists() listen.Lists {
	return listen.Lists{Allow: a.Allow, Deny: a.Deny, ProxyFrom: a.ProxyFrom}
}

// changesBetween returns what has to come and to go so that the targets of one configuration become those of another.
func changesBetween(old, next []target.Address) (add []target.Address, remove []string) {
	for _, a := range next {
		if find(old, a) < 0 {
			add = append(add, a)
		}
	}
	for _, a := range old {
		if find(next, a) < 0 {
			remove = append(remove, a.String())
		}
	}
	return add, remove
}

// reweighted returns the weights that differ, by the names of their targets; those of new ones, too, which may have been added by hand
// with another.
func reweighted(old, next []target.Address) map[string]int {
	weights := make(map[string]int)
	for _, a := range next {
		if i := find(old, a); i < 0 || old[i].Share() != a.Share() {
			weights[a.String()] = a.Share()
		}
	}
	return weights
}

// find returns the index of the target with the name of a, or -1.
func find(list []target.Address, a target.Address) int {
	return slices.IndexFunc(list, func(b target.Address) bool { return b.String() == a.String() })
}

// stubborn are the names of targets whose options differ in more than the weight.
func stubborn(old, next config) (names []string) {
	for _, was := range old.Targets {
		for _, is := range next.Targets {
			was.Weight, is.Weight = 0, 0
			if was.String() == is.String() && was != is {
				names = append(names, was.String())
			}
		}
	}
	return names
}
