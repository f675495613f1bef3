package convert

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readMixctl fills d from mixctl's rules, in YAML.
func readMixctl(d *document, text []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return errors.New("it has no rules")
	}
	for key, value := range fields(root.Content[0]) {
		switch key.Value {
		case "version":
		case "rules":
			for _, rule := range value.Content {
				if d.overflow != nil {
					break
				}
				mixctlRule(d, resolve(rule))
			}
		default:
			d.head.miss(key.Line, key.Value, "")
		}
	}
	return nil
}

// fields yields the keys and values of a mapping.
func fields(mapping *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], resolve(mapping.Content[i+1])) {
				return
			}
		}
	}
}

// resolve returns the node that an alias stands for, and any other node as it is.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		return node.Alias
	}
	return node
}

// mixctlRule makes a service of a rule. mixctl chooses a target at random for each connection.
func mixctlRule(d *document, rule *yaml.Node) {
	if rule.Kind != yaml.MappingNode {
		d.head.miss(rule.Line, rule.Value, "not a rule")
		return
	}
	name := ""
	for key, value := range fields(rule) {
		if key.Value == "name" {
			name = value.Value
		}
	}
	s := d.service(name, rule.Line, fmt.Sprintf("rule %s, line %d", name, rule.Line))
	s.set("mode", "connection")
	s.set("balance", "random")
	for key, value := range fields(rule) {
		switch key.Value {
		case "name":
		case "from":
			if err := s.addListener(value.Line, "tcp://"+goListenAddress(value.Value), ""); err != nil {
				s.miss(value.Line, "from: "+value.Value, err.Error())
			}
		case "to":
			for _, to := range value.Content {
				if d.overflow != nil {
					return
				}
				to = resolve(to)
				if err := s.addTarget(goDialAddress(to.Value), nil, ""); err != nil {
					s.miss(to.Line, to.Value, err.Error())
				}
			}
		default:
			s.miss(key.Line, strings.TrimSpace(key.Value+": "+value.Value), "")
		}
	}
}
