package config

import (
	"slices"
	"strings"

	"linesplit/listen"
)

// ByReplacement divides the names of settings that a running service cannot change, as Diff returns
// them: a service that takes its place has the new values of some, and the others need a restart.
// The latter are those of the process, and all of them where both services read standard input or
// use the same spool, since no other service can take these over.
func ByReplacement(old, next Config, names []string) (replace, restart []string) {
	stdin := slices.ContainsFunc(old.Listen, listen.Spec.Stdin) && slices.ContainsFunc(next.Listen, listen.Spec.Stdin)
	spool := old.Spool.Dir != "" // the lines that wait there would wait for the next start with it
	for _, name := range names {
		if stdin || spool || onlyAtStart(old.Name, name) {
			restart = append(restart, name)
		} else {
			replace = append(replace, name)
		}
	}
	if len(replace) > 0 && old.Name == "" && old.Mode != next.Mode { // its metrics are of one mode
		return nil, names
	}
	return replace, restart
}

// onlyAtStart reports whether a setting of a service, which may have no name, has its value from
// the start of the process to its end.
func onlyAtStart(service, name string) bool {
	if name == "reuse-port" || service == "" && (name == "memory" || name == "mode") {
		return true
	}
	for _, o := range Options() {
		if o.Name == name {
			return o.Shared
		}
	}
	return false // the options of a target
}

// Replacing returns c for a service that takes the place of one with old, where the named settings
// stay as they are until a restart. c is what Within has returned.
func (c Config) Replacing(old Config, restart []string) Config {
	for i := range c.Shown {
		name := c.Shown[i].Name
		j := slices.IndexFunc(old.compared, func(was writtenSetting) bool { return was.name == name })
		if j >= 0 && slices.Contains(restart, name) {
			c.Shown[i], c.compared[i] = old.Shown[j], old.compared[j]
		}
	}
	if slices.Contains(restart, "reuse-port") {
		c.ReusePort = old.ReusePort
	}
	return c
}

// PortOf returns the port of a listener's address, or "" if it has none.
func PortOf(spec listen.Spec) string {
	key := ListenerKey(spec)
	i := strings.LastIndexByte(key, ':')
	if i < 0 || strings.HasPrefix(key, "/") || strings.HasPrefix(key, "@") {
		return ""
	}
	return key[i+1:]
}
