package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"linesplit/internal/config"
	"linesplit/internal/flags"
)

// command is a first argument of the command line that has flags of its own. They come from the
// command line only: variables exported for linesplit itself have no effect on commands, except
// where the flag says so.
type command struct {
	name     string
	argument string   // shown after the name in lists; empty for none
	words    []string // first arguments that are not flags; nil: the command takes flags only
	summary  string   // one line for lists, without a full stop
	text     string   // beginning of the command's help: what it does, and its usage
	options  []flags.Option
	examples string // end of the command's help
	run      func(context.Context, invocation) int
}

// commands returns every command. Main, the list in -help, the manual page and the shell
// completions all follow this table.
func commands() []command {
	all := []command{
		demoCommand(),
		sendCommand(),
		sinkCommand(),
		proofCommand(),
		ctlCommand(),
		healthcheckCommand(),
		convertCommand(),
		spoolCommand(),
		completionCommand(),
		manCommand(),
		helpCommand(),
		versionCommand(),
	}
	for _, c := range all {
		i := slices.IndexFunc(all, func(c command) bool { return c.name == "help" })
		all[i].words = append(all[i].words, c.name)
	}
	return all
}

// findCommand returns the command of that name, or nil.
func findCommand(name string) *command {
	all := commands()
	if i := slices.IndexFunc(all, func(c command) bool { return c.name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// commandNames lists all commands for an error.
func commandNames() string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// suggestCommand returns ", did you mean …?" with a command of ctl or a flag that is called so, or
// else with the nearest command, or nothing where none is near.
func suggestCommand(word string) string {
	near := flags.Nearest(word, strings.Split(commandNames(), ", "))
	switch {
	case slices.Contains(ctlWords(), word):
		near = "linesplit ctl " + word
	case slices.ContainsFunc(config.Options(), func(o flags.Option) bool { return o.Name == word }):
		near = "-" + word
	case near == "":
		return ""
	}
	return ", did you mean " + near + "?"
}

// argumentHint names what the command takes in place of an argument.
func (c command) argumentHint() string {
	if len(c.options) == 0 {
		return fmt.Sprintf("linesplit %s takes no arguments", c.name)
	}
	example := strings.TrimSpace(c.options[0].Name + " " + c.options[0].Arg)
	return fmt.Sprintf("linesplit %s takes flags only, such as -%s", c.name, example)
}

// parse reads a command line without the command. The Set holds the values and all faults found so
// far; the caller reads the values, which may add faults, and then calls Set.Err. The error is
// flag.ErrHelp or nil.
func (c command) parse(args []string) (*flags.Set, error) {
	s := flags.New(append(slices.Clip(c.options), flags.Option{Name: "help"}))
	s.ArgumentHint = c.argumentHint()
	s.TakesArguments = c.words != nil
	return s, s.ParseArgs(args)
}
