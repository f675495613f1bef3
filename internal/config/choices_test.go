package config

import (
	"slices"
	"strings"
	"testing"
)

// Every value that a shell offers is accepted, no other one is, and the default is among them.
func TestChoicesAreAccepted(t *testing.T) {
	for _, o := range Options() {
		if o.Choices == nil {
			continue
		}
		for _, value := range append(slices.Clip(o.Choices), "no-such-choice") {
			args := []string{"-" + o.Name, value}
			switch {
			case o.Scope == scopeConnection:
				args = append(args, "-mode", "connection")
			case strings.HasPrefix(o.Name, "key-"):
				args = append(args, "-key", "field:1")
			case strings.HasPrefix(o.Name, "spool-"):
				args = append(args, "-spool", "lines")
			case o.Name == "sni-default":
				args = append(args, "-listen", "tls://:1")
			case o.Name == "discovery-empty":
				args = append(args, "-target", "dns://receivers:9")
			case value == "send-expect":
				args = append(args, "-health-expect", "x")
			case value == "exec":
				args = append(args, "-health-command", "/bin/true")
			}
			s, err := parseArgs(args)
			if err != nil {
				t.Fatal(err)
			}
			judge(s)
			if accepted := s.OK(o.Name); accepted != (value != "no-such-choice") {
				t.Errorf("-%s %s: accepted is %t", o.Name, value, accepted)
			}
		}
		if o.Default != "" && !slices.Contains(o.Choices, o.Default) {
			t.Errorf("-%s: the default %s is no choice", o.Name, o.Default)
		}
	}
}
