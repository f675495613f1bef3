package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

const version = "v1.2.3"

// The test builds a release twice and checks everything in it.
func TestReleaseIsCompleteAndReproducible(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	out := built(t)
	names := listed(t, out)
	want := []string{
		"linesplit_1.2.3_amd64.deb", "linesplit_1.2.3_linux_amd64.cdx.json", "linesplit_1.2.3_linux_amd64.tar.gz",
	}
	if !slices.Equal(names, want) {
		t.Errorf("checksums of %q, want %q", names, want)
	}
	t.Run("archive", func(t *testing.T) { checkArchive(t, filepath.Join(out, want[2])) })
	t.Run("bill of materials", func(t *testing.T) { checkBillOfMaterials(t, filepath.Join(out, want[1])) })
	t.Run("package", func(t *testing.T) { checkPackage(t, filepath.Join(out, want[0])) })
	t.Run("again", func(t *testing.T) {
		first := read(t, filepath.Join(out, "SHA256SUMS"))
		second := read(t, filepath.Join(built(t), "SHA256SUMS"))
		if !bytes.Equal(first, second) {
			t.Errorf("not the same bytes:\n%s%s", first, second)
		}
	})
}

// built builds a release and returns its directory.
func built(t *testing.T) (out string) {
	t.Helper()
	r := release{version: version, repository: "../..", out: filepath.Join(t.TempDir(), "dist")}
	if err := r.build([]string{"linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.stage); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was left behind (%v)", r.stage, err)
	}
	return r.out
}

// listed returns the names in the list of checksums, and checks the checksums.
func listed(t *testing.T, out string) (names []string) {
	t.Helper()
	for line := range strings.Lines(string(read(t, filepath.Join(out, "SHA256SUMS")))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(out, name)))); got != sum {
			t.Errorf("%s: sum %s, want %s", name, sum, got)
		}
		names = append(names, name)
	}
	return names
}

func checkArchive(t *testing.T, file string) {
	files := untar(t, gunzip(t, read(t, file)))
	const top = "linesplit_1.2.3_linux_amd64/"
	for _, name := range []string{"linesplit", "LICENSE", "README.md", "CHANGELOG.md",
		"linesplit.1", "linesplit.bash", "_linesplit", "linesplit.fish"} {
		if len(files[top+name]) == 0 {
			t.Errorf("no %s, or empty", name)
		}
	}
	wantStatic(t, files[top+"linesplit"])
	checkLinks(t, files)
	if unit := "deploy/systemd/linesplit.service"; !bytes.Equal(files[top+unit], read(t, filepath.Join("../..", unit))) {
		t.Errorf("%s is not that of the source", unit)
	}
	program := filepath.Join(t.TempDir(), "linesplit")
	if err := os.WriteFile(program, files[top+"linesplit"], 0o700); err != nil {
		t.Fatal(err)
	}
	printed, err := exec.Command(program, "-version").Output()
	if err != nil || !strings.HasPrefix(string(printed), "linesplit "+version+" ") {
		t.Errorf("it prints %q (%v)", printed, err)
	}
	heading := "linesplit " + strings.ReplaceAll(version, "-", `\-`)
	if !bytes.Contains(files[top+"linesplit.1"], []byte(heading)) {
		t.Error("the manual page does not name the version")
	}
}

// checkLinks requires that every relative link of a document leads to a file or a directory of the
// archive. README.md once linked to documents that were not packed.
func checkLinks(t *testing.T, files map[string][]byte) {
	t.Helper()
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src|srcset)="([^":]+)"`)
	links := 0
	for name, text := range files {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			to := path.Join(path.Dir(name), match[1]+match[2])
			_, isFile := files[to]
			inside := slices.ContainsFunc(slices.Collect(maps.Keys(files)),
				func(file string) bool { return strings.HasPrefix(file, to+"/") })
			if !isFile && !inside {
				t.Errorf("%s leads to %s, which is not there", name, to)
			}
		}
	}
	if links == 0 {
		t.Error("no document has a relative link")
	}
}

// wantStatic requires a program that needs no shared libraries.
func wantStatic(t *testing.T, program []byte) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("linked dynamically: %v", p.Type)
		}
	}
}

func checkBillOfMaterials(t *testing.T, file string) {
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(read(t, file)), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range *bom.Components {
		listed[c.Name] = c.Version != "" && strings.HasPrefix(c.PackageURL, "pkg:golang/"+c.Name+"@")
	}
	for _, name := range []string{"std", "github.com/peterbourgon/ff/v3", "github.com/cenkalti/backoff/v4",
		"github.com/prometheus/client_golang", "golang.org/x/sys"} {
		if !listed[name] {
			t.Errorf("%s is not listed, or has no version or URL", name)
		}
	}
	if listed["github.com/google/go-cmp"] {
		t.Error("lists a module that only tests need")
	}
	if got := len(*(*bom.Dependencies)[0].Dependencies); got != len(*bom.Components) {
		t.Errorf("depends on %d of %d components", got, len(*bom.Components))
	}
	if m := bom.Metadata; m.Component.Version != version || m.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("version %s, time %s", m.Component.Version, m.Timestamp)
	}
}

