package flags

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// serviceLinks matches the end of the variables that Kubernetes sets for Services. Their names
// begin like those of the program's variables if the Service has the name of the program.
var serviceLinks = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_.*)?)$`)

// maxWarnings bounds the list of Warnings.
const maxWarnings = 20

// IgnoreWithout resets an option to its default, with a warning, if its value comes from the
// environment, where it may be meant for another command of the program. The option is only valid
// with the option needed, which the caller found missing.
func (s *Set) IgnoreWithout(needed, name string) {
	o := s.byName[name]
	if o.source != FromEnv {
		return
	}
	s.ignored = append(s.ignored,
		fmt.Sprintf("the environment variable %s sets nothing without -%s", quote(EnvName(s.env, name)), needed))
	o.values, o.source = nil, FromDefault
}

// Warnings returns a sentence for every environment variable that has the program's prefix and sets
// nothing. The sentence names a variable of a similar name, if there is one. Warnings returns nil
// before ParseEnvAndFile.
func (s *Set) Warnings() (all []string) {
	if s.env == "" {
		return nil
	}
	all = slices.Clip(s.ignored)
	for _, pair := range slices.Sorted(slices.Values(os.Environ())) {
		variable, value, _ := strings.Cut(pair, "=")
		hint, ineffective := s.ineffective(variable, value)
		if !ineffective {
			continue
		}
		if all = append(all, fmt.Sprintf("the environment variable %s sets nothing%s", quote(variable), hint)); len(all) == maxWarnings {
			break
		}
	}
	return all
}

// ineffective reports whether a variable seems meant to set an option, but sets none. The hint, if
// not empty, says why, or which variable may be meant.
func (s *Set) ineffective(variable, value string) (hint string, ineffective bool) {
	name, ours := strings.CutPrefix(variable, s.env+"_")
	if !ours || value == "" || serviceLinks.MatchString(variable) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://") {
		return "", false
	}
	i := slices.IndexFunc(s.options, func(o Option) bool { return EnvName(s.env, o.Name) == variable })
	if i >= 0 {
		return s.onlyOnCommandLine(s.options[i], value)
	}
	if best := s.nearest(strings.ToLower(strings.ReplaceAll(name, "_", "-"))); best != "" {
		return ": did you mean " + EnvName(s.env, best) + "?", true
	}
	return "", true
}

// onlyOnCommandLine is ineffective for a variable with the name of an option. It ignores a value
// that the option could not have: container images have variables such as APP_VERSION with another
// meaning.
func (s *Set) onlyOnCommandLine(o Option, value string) (hint string, ineffective bool) {
	if s.byName[o.Name] != nil && !o.CommandLine { // byName lacks the option help, see New
		return "", false
	}
	if _, err := strconv.ParseBool(value); o.isBool() && err != nil {
		return "", false
	}
	return ": -" + o.Name + " is for the command line only", true
}
