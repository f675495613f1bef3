package main

import (
	"os"
	"strings"
	"testing"
)

const packagedConfig = "deploy/package/linesplit.conf"

// What the package installs is a configuration that linesplit takes.
func TestPackagedConfiguration(t *testing.T) {
	c, err := parseConfig([]string{"-config", packagedConfig})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listen) != 1 || !c.Listen[0].Inherited() {
		t.Errorf("listens on %v, want what linesplit.socket opens", c.Listen)
	}
}

// What it offers behind a # can be had by taking that away.
func TestPackagedSuggestions(t *testing.T) {
	text, err := os.ReadFile(packagedConfig)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]option{}
	for _, o := range options() {
		byName[o.name] = o
	}
	suggestions := 0
	for line := range strings.Lines(string(text)) {
		suggestion, found := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !found || suggestion == "" || suggestion[0] == ' ' {
			continue
		}
		suggestions++
		key, value, _ := strings.Cut(suggestion, " ")
		s, err := gatherFlags([]string{"-" + key, value})
		if err != nil {
			t.Fatal(err)
		}
		s.config()
		if _, exists := byName[key]; !exists || key != "admin-token-file" && !s.ok(key) { // the token is not there
			t.Errorf("%s: exists is %t; %v", suggestion, exists, s.errs)
		}
	}
	if suggestions == 0 {
		t.Error("no suggestions: how are they written?")
	}
}
