// Package flags reads a program's settings from its command line, the environment and a file,
// collects all faults in them, and prints help. It knows nothing of the program, which passes its
// options as a table.
//
// A program makes a [Set] of the table, calls ParseArgs and ParseEnvAndFile, reads each option by a
// method such as Number, and asks Err for all faults at the end.
package flags

import (
	"fmt"
	"io"
	"strings"
)

// Option describes one flag.
type Option struct {
	Name    string   // without the dash; EnvName derives the environment variable from it
	Arg     string   // stands for the value in help; empty for a boolean, which needs no value
	Default string   // as a user would write it; empty for none
	Group   string   // heading in help; options of one group stand together
	Scope   string   // the mode that the flag is valid in, for the caller to enforce; empty for every mode
	Help    string   // one or more sentences without the last full stop
	Choices []string // the values that the flag takes, if there are few; for shell completion
	Many    bool     // repeatable; any other flag has its last value, and a file may set it only once

	CommandLine bool // the environment and the file cannot set the option
	Shared      bool // the tables of a file cannot set the option
}

// Text returns Help, followed by Scope unless the group's heading names that mode.
func (o Option) Text() string {
	if o.Scope == "" || strings.Contains(o.Group, o.Scope+" mode") {
		return o.Help
	}
	return o.Help + " (" + o.Scope + " mode only)"
}

func (o Option) isBool() bool { return o.Arg == "" }

// EnvName returns the name of the environment variable for a flag: EnvName("APP", "max-line") is
// "APP_MAX_LINE".
func EnvName(prefix, flag string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Columns of help.
const (
	helpIndent = 33 // at which the text of a flag begins
	helpWidth  = 98 // at which every line ends
)

// PrintOptions writes help for the options, each group under its heading. It ignores write errors.
func PrintOptions(w io.Writer, options []Option) {
	group := ""
	for _, o := range options {
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(w, "\n%s:\n", group)
		}
		printOption(w, o)
	}
}

func printOption(w io.Writer, o Option) {
	words := strings.Fields(o.Text())
	if o.Default != "" {
		words = append(words, "(default "+o.Default+")") // one word, so that it stays on one line
	}
	left := strings.TrimRight("  -"+o.Name+" "+o.Arg, " ")
	for _, line := range wrap(words, helpWidth-helpIndent) {
		fmt.Fprintf(w, "%-*s%s\n", helpIndent, left, line)
		left = ""
	}
}

// wrap joins words into lines of at most width bytes. A longer word gets a line of its own.
func wrap(words []string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
