package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"linesplit/internal/clidoc"
	"linesplit/internal/ctl"
)

// manTool is the command that prints the manual page, made from the tables that the flags come from.
func manTool(_ context.Context, args []string, stdout, stderr io.Writer) int {
	return printReference(manCommand(), args, clidoc.Man, stdout, stderr)
}

func manCommand() tool {
	return tool{name: "man", head: `linesplit man prints its manual page.

Usage:
  linesplit man | man -l -
`}
}

// completionTool is the command that prints what a shell needs to complete linesplit's flags and commands.
func completionTool(_ context.Context, args []string, stdout, stderr io.Writer) int {
	var write func(io.Writer, clidoc.Program) error
	if len(args) > 0 {
		if write = shells()[args[0]]; write != nil {
			args = args[1:]
		}
	}
	if write == nil && (len(args) == 0 || !strings.HasPrefix(args[0], "-")) {
		fmt.Fprintf(stderr, "linesplit completion: which shell? Write linesplit completion %s\n", strings.Join(shellNames(), ", or "))
		return exitUsage
	}
	return printReference(completionCommand(), args, write, stdout, stderr)
}

func completionCommand() tool {
	return tool{name: "completion", head: `linesplit completion prints what a shell needs to complete linesplit's flags and commands.

Usage:
  source <(linesplit completion bash)
  linesplit completion zsh > "${fpath[1]}/_linesplit"
  linesplit completion fish > ~/.config/fish/completions/linesplit.fish
`}
}

// shells are what writes the completions for each of them.
func shells() map[string]func(io.Writer, clidoc.Program) error {
	return map[string]func(io.Writer, clidoc.Program) error{"bash": clidoc.Bash, "zsh": clidoc.Zsh, "fish": clidoc.Fish}
}

func shellNames() []string { return []string{"bash", "zsh", "fish"} }

// printReference is a command without flags that prints something made from the tables, and returns the exit code.
func printReference(t tool, args []string, write func(io.Writer, clidoc.Program) error, stdout, stderr io.Writer) int {
	s, err := t.read(args)
	if err == nil {
		err = s.fault()
	}
	if err != nil {
		return t.explain(err, stdout, stderr)
	}
	if err := write(stdout, program()); err != nil {
		fmt.Fprintf(stderr, "linesplit %s: %v\n", t.name, err)
		return exitFailed
	}
	return exitOK
}

// program is everything there is to say about linesplit's command line.
func program() clidoc.Program {
	return clidoc.Program{
		Name:     "linesplit",
		Version:  buildVersion(),
		Summary:  "lossless load balancer for line streams",
		Text:     manText,
		Flags:    referenceFlags(options()),
		Commands: commands(),
		Sections: manSections(),
	}
}

// commands are all that dispatch knows, but for linesplit itself.
func commands() []clidoc.Command {
	completion := toolReference(completionCommand(), "Print completions for a shell")
	completion.Words = shellNames()
	ctlReference := toolReference(ctlCommand(), "Show and change a running linesplit, by its admin listener")
	for line := range strings.Lines(ctl.Usage()) {
		ctlReference.Words = append(ctlReference.Words, strings.Fields(line)[0])
	}
	return []clidoc.Command{
		toolReference(demoCommand(), "See it at work for 15 seconds; needs nothing else"),
		toolReference(sendCommand(), "Play the clients of a proxy, and say what they sent"),
		toolReference(sinkCommand(), "Play the receivers behind a proxy, and account for what came"),
		toolReference(proofCommand(), "Stage faults against linesplit, or any proxy, and count what is lost"),
		ctlReference,
		{Name: "healthcheck", Summary: "Ask a running linesplit whether it is alive", Text: healthUsage, Flags: healthFlags()},
		completion,
		toolReference(manCommand(), "Print this manual page"),
	}
}

// toolReference is what a tool's own tables say.
func toolReference(t tool, summary string) clidoc.Command {
	return clidoc.Command{Name: t.name, Summary: summary, Text: t.head + t.examples, Flags: referenceFlags(t.options)}
}

