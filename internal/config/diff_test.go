package config

import (
	"fmt"
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

// Each target was compared with each of the others: 20,000 of them held up a reload for minutes.
func TestManyTargets(t *testing.T) {
	clearEnv(t)
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "target 10.%d.%d.%d:9999\n", i>>16, i>>8&255, i&255)
	}
	c := mustParse(t, "-config", writeFile(t, text.String()))
	changed, needRestart := Diff(c.WithTargets(c.Targets), c)
	add, remove := DiffTargets(c.Targets, c.Keeping(c, nil).Targets)
	if len(changed)+len(needRestart)+len(add)+len(remove)+len(DiffWeights(c.Targets, c.Targets)) > 0 {
		t.Errorf("changed %v, need a restart %v, add %d, remove %d", changed, needRestart, len(add), len(remove))
	}
}
