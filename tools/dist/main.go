// Command dist builds a release. For each platform it makes an archive with the program, its manual
// page and its completions, and a bill of materials (CycloneDX). It also makes Debian packages, and
// checksums of all files.
//
//	dist [-version V] [-only linux/amd64,darwin/arm64] [-repository DIR] [-out DIR]
//
// The same commit, version and Go give the same bytes: all times are SOURCE_DATE_EPOCH, or else the
// time of the last commit.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "version of the release, as linesplit -version prints it")
	flag.StringVar(&r.repository, "repository", "../..", "directory of linesplit's source")
	flag.StringVar(&r.out, "out", "../../dist", "directory for the files; an earlier release in it is removed")
	only := flag.String("only", strings.Join(platforms(), ","), "comma-separated platforms")
	flag.Parse()
	if err := r.build(strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}
}

// release is a release that is being built. build makes its directories absolute.
type release struct {
	version    string
	repository string
	out        string
	stage      string // temporary directory: the files of all archives, and the program of the current platform
	time       time.Time
}

// build builds the release for some platforms.
func (r *release) build(platforms []string) error {
	if err := r.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(r.stage)
	if err := r.document(); err != nil {
		return err
	}
	for _, p := range platforms {
		system, arch, ok := strings.Cut(p, "/")
		if !ok {
			return fmt.Errorf("platform %q: want linux/amd64, for example", p)
		}
		if err := r.buildPlatform(system, arch); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return r.checksums()
}

func (r *release) prepare() (err error) {
	if r.repository, err = filepath.Abs(r.repository); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if r.version == "" {
		r.version = "v0.0.0"
	}
	if r.time, err = r.commitTime(); err != nil {
		return err
	}
	if err := r.emptyOut(); err != nil {
		return err
	}
	r.stage, err = os.MkdirTemp("", "linesplit-dist")
	return err
}

// emptyOut removes the files of an earlier release and leaves all others.
func (r *release) emptyOut() error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{"linesplit_*", "SHA256SUMS"} {
		files, err := filepath.Glob(filepath.Join(r.out, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// commitTime returns SOURCE_DATE_EPOCH, or else the time of the last commit, or else the epoch.
func (r *release) commitTime() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := exec.Command("git", "-C", r.repository, "log", "-1", "--format=%ct").Output()
		if err != nil { // not a git repository, such as an unpacked archive
			return time.Unix(0, 0).UTC(), nil
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: want seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// document makes the manual page and the completions with the program, built for this machine. The
// program stays staged, so that go build finds it up to date if its platform comes next.
func (r *release) document() error {
	program := r.staged("linesplit")
	if err := r.compile(program); err != nil {
		return err
	}
	for file, args := range map[string][]string{
		"linesplit.1":    {"man"},
		"linesplit.bash": {"completion", "bash"},
		"_linesplit":     {"completion", "zsh"},
		"linesplit.fish": {"completion", "fish"},
	} {
		cmd := exec.Command(program, args...)
		cmd.Env = []string{} // so that LINESPLIT_ variables of this shell do not appear as defaults
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("linesplit %s: %w", strings.Join(args, " "), err)
		}
		if err := os.WriteFile(r.staged(file), out, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *release) buildPlatform(system, arch string) error {
	program := r.staged(programName(system))
	if err := r.compile(program, "GOOS="+system, "GOARCH="+arch); err != nil {
		return err
	}
	name := filepath.Join(r.out, fmt.Sprintf("linesplit_%s_%s_%s", strings.TrimPrefix(r.version, "v"), system, arch))
	if err := r.describe(program, name+".cdx.json"); err != nil {
		return err
	}
	if err := r.archive(system, program, name); err != nil {
		return err
	}
	if system != "linux" {
		return nil
	}
	return r.debian(arch)
}

// compile builds a static program.
func (r *release) compile(program string, env ...string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+r.version, "-o", program, ".")
	cmd.Dir = r.repository
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func programName(system string) string {
	if system == "windows" {
		return "linesplit.exe"
	}
	return "linesplit"
}

func (r *release) staged(name string) string { return filepath.Join(r.stage, name) }
