package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"linesplit/internal/clidoc"
)

// shell is a shell that linesplit can write completions for.
type shell struct {
	name  string
	write func(io.Writer, clidoc.Program) error
}

func shells() []shell {
	return []shell{{"bash", clidoc.Bash}, {"zsh", clidoc.Zsh}, {"fish", clidoc.Fish}}
}

func shellNames() (names []string) {
	for _, s := range shells() {
		names = append(names, s.name)
	}
	return names
}

func completionCommand() command {
	return command{
		name:     "completion",
		argument: "SHELL",
		words:    shellNames(),
		summary:  "Print completions for bash, zsh or fish",
		text: `linesplit completion prints what a shell needs to complete linesplit's flags and commands.

Usage:
  source <(linesplit completion bash)
  linesplit completion zsh > "${fpath[1]}/_linesplit"
  linesplit completion fish > ~/.config/fish/completions/linesplit.fish
`,
		run: runCompletion,
	}
}

func runCompletion(_ context.Context, in invocation) int {
	words, err := in.parseArguments()
	if err != nil {
		return in.explain(err)
	}
	chosen := -1
	if len(words) > 0 {
		chosen = slices.IndexFunc(shells(), func(s shell) bool { return s.name == words[0] })
	}
	switch {
	case chosen < 0:
		names := strings.Join(shellNames(), ", or ")
		if len(words) > 0 {
			return in.fail(exitUsage, fmt.Errorf("unknown shell %q: write linesplit completion %s", words[0], names))
		}
		return in.fail(exitUsage, errors.New("which shell? Write linesplit completion "+names))
	case len(words) > 1:
		return in.explain(fmt.Errorf("unexpected argument %q: linesplit completion takes one shell", words[1]))
	}
	if err := shells()[chosen].write(in.stdout, program(in.version)); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}