// healthFlags are those of linesplit healthcheck, which has no table.
func healthFlags() []clidoc.Flag {
	return []clidoc.Flag{
		{Name: "admin", Arg: "ADDRESS", Group: groupOther, Help: "where to ask: what the linesplit in question has as its -admin"},
		{Name: "config", Arg: "FILE", Group: groupOther, Help: "the file that names it, if that is where it stands"},
	}
}

func referenceFlags(table []option) []clidoc.Flag {
	choices := choices()
	var flags []clidoc.Flag
	for _, o := range table {
		f := clidoc.Flag{Name: o.name, Arg: o.arg, Default: o.value, Group: o.group, Help: o.help}
		if o.arg != "" {
			f.Choices = choices[o.name]
		}
		flags = append(flags, f)
	}
	return flags
}

// choices are the values of flags that have few.
func choices() map[string][]string {
	return map[string][]string{
		"mode":            {"line", "connection"},
		"oversize":        {"drop", "truncate", "close"},
		"balance":         {"round-robin", "least-connections", "random", "source-hash", "least-bandwidth"},
		"on-target-down":  {"keep", "reset"},
		"health":          {"tcp", "tls", "http", "send-expect", "redis", "mysql", "exec"},
		"tls-min-version": {"1.2", "1.3"},
		"access-log":      {"text", "json", "off"},
		"log-level":       {"debug", "info", "warn", "error"},
		"log-format":      {"text", "json"},
	}
}

const manText = `linesplit takes newline-delimited records from any number of senders and spreads them, line by line, over many
targets. What a target has not read when it fails is sent again elsewhere. With -mode connection it forwards whole connections and datagrams
instead.

Every flag is also an environment variable (-max-line is LINESPLIT_MAX_LINE; an empty one counts as unset) and a key of the file that -config
names. Flags win over the environment, the environment over the file. Sizes are bytes, or written as 16KiB (1024s) or 64KB (1000s);
durations as 500ms, 30s or 5m.`

// manSections are what the manual page says beside flags and commands.
func manSections() []clidoc.Section {
	return []clidoc.Section{
		{Title: "SIGNALS", Items: []clidoc.Item{
			{Word: "SIGTERM, SIGINT", Meaning: "Drain and end: no new senders, what they still send is read, everything is confirmed. -drain-timeout bounds it; a second signal ends at once."},
			{Word: "SIGHUP", Meaning: "Read the -config file again. If it is wrong as a whole or in part nothing changes, and the log says why; what cannot change without a restart is named there too."},
		}},
		{Title: "EXIT STATUS", Items: []clidoc.Item{
			{Word: "0", Meaning: "Everything was confirmed, or in connection mode every connection has ended."},
			{Word: "1", Meaning: "It could not start, or not everything was confirmed; the last line of the log says how much."},
			{Word: "2", Meaning: "The configuration is wrong; nothing was opened. All that is wrong is printed."},
			{Word: "3", Meaning: "Commands that measure or serve: it could not be started or reached."},
		}},
		{Title: "ENVIRONMENT", Items: []clidoc.Item{
			{Word: "LINESPLIT_*", Meaning: "Each flag, as said above."},
			{Word: "GOGC, GOMAXPROCS, GOMEMLIMIT", Meaning: "The Go runtime's; linesplit chooses well without them."},
		}},
		{Title: "FILES", Items: []clidoc.Item{
			{Word: "/etc/linesplit/linesplit.conf", Meaning: `What the packaged service reads: lines of a key and its value, such as "max-line 1MiB"; a key alone means true, # begins a comment.`},
		}},
		{Title: "EXAMPLES", Lines: strings.Split(strings.TrimPrefix(strings.TrimRight(helpExamples, "\n"), "\nExamples:\n"), "\n")},
		{Title: "SEE ALSO", Text: "systemd.socket(5), socat(1), haproxy(1)"},
	}
}
