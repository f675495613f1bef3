package clidoc

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostile contains every character that has a meaning to roff or to a shell.
const hostile = `'quoted' "twice" [in] a\b: $HOME $(exit 9) ` + "`exit 9`" + ` ~ ^ ; | & * ? # %d %`

func sample() Program {
	return Program{
		Name: "pour", Version: "v1.2.3", Summary: "pours " + hostile,
		Text: "One.\n\n.Two starts with a dot.\n\n'Three " + hostile,
		Flags: []Flag{
			{Name: "mode", Arg: "MODE", Default: "slow", Group: "How", Help: ".help with a dot",
				Choices: []string{"slow", "fast", "fastest"}},
			{Name: "from", Arg: "FILE", Group: "What", Help: "'from' " + hostile},
			{Name: "count", Arg: "N", Default: "3", Group: "What", Help: strings.Repeat("many words ", 20)},
			{Name: "quiet", Group: "What", Help: "say nothing"},
		},
		Commands: []Command{
			{Name: "serve", Summary: "Serves " + hostile, Text: "  laid out\n.  like this\n",
				Flags: []Flag{{Name: "mode", Arg: "MODE", Help: hostile, Choices: []string{"hot", "cold"}}}},
			{Name: "mix", Summary: "Mixes", Words: []string{"wine", "water"}},
			{Name: "milk", Summary: "Milks"},
			{Name: "tip", Summary: "Tips", Arg: "FILE", Flags: []Flag{{Name: "slow", Help: "do not spill"}}},
		},
		Sections: []Section{
			{Title: "EXIT STATUS", Text: "See " + hostile, Items: []Item{{Word: ".0", Meaning: "'well'"}}},
			{Title: "EXAMPLES", Lines: []string{"  pour -mode slow", ".dot", "'quote " + hostile}},
		},
	}
}

func render(t *testing.T, write func(io.Writer, Program) error, p Program) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func writers() map[string]func(io.Writer, Program) error {
	return map[string]func(io.Writer, Program) error{"man": Man, "bash": Bash, "zsh": Zsh, "fish": Fish}
}

