package cli

import (
	"context"
	"fmt"
)

// helpCommand is -help as a command. Its words are the names of all commands; see commands.
func helpCommand() command {
	return command{
		name:     "help",
		argument: "[COMMAND]",
		summary:  "Print this help, or that of a command",
		text: `linesplit help prints the help of linesplit itself, or that of a command, as linesplit COMMAND -help
does.

Usage:
  linesplit help [COMMAND]
`,
		run: runHelp,
	}
}

func runHelp(ctx context.Context, in invocation) int {
	words, err := in.parseArguments()
	switch {
	case err != nil:
		return in.explain(err)
	case len(words) > 1:
		return in.explain(fmt.Errorf("unexpected argument %q: linesplit help takes one command", words[1]))
	case len(words) == 0:
		return in.answer(printHelp)
	}
	c := findCommand(words[0])
	if c == nil {
		return in.fail(exitUsage, fmt.Errorf("unknown command %q%s: the commands are %s",
			words[0], suggestCommand(words[0]), commandNames()))
	}
	in.command, in.args = *c, []string{"-help"}
	return c.run(ctx, in)
}

// versionCommand is -version as a command.
func versionCommand() command {
	return command{
		name:    "version",
		summary: "Print the version",
		text: `linesplit version prints the version of linesplit, of Go, and the platform.

Usage:
  linesplit version
`,
		run: func(_ context.Context, in invocation) int {
			if _, err := in.parseArguments(); err != nil {
				return in.explain(err)
			}
			return in.answer(in.printVersion)
		},
	}
}
