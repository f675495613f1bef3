package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// entry is a file of an archive.
type entry struct {
	name string // in the archive
	file string
	mode int64
}

// archive packs the program with its documentation, its completions, and the files to deploy it
// with.
func (r *release) archive(system, program, name string) error {
	top := filepath.Base(name) + "/"
	entries := []entry{{top + filepath.Base(program), program, 0o755}}
	documents, err := r.documents()
	if err != nil {
		return err
	}
	for _, file := range documents {
		entries = append(entries, entry{top + file, filepath.Join(r.repository, filepath.FromSlash(file)), 0o644})
	}
	for _, file := range []string{"linesplit.1", "linesplit.bash", "_linesplit", "linesplit.fish"} {
		entries = append(entries, entry{top + file, r.staged(file), 0o644})
	}
	if system == "windows" {
		return create(name+".zip", func(w io.Writer) error { return r.zip(w, entries) })
	}
	return create(name+".tar.gz", func(w io.Writer) error { return r.tarball(w, entries) })
}

// documents returns the files of the source that README.md leads to, and that these lead to. Their
// names are relative, with slashes.
func (r *release) documents() (all []string, err error) {
	all = []string{"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
	source := os.DirFS(r.repository)
	for _, dir := range []string{"docs", "deploy"} {
		err := fs.WalkDir(source, dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				all = append(all, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// create writes a file. If that fails, it removes the file.
func create(file string, write func(io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

func (r *release) tarball(w io.Writer, entries []entry) error {
	return gzipped(w, func(w io.Writer) error {
		tw := tar.NewWriter(w)
		for _, e := range entries {
			data, err := os.ReadFile(e.file)
			if err != nil {
				return err
			}
			header := &tar.Header{
				Name: e.name, Mode: e.mode, Size: int64(len(data)), ModTime: r.time, Format: tar.FormatPAX,
			}
			if err := tw.WriteHeader(header); err != nil {
				return err
			}
			if _, err := tw.Write(data); err != nil {
				return err
			}
		}
		return tw.Close()
	})
}

func (r *release) zip(w io.Writer, entries []entry) error {
	zw := zip.NewWriter(w)
	for _, e := range entries {
		data, err := os.ReadFile(e.file)
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: r.time}
		header.SetMode(os.FileMode(e.mode))
		part, err := zw.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := part.Write(data); err != nil {
			return err
		}
	}
	return zw.Close()
}

// gzipped writes through gzip, without a time in the header.
func gzipped(w io.Writer, write func(io.Writer) error) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	return errors.Join(write(zw), zw.Close())
}

// checksums writes the checksums of all files of the release, as sha256sum -c reads them.
func (r *release) checksums() error {
	files, err := filepath.Glob(filepath.Join(r.out, "linesplit_*"))
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(data), filepath.Base(file))
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(list.String()), 0o644)
}
