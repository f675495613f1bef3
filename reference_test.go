package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"linesplit/internal/clidoc"
)

// What the manual page and the completions do not know, people and packages do not know either.
func TestReferenceHasEveryFlag(t *testing.T) {
	for name, write := range references() {
		text := render(t, write)
		for _, o := range options() {
			if !strings.Contains(strings.ReplaceAll(text, `\-`, "-"), o.name) {
				t.Errorf("%s: no -%s", name, o.name)
			}
		}
	}
}

// -help's usage lines name the commands, and so do the manual page and the completions.
func TestReferenceHasEveryCommand(t *testing.T) {
	var known []string
	for _, c := range commands() {
		known = append(known, c.Name)
	}
	if got := strings.Split(commandNames, ", "); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(known))) {
		t.Errorf("a word that is no command is answered with %q, but there are %q", got, known)
	}
	var shown []string
	usage := helpHead[strings.Index(helpHead, "Usage:"):]
	for line := range strings.Lines(usage[:strings.Index(usage, "\n\n")]) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "linesplit" || strings.HasPrefix(words[1], "[") {
			continue
		}
		if shown = append(shown, words[1]); !slices.Contains(known, words[1]) {
			t.Errorf("commands() lacks %s, which -help shows", words[1])
		}
	}
	for _, name := range known {
		if !slices.Contains(shown, name) {
			t.Errorf("-help does not show %s", name)
		}
		var stdout, stderr bytes.Buffer
		code := dispatch(context.Background(), []string{name, "-help"}, &stdout, &stderr)
		if code != exitOK || stderr.Len() > 0 || !strings.Contains(stdout.String(), "linesplit "+name) {
			t.Errorf("%s -help: code %d, stdout %.100q, stderr %q", name, code, &stdout, &stderr)
		}
	}
}

// Every value that a shell offers is taken, and the flags in the table are those there are.
func TestChoicesAreTaken(t *testing.T) {
	byName := map[string]option{}
	for _, o := range options() {
		byName[o.name] = o
	}
	for name, values := range choices() {
		o, exists := byName[name]
		if !exists {
			t.Errorf("no flag -%s", name)
			continue
		}
		for _, value := range append(values, "no-such-choice") {
			args := []string{"-" + name, value}
			switch {
			case o.mode == connectionMode:
				args = append(args, "-mode", "connection")
			case value == "send-expect":
				args = append(args, "-health-expect", "x")
			case value == "exec":
				args = append(args, "-health-command", "/bin/true")
			}
			s, err := gatherFlags(args)
			if err != nil {
				t.Fatal(err)
			}
			s.config()
			if taken := s.ok(name); taken != (value != "no-such-choice") {
				t.Errorf("-%s %s: taken is %t", name, value, taken)
			}
		}
		if o.value != "" && !slices.Contains(values, o.value) {
			t.Errorf("-%s: the default %s is no choice", name, o.value)
		}
	}
}

func TestReferenceCommands(t *testing.T) {
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"demo", "x"}, exitUsage, "", `unexpected argument "x"`},
		{[]string{"man"}, exitOK, ".TH ", ""},
		{[]string{"man", "-help"}, exitOK, "Usage:", ""},
		{[]string{"man", "x"}, exitUsage, "", `unexpected argument "x"`},
		{[]string{"completion", "bash"}, exitOK, "complete -F _linesplit linesplit", ""},
		{[]string{"completion", "zsh"}, exitOK, "#compdef linesplit", ""},
		{[]string{"completion", "fish"}, exitOK, "complete -c linesplit", ""},
		{[]string{"completion", "-help"}, exitOK, "Usage:", ""},
		{[]string{"completion"}, exitUsage, "", "which shell?"},
		{[]string{"completion", "tcsh"}, exitUsage, "", "which shell?"},
		{[]string{"completion", "bash", "zsh"}, exitUsage, "", `unexpected argument "zsh"`},
	} {
		var stdout, stderr bytes.Buffer
		code := dispatch(context.Background(), test.args, &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%q: code %d, stdout %.100q, stderr %q", test.args, code, &stdout, &stderr)
		}
		if (stderr.Len() > 0) != (test.stderr != "") {
			t.Errorf("%q: stderr %q", test.args, &stderr)
		}
	}
}

func references() map[string]func(io.Writer, clidoc.Program) error {
	all := shells()
	all["man"] = clidoc.Man
	return all
}

func render(t *testing.T, write func(io.Writer, clidoc.Program) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, program()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