func checkPackage(t *testing.T, file string) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("SKIPPED: no dpkg-deb here")
	}
	files := untar(t, output(t, "dpkg-deb", "--fsys-tarfile", file))
	repository := map[string]string{
		"./usr/lib/systemd/system/linesplit.service": "deploy/systemd/linesplit.service",
		"./usr/lib/systemd/system/linesplit.socket":  "deploy/systemd/linesplit.socket",
		"./etc/linesplit/linesplit.conf":             "deploy/package/linesplit.conf",
		"./usr/lib/sysusers.d/linesplit.conf":        "deploy/package/sysusers.conf",
		"./usr/share/doc/linesplit/copyright":        "LICENSE",
	}
	for name, source := range repository {
		if !bytes.Equal(files[name], read(t, filepath.Join("../..", source))) {
			t.Errorf("%s is not %s", name, source)
		}
	}
	for _, name := range []string{
		"./usr/bin/linesplit",
		"./usr/share/man/man1/linesplit.1.gz",
		"./usr/share/bash-completion/completions/linesplit",
		"./usr/share/zsh/vendor-completions/_linesplit",
		"./usr/share/fish/vendor_completions.d/linesplit.fish",
		"./usr/share/doc/linesplit/changelog.gz",
	} {
		if len(files[name]) == 0 {
			t.Errorf("no %s, or empty; there are %q", name, slices.Sorted(maps.Keys(files)))
		}
	}
	changelog := gunzip(t, files["./usr/share/doc/linesplit/changelog.gz"])
	if !bytes.Contains(changelog, []byte("\n -- "+maintainer+"  ")) {
		t.Errorf("the changelog is not by %s:\n%s", maintainer, changelog)
	}
	wantStatic(t, files["./usr/bin/linesplit"])
	for _, want := range [][2]string{{"Version", "1.2.3"}, {"Architecture", "amd64"}, {"Package", "linesplit"},
		{"Depends", ""}, {"Maintainer", maintainer}} {
		if got := strings.TrimSpace(string(output(t, "dpkg-deb", "--field", file, want[0]))); got != want[1] {
			t.Errorf("%s is %q, want %q", want[0], got, want[1])
		}
	}
	conffiles := strings.TrimSpace(string(output(t, "dpkg-deb", "--info", file, "conffiles")))
	if conffiles != "/etc/linesplit/linesplit.conf" {
		t.Errorf("configuration files: %q", conffiles)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = bytes.NewReader(output(t, "dpkg-deb", "--info", file, script))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
	}
}

func TestPackageVersionsSortCorrectly(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "v1.2.3-rc1": "1.2.3-rc1",
		"v1.2.3-4-gabcdef0-dirty": "1.2.3-4-gabcdef0-dirty",
		"abcdef0":                 "0.0.0-gabcdef0", "abcdef0-dirty": "0.0.0-gabcdef0-dirty", "v1.2": "0.0.0-g1.2",
	} {
		if got := packageVersion(version); got != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}

func TestZipKeepsModeAndTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	r := release{time: time.Unix(1700000000, 0).UTC()}
	if err := r.zip(&b, []entry{{"top/program.exe", file, 0o755}}); err != nil {
		t.Fatal(err)
	}
	zr, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	data, err := zr.Open("top/program.exe")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(data); err != nil || string(got) != "text" {
		t.Errorf("got %q (%v)", got, err)
	}
	if got := zr.File[0]; got.Mode() != 0o755 || !got.Modified.Equal(r.time) {
		t.Errorf("mode %v, time %v", got.Mode(), got.Modified)
	}
}

func TestFailuresAreReported(t *testing.T) {
	source := func(out string) release { return release{version: version, repository: "../..", out: out} }
	t.Run("platform", func(t *testing.T) {
		r := source(t.TempDir())
		if err := r.build([]string{"linux"}); err == nil || !strings.Contains(err.Error(), "want linux/amd64") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("time", func(t *testing.T) {
		t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
		r := source(t.TempDir())
		if err := r.build(nil); err == nil || !strings.Contains(err.Error(), "want seconds") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no source", func(t *testing.T) {
		r := release{repository: t.TempDir(), out: t.TempDir()}
		if err := r.build(nil); err == nil || !strings.Contains(err.Error(), "go build") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("half a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "x")
		err := create(file, func(w io.Writer) error { io.WriteString(w, "half"); return io.ErrUnexpectedEOF })
		if _, gone := os.Stat(file); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(gone, os.ErrNotExist) {
			t.Errorf("got %v; file: %v", err, gone)
		}
	})
}

// The directory may hold other files.
func TestOnlyFilesOfAReleaseAreRemoved(t *testing.T) {
	r := release{out: t.TempDir()}
	for _, name := range []string{"linesplit_1.0.0_amd64.deb", "SHA256SUMS", "notes"} {
		if err := os.WriteFile(filepath.Join(r.out, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.emptyOut(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(r.out)
	if err != nil || len(left) != 1 || left[0].Name() != "notes" {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return out
}

func gunzip(t *testing.T, data []byte) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		header, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Mode&0o022 != 0 {
			t.Errorf("%s: owner %d, mode %o", header.Name, header.Uid, header.Mode)
		}
	}
}
