package cli

import (
	"bytes"
	"strings"
	"testing"
)

func proofOutput(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = runCommand(t.Context(), "proof", args, &out, &err)
	return code, out.String(), err.String()
}

func TestProofFlags(t *testing.T) {
	file := writeFile(t, "listen {{.Listen}}\n{{range .Targets}}to {{.}}\n{{end}}")
	empty := writeFile(t, "")
	wrong := writeFile(t, "listen {{.Lisetn}}\n")
	for _, test := range []struct {
		name string
		args []string
		want []string // parts of standard error
	}{
		{"unknown flag", []string{"-ony", "a"}, []string{"unknown flag -ony", "did you mean -only?", "run linesplit proof -help"}},
		{"an argument", []string{"haproxy"},
			[]string{`unexpected argument "haproxy"`, "linesplit proof takes flags only"}},
		{"no such scenarios", []string{"-only", "crashes-unread,tornado", "-only", "flood"},
			[]string{`-only "tornado"`, `-only "flood"`, "-list"}},
		{"no proxy", []string{"-proxy", ""}, []string{`-proxy ""`, "no command"}},
		{"an unknown placeholder", []string{"-proxy", "p {listen} {target}"},
			[]string{"-proxy", "needs {listen} and {targets}"}},
		{"a quote", []string{"-proxy", "p '{listen} {targets}"}, []string{"is not closed"}},
		{"a configuration that the command does not use", []string{"-config", file}, []string{"-proxy", "no {config}"}},
		{"no configuration", []string{"-proxy", "p {config}"}, []string{"-proxy", "there is no configuration"}},
		{"no such file", []string{"-proxy", "p {config}", "-config", "/no/such/file"},
			[]string{`-config "/no/such/file"`, "no such file"}},
		{"an empty file", []string{"-proxy", "p {config}", "-config", empty}, []string{"-config", "the file is empty"}},
		{"a wrong configuration", []string{"-proxy", "p {config}", "-config", wrong}, []string{"Lisetn"}},
		{"no bool", []string{"-short=perhaps", "-json=no"}, []string{"-short", "write true or false", "-json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := proofOutput(t, test.args...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, want %d; stdout %q", code, exitUsage, stdout)
			}
			for _, part := range test.want {
				if !strings.Contains(stderr, part) {
					t.Errorf("lacks %q:\n%s", part, stderr)
				}
			}
		})
	}
}

func TestProofSettings(t *testing.T) {
	file := writeFile(t, "listen {{.Listen}}\n")
	for _, test := range []struct {
		args                       []string
		own, short, keepGoing, all bool
	}{
		{args: nil, own: true, all: true},
		{args: []string{"-short", "-keep-going"}, own: true, short: true, keepGoing: true, all: true},
		{args: []string{"-report-only", "-only", "all-stalled, full-outage"}, own: true, keepGoing: true},
		{args: []string{"-proxy", "p {config}", "-config", file}, all: true},
	} {
		p, err := parseProof(proofCommand(), test.args)
		if err != nil || p.Own != test.own || p.Short != test.short || p.KeepGoing != test.keepGoing ||
			(len(p.Only) == 0) != test.all {
			t.Errorf("%q: %+v, %v", test.args, p, err)
		}
	}
}

func TestProofHelpAndList(t *testing.T) {
	code, stdout, stderr := proofOutput(t, "-help")
	for _, part := range []string{"linesplit proof", "-report-only", "{targets}", "-config FILE"} {
		if code != exitOK || stderr != "" || !strings.Contains(stdout, part) {
			t.Errorf("exit code %d, no %q in:\n%s%s", code, part, stdout, stderr)
		}
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 101 {
			t.Errorf("long line: %s", line)
		}
	}
	code, stdout, stderr = proofOutput(t, "-list")
	if code != exitOK || stderr != "" || strings.Count(stdout, "\n") < 16 || !strings.Contains(stdout, "crashes-unread ") {
		t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
	}
}

func TestProofOfAProxyThatDoesNotStart(t *testing.T) {
	code, stdout, stderr := proofOutput(t, "-proxy", "/no/such/proxy {listen} {targets}")
	if code != exitCannotRun || stdout != "" ||
		!strings.Contains(stderr, "the proxy does not start") || !strings.Contains(stderr, "/no/such/proxy") {
		t.Errorf("exit code %d, want %d\n%s%s", code, exitCannotRun, stdout, stderr)
	}
	// A run without results must not count as passed.
	code, stdout, _ = proofOutput(t, "-json", "-proxy", "false {listen} {targets}")
	if code != exitCannotRun || !strings.Contains(stdout, `"results": []`) || !strings.Contains(stdout, `"passed": false`) {
		t.Errorf("exit code %d, want %d\n%s", code, exitCannotRun, stdout)
	}
}
