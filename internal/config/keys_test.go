package config

import (
	"slices"
	"testing"
)

func TestBadKeys(t *testing.T) {
	checkBadInput(t, []badInput{
		{"form", []string{"-key", "yaml:a"}, []string{`-key "yaml:a": write json:PATH, field:N, until:CHAR or connection`}},
		{"path", []string{"-key", "json:a..b"}, []string{`-key "json:a..b": a name in the path is empty`}},
		{"escape", []string{"-key", `json:a\b`}, []string{`a backslash stands before a dot or a backslash only`}},
		{"field", []string{"-key", "field:0"}, []string{`-key "field:0": write the number of a field, from 1 to 10000, such as field:1`}},
		{"until", []string{"-key", "until:ab"}, []string{`-key "until:ab": write one character`}},
		{"missing", []string{"-key", "field:1", "-key-missing", "keep"}, []string{`-key-missing "keep": write any or drop`}},
		{"down", []string{"-key", "field:1", "-key-down", "stay"}, []string{`-key-down "stay": write move or wait`}},
		{"missing without a key", []string{"-key-missing", "drop"}, []string{`-key-missing "drop": only valid with -key`}},
		{"down without a key", []string{"-key-down", "wait"}, []string{`-key-down "wait": only valid with -key`}},
		{"connection", []string{"-key", "connection", "-key-missing", "drop"}, []string{"with -key connection every line has a key"}},
		{"other mode", []string{"-mode", "connection", "-key", "field:1"}, []string{`-key "field:1": only valid with -mode line`}},
	})
}

func TestKeys(t *testing.T) {
	clearEnv(t)
	c, err := Parse([]string{"-key", "json:user.id", "-key-missing", "drop", "-key-down", "wait"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Keys.Rule.String() != "json:user.id" || !c.Keys.DropMissing || !c.Delivery.StayHome {
		t.Errorf("%+v, stays %v", c.Keys, c.Delivery.StayHome)
	}
	if c, err = Parse(nil); err != nil || c.Keys.Rule != nil || c.Keys.DropMissing || c.Delivery.StayHome {
		t.Errorf("without -key: %+v, stays %v, %v", c.Keys, c.Delivery.StayHome, err)
	}
}

// Lines that are in lanes keep their key, so a reload does not change it.
func TestReloadOfKeys(t *testing.T) {
	clearEnv(t)
	changed, needRestart := Diff(mustParse(t, "-key", "field:1"),
		mustParse(t, "-key", "field:2", "-key-missing", "drop", "-key-down", "wait"))
	if !slices.Equal(changed, []string{"key-down"}) || !slices.Equal(needRestart, []string{"key", "key-missing"}) {
		t.Errorf("changes %q, needs a restart for %q", changed, needRestart)
	}
}
