package proof

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTemplates(t *testing.T) {
	v := values{Listen: "127.0.0.1:9000", Targets: []string{"127.0.0.2:1", "127.0.0.3:2"}, CA: "/ca.pem",
		Flags: []string{"-a", "1 s"}}
	for _, test := range []struct {
		command, config string
		want            []string // DIR stands for the directory
		file            string
	}{
		{command: Own, want: []string{"/bin/self", "-listen", "tcp://127.0.0.1:9000", "-target",
			"127.0.0.2:1,127.0.0.3:2", "-a", "1 s"}},
		{command: ` p  --in={listen} "{targets} x" 'a "b"' ''`,
			want: []string{"p", "--in=127.0.0.1:9000", "127.0.0.2:1,127.0.0.3:2 x", `a "b"`, ""}},
		{
			command: "p -f {config} {ca}", config: "{{host .Listen}} {{port .Listen}}{{range .Targets}}\n{{.}}{{end}} {{.TLS}} {{.Dir}}",
			want: []string{"p", "-f", "DIR/proxy.conf", "/ca.pem"},
			file: "127.0.0.1 9000\n127.0.0.2:1\n127.0.0.3:2 false DIR",
		},
	} {
		tmpl, err := ParseTemplate(test.command, test.config, "/bin/self")
		if err != nil {
			t.Errorf("%s: %v", test.command, err)
			continue
		}
		v.Dir = t.TempDir()
		got, err := tmpl.fill(v)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], v.Dir, "DIR")
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", test.command, err, diff)
		}
		text, _ := os.ReadFile(filepath.Join(v.Dir, "proxy.conf"))
		if diff := cmp.Diff(test.file, strings.ReplaceAll(string(text), v.Dir, "DIR")); diff != "" {
			t.Errorf("%s: configuration: %s", test.command, diff)
		}
	}
}

func TestInvalidTemplates(t *testing.T) {
	for _, test := range []struct{ command, config, want string }{
		{"", "", "no command"},
		{"  ", "", "no command"},
		{"p 'x {listen} {targets}", "", "a quote ' is not closed"},
		{"p {listen}", "", "needs {listen} and {targets}"},
		{"p {targets}", "", "needs {listen} and {targets}"},
		{"p -f {config}", "", "there is no configuration"},
		{"p {listen} {targets}", "x", "the command has no {config}"},
		{"p {listen} {targets} {tagets}", "", "unknown placeholder {tagets}: known are {self} {listen}"},
		{"p {config}", "{{.Listne}}", "Listne"},
		{"p {config}", "{{host .Targets}}", "wrong type"},
		{"p {config}", "{{range .Targets}}", "unexpected EOF"},
	} {
		_, err := ParseTemplate(test.command, test.config, "")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q, %q: error = %v, want %q", test.command, test.config, err, test.want)
		}
	}
}

// Fields that are quoted as for a shell come out unchanged.
func FuzzSplitCommand(f *testing.F) {
	f.Add("a b", "")
	f.Add("{listen}", `"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" }
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		got, err := splitCommand(quote(a) + " \t" + quote(b) + "\n")
		if diff := cmp.Diff([]string{a, b}, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}
