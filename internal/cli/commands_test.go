package cli

import (
	"bytes"
	"strings"
	"testing"

	"linesplit/internal/clidoc"
)

// -help, the manual page, the completions and the answer to an unknown word name every command, and
// each command has help.
func TestEveryCommandIsShown(t *testing.T) {
	clearEnv(t)
	shown := renderReferences(t)
	var help, unknown bytes.Buffer
	Main(t.Context(), "v1.2.3", []string{"-help"}, &help, &unknown)
	usage := help.String()[strings.Index(help.String(), "Usage:"):]
	shown["-help"] = usage[:strings.Index(usage, "\n\n")]
	if code := Main(t.Context(), "v1.2.3", []string{"no-such-command"}, &help, &unknown); code != exitUsage {
		t.Errorf("an unknown word: exit code %d", code)
	}
	shown["an unknown word"] = unknown.String()

	for _, name := range []string{"demo", "send", "sink", "proof", "ctl", "healthcheck", "spool", "man", "completion", "help", "version"} {
		if findCommand(name) == nil {
			t.Errorf("%s is not a command", name)
		}
	}
	for _, c := range commands() {
		for where, text := range shown {
			if !strings.Contains(text, c.name) {
				t.Errorf("%s does not show %s", where, c.name)
			}
		}
		if !strings.Contains(shown["-help"], "\n  linesplit "+c.name+" ") {
			t.Errorf("-help has no line for %s", c.name)
		}
		var stdout, stderr bytes.Buffer
		code := runCommand(t.Context(), c.name, []string{"-help"}, &stdout, &stderr)
		if code != exitOK || stderr.Len() > 0 || !strings.Contains(stdout.String(), "linesplit "+c.name) {
			t.Errorf("%s -help: exit code %d, stdout %.100q, stderr %q", c.name, code, &stdout, &stderr)
		}
	}
}

// The manual page and the completions name every flag, of linesplit and of its commands.
func TestReferencesHaveEveryFlag(t *testing.T) {
	for where, text := range renderReferences(t) {
		p := program("v1.2.3")
		flags := p.Flags
		for _, c := range p.Commands {
			flags = append(flags, c.Flags...)
		}
		for _, f := range flags {
			if !strings.Contains(strings.ReplaceAll(text, `\-`, "-"), f.Name) {
				t.Errorf("%s: no -%s", where, f.Name)
			}
		}
	}
}

// renderReferences returns the manual page, as "man", and the completions, by shell.
func renderReferences(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, s := range append(shells(), shell{"man", clidoc.Man}) {
		var b bytes.Buffer
		if err := s.write(&b, program("v1.2.3")); err != nil {
			t.Fatal(err)
		}
		texts[s.name] = b.String()
	}
	return texts
}

func TestCommandsWithoutFlags(t *testing.T) {
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"demo", "x"}, exitUsage, "", "unexpected argument \"x\": linesplit demo takes flags only, such as -spool\n"},
		{[]string{"dmo"}, exitUsage, "", "version, did you mean demo?"},
		{[]string{"status"}, exitUsage, "", "did you mean linesplit ctl status?"},
		{[]string{"drain", "a:1"}, exitUsage, "", "did you mean linesplit ctl drain?"},
		{[]string{"check"}, exitUsage, "", "did you mean -check?"},
		{[]string{"man"}, exitOK, ".TH ", ""},
		{[]string{"man", "-help"}, exitOK, "Usage:", ""},
		{[]string{"man", "x"}, exitUsage, "", `unexpected argument "x"`},
		{[]string{"version"}, exitOK, "linesplit v1.2.3 (go1.", ""},
		{[]string{"version", "x"}, exitUsage, "", `unexpected argument "x"`},
		{[]string{"help"}, exitOK, "\nUsage:\n  linesplit [flags]", ""},
		{[]string{"help", "-help"}, exitOK, "linesplit help [COMMAND]", ""},
		{[]string{"help", "sink"}, exitOK, "linesplit sink [-listen ADDRESS]", ""},
		{[]string{"help", "help"}, exitOK, "linesplit help [COMMAND]", ""},
		{[]string{"help", "snk"}, exitUsage, "", `unknown command "snk", did you mean sink?`},
		{[]string{"help", "sink", "x"}, exitUsage, "", `unexpected argument "x"`},
		{[]string{"completion", "bash"}, exitOK, "complete -F _linesplit linesplit", ""},
		{[]string{"completion", "zsh"}, exitOK, "#compdef linesplit", ""},
		{[]string{"completion", "fish"}, exitOK, "complete -c linesplit", ""},
		{[]string{"completion", "-help"}, exitOK, "Usage:", ""},
		{[]string{"completion"}, exitUsage, "", "which shell?"},
		{[]string{"completion", "tcsh"}, exitUsage, "", `unknown shell "tcsh": write linesplit completion bash`},
		{[]string{"completion", "bash", "zsh"}, exitUsage, "", `unexpected argument "zsh"`},
	} {
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), "v1.2.3", test.args, &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) ||
			!strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%q: exit code %d, stdout %.100q, stderr %q", test.args, code, &stdout, &stderr)
		}
		if (stderr.Len() > 0) != (test.stderr != "") {
			t.Errorf("%q: stderr %q", test.args, &stderr)
		}
	}
}
