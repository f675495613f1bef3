package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"linesplit/internal/config"
)

func TestHelp(t *testing.T) {
	clearEnv(t)
	for _, args := range [][]string{{"-help"}, {"-h"}, {"--help"}, {"-port", "x", "-bad", "-help"}} {
		var stdout, stderr bytes.Buffer
		if code := Main(t.Context(), "v1.2.3", args, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
			t.Fatalf("%q: exit code %d, stderr %q", args, code, &stderr)
		}
		checkHelp(t, stdout.String())
	}
}

func checkHelp(t *testing.T, text string) {
	t.Helper()
	checkWidth(t, text)
	at := 0 // headings come in order, and each flag under its heading
	for _, o := range config.Options() {
		heading := strings.Index(text, "\n"+o.Group+":\n")
		i := strings.Index(text, "\n  -"+o.Name+" ")
		if i < at || i < heading {
			t.Errorf("-%s is not where it belongs", o.Name)
		}
		at = i
		if !strings.Contains(text, "(default "+o.Default+")") && o.Default != "" {
			t.Errorf("the default of -%s is missing", o.Name)
		}
	}
	if strings.Index(text, "\nExamples:") < at {
		t.Error("the examples do not stand at the end")
	}
}

// Flags of one mode stood among those of both, such as -max-line and -rate-per-client.
func TestHelpMarksFlagsOfOneMode(t *testing.T) {
	clearEnv(t)
	var stdout, stderr bytes.Buffer
	Main(t.Context(), "v1.2.3", []string{"-help"}, &stdout, &stderr)
	text := strings.Join(strings.Fields(stdout.String()), " ")
	for _, o := range config.Options() {
		_, after, _ := strings.Cut(text, " -"+o.Name+" ")
		after, _, _ = strings.Cut(after, " -")
		marked := strings.Contains(after, o.Scope+" mode only)") || strings.Contains(o.Group, o.Scope+" mode")
		if o.Scope != "" && !marked {
			t.Errorf("-%s is for %s mode only: %s", o.Name, o.Scope, after)
		}
	}
}

func checkWidth(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if len(line) > 101 {
			t.Errorf("more than 100 columns: %q", line)
		}
	}
}

func TestHelpOfCommandsFitsATerminal(t *testing.T) {
	clearEnv(t)
	for _, c := range commands() {
		var stdout, stderr bytes.Buffer
		runCommand(t.Context(), c.name, []string{"-help"}, &stdout, &stderr)
		checkWidth(t, stdout.String())
	}
}

func TestVersion(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_VERSION", "1.2.3") // images have such variables, with another meaning
	if _, err := config.Parse(nil); err != nil {
		t.Error(err)
	}
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), "v1.2.3", []string{"-version", "-port", "x"}, &stdout, &stderr)
	if code != exitOK || stderr.Len() > 0 {
		t.Fatalf("exit code %d, stderr %q", code, &stderr)
	}
	if text := stdout.String(); !strings.HasPrefix(text, "linesplit v1.2.3 (go1.") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %q", text)
	}
}

// Where standard output could not be written, the exit code was 0, as if the answer had been given.
func TestAnswersThatCannotBeWritten(t *testing.T) {
	clearEnv(t)
	for _, words := range []string{
		"-help", "-version", "-check -target a:1", "help", "help send", "version", "send -help", "ctl help", "healthcheck -help",
		"man", "completion bash", "proof -list",
	} {
		var stderr bytes.Buffer
		code := Main(t.Context(), "v1.2.3", strings.Fields(words), full{}, &stderr)
		if code != exitFailed || !strings.HasPrefix(stderr.String(), "linesplit") || !strings.HasSuffix(stderr.String(), ": "+errFull.Error()+"\n") {
			t.Errorf("%s: exit code %d, %q", words, code, &stderr)
		}
	}
}

var errFull = errors.New("no space left on device")

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// Every fault is printed, and a word that may be a misspelt command is answered with the commands.
func TestFaultsOfTheCommandLine(t *testing.T) {
	clearEnv(t)
	for _, test := range []struct {
		args []string
		want []string // lines of stderr, or parts of them
		not  string
	}{
		{[]string{"-port", "x", "-queue", "0"},
			[]string{"-port", "-queue", "run linesplit -help for all flags"}, "the commands are"},
		{[]string{"proff", "-port", "x"},
			[]string{`unexpected argument "proff"`, "-port", "\nthe commands are demo, send, "}, ""},
	} {
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), "v1.2.3", test.args, &stdout, &stderr)
		if code != exitUsage || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, stdout %q", test.args, code, &stdout)
		}
		for _, want := range test.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%q: no %q in %s", test.args, want, &stderr)
			}
		}
		if test.not != "" && strings.Contains(stderr.String(), test.not) {
			t.Errorf("%q: %q in %s", test.args, test.not, &stderr)
		}
	}
}
