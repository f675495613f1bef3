package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"linesplit/target"
)

func TestChangesBetweenTargets(t *testing.T) {
	parse := func(text string) (all []target.Address) {
		for entry := range strings.FieldsSeq(text) {
			a, err := target.ParseAddress(entry, false)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		return all
	}
	old, next := parse("a:1 b:1 c:1?weight=2"), parse("b:1?weight=3 c:1?weight=2 d:1")
	add, remove := DiffTargets(old, next)
	if len(add) != 1 || add[0].String() != "tcp://d:1" || !slices.Equal(remove, []string{"tcp://a:1"}) {
		t.Errorf("add %v, remove %v", add, remove)
	}
	if weights := DiffWeights(old, next); !maps.Equal(weights, map[string]int{"tcp://b:1": 3, "tcp://d:1": 1}) {
		t.Errorf("weights %v", weights)
	}
}
