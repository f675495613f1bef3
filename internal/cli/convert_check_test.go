package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"linesplit/internal/convert"
	"linesplit/internal/testcert"
)

// What convert makes of each of its test files is a valid configuration, as linesplit judges it.
func TestConvertedFilesPassCheck(t *testing.T) {
	clearEnv(t)
	all, err := filepath.Glob("../convert/testdata/*.golden")
	if err != nil || len(all) < 6 {
		t.Fatalf("%d files: %v", len(all), err)
	}
	for _, golden := range all {
		name := strings.TrimSuffix(golden, ".golden")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		result, err := convert.Convert(convert.Input{Name: name, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "linesplit.toml")
		if err := os.WriteFile(file, withFiles(t, result.TOML), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if code := Main(t.Context(), "v1.2.3", []string{"-check", "-config", file}, &stdout, &stderr); code != exitOK {
			t.Errorf("%s: exit code %d\n%s%s", name, code, &stdout, &stderr)
		}
	}
}

// withFiles replaces the certificates, keys, programs and directories of a configuration by ones
// that exist.
func withFiles(t *testing.T, text []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	pair := filepath.Join(dir, "pair.pem")
	files := testcert.New(t, dir)
	var both []byte
	for _, name := range []string{files.ServerCert, files.ServerKey} {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, part...)
	}
	if err := os.WriteFile(pair, both, 0o600); err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^((?:admin-)?tls-[a-z-]+) = "/[^"]*"`).ReplaceAll(text, []byte(`$1 = "`+pair+`"`))
	text = regexp.MustCompile(`exec:///[^"?]*`).ReplaceAll(text, []byte("exec:///bin/true"))
	return regexp.MustCompile(`unix:///[^"?]*/`).ReplaceAll(text, []byte("unix://"+dir+"/"))
}
