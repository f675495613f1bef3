package clidoc

import (
	"io"
	"strings"
)

// Fish writes a completion script for fish.
func Fish(w io.Writer, p Program) error {
	out := new(page)
	out.printf("# Completion of %s for fish.\ncomplete -c %s -f\n", p.Name, p.Name)
	// Only the first word can be a command.
	out.printf("function __%s_runs\n    set -l words (commandline -opc)\n"+
		"    test (count $words) -gt 1; and contains -- $words[2] $argv\nend\n", shellName(p.Name))
	runs := "__" + shellName(p.Name) + "_runs "
	for _, c := range p.Commands {
		out.printf("complete -c %s -n 'test (count (commandline -opc)) -eq 1' -a %s -d %s\n", p.Name, c.Name,
			fishQuote(brief(c.Summary)))
	}
	out.fishFlags(p.Name, "not "+runs+strings.Join(commandNames(p), " "), p.Flags)
	for _, c := range p.Commands {
		out.fishFlags(p.Name, runs+c.Name, c.Flags)
		if c.takesFile() {
			out.printf("complete -c %s -n %s -F\n", p.Name, fishQuote(runs+c.Name))
		}
		if len(c.Words) > 0 {
			out.printf("complete -c %s -n %s -a %s\n", p.Name, fishQuote(runs+c.Name),
				fishQuote(strings.Join(c.Words, " ")))
		}
	}
	return out.writeTo(w)
}

func (p *page) fishFlags(program, condition string, flags []Flag) {
	for _, f := range flags {
		value := ""
		switch {
		case f.Arg == "":
		case len(f.Choices) > 0:
			value = " -x -a " + fishQuote(strings.Join(f.Choices, " "))
		case f.takesFile():
			value = " -r -F"
		default:
			value = " -x"
		}
		p.printf("complete -c %s -n %s -o %s%s -d %s\n", program, fishQuote(condition), f.Name, value,
			fishQuote(brief(f.Help)))
	}
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