func TestNothingIsLeftOut(t *testing.T) {
	for name, write := range writers() {
		text := render(t, write, sample())
		for _, want := range []string{"mode", "from", "count", "quiet", "serve", "mix", "milk", "wine", "water"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
	}
}

func TestWriteErrorsAreReturned(t *testing.T) {
	for name, write := range writers() {
		if err := write(brokenWriter{}, sample()); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestProgramWithoutFlagsAndCommands(t *testing.T) {
	for name, write := range writers() {
		if text := render(t, write, Program{Name: "x", Summary: "y"}); !strings.Contains(text, "x") {
			t.Errorf("%s: got %q", name, text)
		}
	}
}

func TestBrief(t *testing.T) {
	for _, n := range []int{briefWidth - 1, briefWidth, briefWidth + 1, 3 * briefWidth} {
		text := strings.Repeat("ab, ", n)[:n]
		got := brief(text)
		if len(got) > briefWidth+len(" …") || n <= briefWidth && got != text {
			t.Errorf("%d bytes: got %q", n, got)
		}
	}
}

// The formatter prints every text as it was given, and takes none of it for a request.
func TestManFormatsWithoutWarnings(t *testing.T) {
	need(t, "man")
	need(t, "groff")
	file := filepath.Join(t.TempDir(), "pour.1")
	if err := os.WriteFile(file, []byte(render(t, Man, sample())), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("man", "--warnings", "-E", "ascii", "-l", "-Tascii", file)
	cmd.Env = append(os.Environ(), "MANWIDTH=400", "LC_ALL=C", "MANPAGER=cat", "GROFF_NO_SGR=1", "MANROFFOPT=-c")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %s", err, &stderr)
	}
	page := strings.Join(strings.Fields(overstrike(stdout.String())), " ") // man fills and justifies lines
	for _, want := range []string{
		"pour - pours 'quoted'", ".Two starts with a dot.", "'Three 'quoted' \"twice\" [in] a\\b: $HOME $(exit 9) `exit 9` ~ ^ ; | & * ? # %d %",
		"-mode MODE", ".help with a dot (default slow)", "'from' 'quoted'", "laid out . like this", ".0 'well'",
		"'quote 'quoted'", ".dot", "pour mix wine | water", "pour tip FILE [flags]",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

// overstrike removes the backspace sequences that print bold and underlined characters.
func overstrike(text string) string {
	var out []rune
	for _, r := range text {
		if r == '\b' && len(out) > 0 {
			out = out[:len(out)-1]
			continue
		}
		out = append(out, r)
	}
	return string(out)
}

// completions are what shells must offer at the end of a command line.
var completions = []struct {
	line string
	want []string
}{
	{"pour ", []string{"milk", "mix", "serve", "tip"}},
	{"pour mi", []string{"milk", "mix"}},
	{"pour -", []string{"-count", "-from", "-mode", "-quiet"}},
	{"pour -m", []string{"-mode"}},
	{"pour -mode ", []string{"fast", "fastest", "slow"}},
	{"pour -mode fas", []string{"fast", "fastest"}},
	{"pour -quiet -mode s", []string{"slow"}},
	{"pour -from alp", []string{"alpha"}},
	{"pour -count ", nil},
	{"pour serve -", []string{"-mode"}},
	{"pour serve -mode ", []string{"cold", "hot"}},
	{"pour mix ", []string{"water", "wine"}},
	{"pour mix wi", []string{"wine"}},
	{"pour milk ", nil},
	{"pour tip alp", []string{"alpha"}},
	{"pour tip -s", []string{"-slow"}},
}

func TestBashCompletes(t *testing.T) {
	need(t, "bash")
	script := scriptFile(t, Bash)
	extra := []struct {
		line string
		want []string
	}{
		{"pour --mo", []string{"-mode"}},
		{"pour --mode fas", []string{"fast", "fastest"}},
		{"pour -mode =", []string{"fast", "fastest", "slow"}}, // the words into which readline splits -mode=
		{"pour -mode = s", []string{"slow"}},
	}
	for _, test := range append(extra, completions...) {
		got := run(t, "bash", "-c", `source "$0"; COMP_WORDS=($1); [[ $1 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _pour; printf '%s\n' "${COMPREPLY[@]}"`, script, test.line)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.line, got, test.want)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	need(t, "fish")
	script := scriptFile(t, Fish)
	for _, test := range completions {
		got := run(t, "fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, script, test.line)
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "\t")
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.line, got, test.want)
		}
	}
}

// zsh completes only on a terminal. This test checks that zsh can parse the script, and what the
// script passes to _arguments.
func TestZshParsesTheScript(t *testing.T) {
	need(t, "zsh")
	script := scriptFile(t, Zsh)
	const probe = `compdef() {}; _describe() { print -rl -- ${(P)2} }; _message() {}; _arguments() { print -rl -- "$@" }
source $1; words=(${(s: :)2}); [[ $2 == *" " ]] && words+=(""); CURRENT=$#words; PREFIX=$words[-1]; _pour`
	for _, test := range []struct {
		line string
		want []string
	}{
		{"pour ", []string{"milk:Milks", "mix:Mixes"}},
		{"pour -", []string{"*-mode=[.help with a dot]:MODE:(slow fast fastest)", "*-quiet[say nothing]"}},
		{"pour mix ", []string{"1: :(wine water)"}},
	} {
		got := run(t, "zsh", "-f", "-c", probe, "zsh", script, test.line)
		for _, want := range test.want {
			if !slices.Contains(got, want) {
				t.Errorf("%q: got %q, want %q among them", test.line, got, want)
			}
		}
	}
	got := run(t, "zsh", "-f", "-c", probe, "zsh", script, "pour serve -")
	if len(got) != 1 || !strings.HasPrefix(got[0], `*-mode=['quoted' "twice" \[in\] a\\b\: `) {
		t.Errorf("escaped: %q", got)
	}
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("SKIPPED: no %s here", program)
	}
}

// scriptFile writes the script into a directory that also holds a file named alpha, and makes
// that the working directory.
func scriptFile(t *testing.T, write func(io.Writer, Program) error) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"script": render(t, write, sample()), "alpha": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "script")
}

// run returns the lines that a shell prints to stdout, sorted. The shell must print nothing to
// stderr.
func run(t *testing.T, name string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Errorf("%s %q: %v: %s", name, args[len(args)-1], err, &stderr)
	}
	lines := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
	slices.Sort(lines)
	if len(lines) == 0 {
		return nil
	}
	return lines
}
