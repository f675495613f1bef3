package cli

import (
	"context"
	"strings"

	"linesplit/internal/clidoc"
	"linesplit/internal/config"
	"linesplit/internal/flags"
)

func manCommand() command {
	return command{
		name:    "man",
		summary: "Print the manual page, for man -l -",
		text: `linesplit man prints its manual page.

Usage:
  linesplit man | man -l -
`,
		run: runMan,
	}
}

func runMan(_ context.Context, in invocation) int {
	if _, err := in.parseArguments(); err != nil {
		return in.explain(err)
	}
	if err := clidoc.Man(in.stdout, program(in.version)); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// program describes linesplit's whole command line, for the manual page and the completions.
func program(version string) clidoc.Program {
	return clidoc.Program{
		Name:     "linesplit",
		Version:  version,
		Summary:  "lossless load balancer for line streams",
		Text:     manText,
		Flags:    docFlags(config.Options()),
		Commands: docCommands(),
		Sections: manSections(),
	}
}

func docCommands() (all []clidoc.Command) {
	for _, c := range commands() {
		all = append(all, clidoc.Command{
			Name: c.name, Summary: c.summary, Text: c.text + c.examples, Arg: c.argument, Words: c.words, Flags: docFlags(c.options),
		})
	}
	return all
}

func docFlags(options []flags.Option) (all []clidoc.Flag) {
	for _, o := range options {
		all = append(all, clidoc.Flag{
			Name: o.Name, Arg: o.Arg, Default: o.Default, Group: o.Group, Help: o.Text(), Choices: o.Choices,
		})
	}
	return all
}

const manText = `linesplit takes newline-delimited records from any number of senders and spreads them, whole
lines at a time, over many targets. What a target has not read when it fails is sent again elsewhere. With
-mode connection it forwards whole connections and datagrams instead.

Every setting is a flag, an environment variable (-max-line is LINESPLIT_MAX_LINE; an empty one counts
as unset) and a key of the file that -config names; -check, -t, -version and -help are flags only. Flags
win over the environment, the environment over the file. A file whose name ends with .toml is TOML; in it,
tables [service.NAME] describe several services, which share the process. Sizes are bytes, or written as 64KiB or 64Ki
(1024s), 64KB or 64k (1000s); durations as 500ms, 30s or 5m.`

// manSections returns the sections of the manual page after flags and commands.
func manSections() []clidoc.Section {
	return []clidoc.Section{
		{Title: "SIGNALS", Items: []clidoc.Item{
			{Word: "SIGTERM, SIGINT", Meaning: "Drain and end: accept no new senders, read what the others still send, and " +
				"wait until everything is confirmed. -drain-timeout bounds it, but not the wait at the end of standard input, " +
				"which only a signal ends. A second signal ends at once, unless it comes " +
				"within a second of the first: then it is a repetition."},
			{Word: "SIGHUP", Meaning: "Read the -config file again. If anything in it is wrong, nothing changes, and the log " +
				"says why; it also names settings that cannot change without a restart."},
		}},
		{Title: "EXIT STATUS", Items: []clidoc.Item{
			{Word: "0", Meaning: "Everything was confirmed, or in connection mode every connection has ended."},
			{Word: "1", Meaning: "It could not start, or not everything was confirmed; the last line of the log says how much."},
			{Word: "2", Meaning: "The configuration is wrong; nothing was opened. Every fault is printed."},
			{Word: "3", Meaning: "Commands only: the command could not start, or could not reach its peer."},
		}},
		{Title: "ENVIRONMENT", Items: []clidoc.Item{
			{Word: "LINESPLIT_*", Meaning: "Each flag, as described above."},
			{Word: "GOGC, GOMAXPROCS, GOMEMLIMIT", Meaning: "The Go runtime's; linesplit chooses well without them."},
		}},
		{Title: "FILES", Items: []clidoc.Item{
			{Word: "/etc/linesplit/linesplit.conf", Meaning: "The file that the packaged service reads: each line is a " +
				`key and its value, such as "max-line 1MiB"; a key alone means true, # begins a comment.`},
		}},
		{Title: "EXAMPLES", Lines: exampleLines()},
		{Title: "SEE ALSO", Text: "systemd.socket(5), socat(1), haproxy(1)"},
	}
}

// exampleLines returns the examples of -help without their heading.
func exampleLines() []string {
	return strings.Split(strings.TrimPrefix(strings.TrimRight(helpExamples, "\n"), "\nExamples:\n"), "\n")
}
