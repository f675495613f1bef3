// Command dockerlint checks a Dockerfile without a container engine. It uses BuildKit's parser and
// the rules that come with it, and checks that the image runs as its documentation says: not as
// root, without a shell, ended by a signal, with a health check.
//
//	dockerlint [DOCKERFILE]
//
// The other rules of "docker build --check" are in packages that take a minute to compile, which is
// too long for a file that rarely changes.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	file := "Dockerfile"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	if err := lint(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lint returns all faults of a Dockerfile, or the error that keeps it from being parsed.
func lint(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	f := &findings{file: file}
	stages, err := f.parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for i, stage := range stages {
		f.checkStage(stage, stages[:i])
	}
	f.checkImage(stages[len(stages)-1])
	return errors.Join(f.errs...)
}

// findings collects the faults of a file.
type findings struct {
	file string
	errs []error
}

// add adds a fault at a place in the file.
func (f *findings) add(at []parser.Range, format string, args ...any) {
	line := 0
	if len(at) > 0 {
		line = at[0].Start.Line
	}
	f.errs = append(f.errs, fmt.Errorf("%s:%d: %s", f.file, line, fmt.Sprintf(format, args...)))
}

func (f *findings) parse(data []byte) ([]instructions.Stage, error) {
	tree, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for _, w := range tree.Warnings {
		f.add([]parser.Range{*w.Location}, "%s", w.Short)
	}
	warn := func(rule, _, url, text string, at []parser.Range) {
		f.add(at, "%s: %s (%s)", rule, text, url)
	}
	stages, _, err := instructions.Parse(tree.AST, linter.New(&linter.Config{Warn: warn}))
	if err == nil && len(stages) == 0 {
		err = errors.New("no FROM")
	}
	return stages, err
}

// checkStage checks commands for faults that matter in every stage.
func (f *findings) checkStage(stage instructions.Stage, earlier []instructions.Stage) {
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			if c.From != "" && !isStage(c.From, earlier) {
				f.add(c.Location(), "COPY --from=%s: no stage of that name before it", c.From)
			}
		case *instructions.WorkdirCommand:
			if !strings.HasPrefix(c.Path, "/") {
				f.add(c.Location(), "WORKDIR %s: not absolute", c.Path)
			}
		case *instructions.EntrypointCommand:
			f.wantExec(c, c.PrependShell)
		case *instructions.CmdCommand:
			f.wantExec(c, c.PrependShell)
		case *instructions.HealthCheckCommand:
			f.wantExec(c, c.Health.Test[0] == "CMD-SHELL")
		}
	}
}

func isStage(name string, stages []instructions.Stage) bool {
	if i, err := strconv.Atoi(name); err == nil {
		return i < len(stages)
	}
	return slices.ContainsFunc(stages, func(s instructions.Stage) bool { return s.Name == name })
}

// wantExec requires the exec form of a command. The image has no shell, and a shell would not pass
// signals on.
func (f *findings) wantExec(c instructions.Command, shell bool) {
	if shell {
		f.add(c.Location(), `%s: needs a shell: write ["/linesplit", …]`, c.Name())
	}
}

// checkImage requires the last stage to define how the image runs.
func (f *findings) checkImage(stage instructions.Stage) {
	missing := []string{"user", "entrypoint", "healthcheck", "expose", "stopsignal"}
	for _, command := range stage.Commands {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == strings.ToLower(command.Name()) })
		// An orchestrator can only tell from a number that the user is not root.
		if user, ok := command.(*instructions.UserCommand); ok && !notRoot(user.User) {
			f.add(user.Location(), "USER %s: want a number other than 0", user.User)
		}
	}
	for _, name := range missing {
		f.add(stage.Location, "the image has no %s", strings.ToUpper(name))
	}
}

func notRoot(user string) bool {
	uid, _, _ := strings.Cut(user, ":")
	n, err := strconv.Atoi(uid)
	return err == nil && n > 0
}
