package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

// maintainer is the maintainer in the control file and the changelog of Debian packages. The
// address is a placeholder: put yours here.
const maintainer = "The linesplit authors <linesplit@localhost>"

// debian makes a package of the staged program. deploy/package/nfpm.yaml lists its files.
func (r *release) debian(arch string) error {
	if err := r.stageForDebian(); err != nil {
		return err
	}
	file := filepath.Join(r.repository, "deploy", "package", "nfpm.yaml")
	info, err := r.packageInfo(file, arch)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, c := range info.Contents {
		c.FileInfo.MTime = r.time
	}
	out := filepath.Join(r.out, deb.Default.ConventionalFileName(info))
	return create(out, func(w io.Writer) error { return deb.Default.Package(info, w) })
}

// packageInfo reads a file of nfpm and replaces its variables. nfpm itself would replace only some
// of them.
func (r *release) packageInfo(file, arch string) (*nfpm.Info, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	values := map[string]string{"ARCH": arch, "VERSION": packageVersion(r.version), "STAGE": r.stage,
		"REPOSITORY": r.repository, "MAINTAINER": maintainer}
	value := func(name string) string { return values[name] }
	config, err := nfpm.ParseWithEnvMapping(strings.NewReader(os.Expand(string(data), value)), value)
	if err != nil {
		return nil, err
	}
	info, err := config.Get("deb")
	if err != nil {
		return nil, err
	}
	info = nfpm.WithDefaults(info)
	info.MTime = r.time
	return info, nfpm.PrepareForPackager(info, "deb")
}

// stageForDebian makes the files that Debian wants compressed.
func (r *release) stageForDebian() error {
	page, err := os.ReadFile(r.staged("linesplit.1"))
	if err != nil {
		return err
	}
	changelog := fmt.Sprintf("linesplit (%s) unstable; urgency=medium\n\n"+
		"  * See CHANGELOG.md of the source for the changes.\n\n -- %s  %s\n",
		strings.Replace(packageVersion(r.version), "-", "~", 1), maintainer, r.time.Format(time.RFC1123Z))
	for name, data := range map[string][]byte{"linesplit.1.gz": page, "changelog.gz": []byte(changelog)} {
		err := create(r.staged(name), func(w io.Writer) error {
			return gzipped(w, func(w io.Writer) error { _, err := w.Write(data); return err })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// packageVersion converts the output of git describe to a version that sorts correctly. A commit
// without a tag sorts before every release.
func packageVersion(version string) string {
	text := strings.TrimPrefix(version, "v")
	number, _, _ := strings.Cut(text, "-")
	if strings.Count(number, ".") == 2 {
		return text
	}
	return "0.0.0-g" + text
}
