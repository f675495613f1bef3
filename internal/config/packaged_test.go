package config

import (
	"os"
	"strings"
	"testing"

	"linesplit/internal/flags"
)

const packagedConfig = "../../deploy/package/linesplit.conf"

// The configuration that the package installs is valid.
func TestPackagedConfiguration(t *testing.T) {
	c, err := Parse([]string{"-config", packagedConfig})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listen) != 1 || !c.Listen[0].Inherited() {
		t.Errorf("listens on %v, want what linesplit.socket opens", c.Listen)
	}
}

// Each setting that is commented out there is valid once the # is removed.
func TestPackagedSuggestions(t *testing.T) {
	text, err := os.ReadFile(packagedConfig)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]flags.Option{}
	for _, o := range Options() {
		byName[o.Name] = o
	}
	suggestions := 0
	for line := range strings.Lines(string(text)) {
		suggestion, found := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !found || suggestion == "" || suggestion[0] == ' ' {
			continue
		}
		suggestions++
		key, value, _ := strings.Cut(suggestion, " ")
		s, err := parseArgs([]string{"-" + key, value})
		if err != nil {
			t.Fatal(err)
		}
		judge(s)                                                                          // records faults in s
		if _, exists := byName[key]; !exists || key != "admin-token-file" && !s.OK(key) { // the token is not there
			t.Errorf("%s: exists is %t; %v", suggestion, exists, s.Err())
		}
	}
	if suggestions == 0 {
		t.Error("no suggestions: how are they written?")
	}
}
