package clidoc

import (
	"io"
	"strings"
)

// Zsh writes a completion script for zsh, to be installed as _NAME in $fpath.
func Zsh(w io.Writer, p Program) error {
	out := new(page)
	name := shellName(p.Name)
	out.printf("#compdef %s\n# Completion of %s for zsh.\n_%s() {\n", p.Name, p.Name, name)
	out.printf("    local -a commands=(\n")
	for _, c := range p.Commands {
		out.printf("        %s\n", shellQuote(c.Name+":"+brief(c.Summary)))
	}
	out.printf("    )\n    if ((CURRENT == 2)) && [[ $PREFIX != -* ]]; then\n" +
		"        _describe command commands\n        return\n    fi\n")
	out.printf("    case $words[2] in\n")
	for _, c := range p.Commands {
		out.printf("    %s)\n        shift words\n        ((CURRENT--))\n", c.Name)
		out.zshFlags(c.Flags, c.argument())
		out.printf("        ;;\n")
	}
	out.printf("    *)\n")
	out.zshFlags(p.Flags, "")
	out.printf("        ;;\n    esac\n}\n")
	// A sourced script registers itself. One that zsh loads from $fpath is called for a
	// completion at once.
	out.printf("if [[ $funcstack[1] == _%s ]]; then\n    _%s \"$@\"\nelse\n    compdef _%s %s\nfi\n",
		name, name, name, p.Name)
	return out.writeTo(w)
}

// argument returns how _arguments completes the argument of c; empty if it takes none.
func (c Command) argument() string {
	switch {
	case c.takesFile():
		return "1:" + zshEscape(c.Arg) + ":_files"
	case len(c.Words) > 0:
		return "1: :(" + strings.Join(c.Words, " ") + ")"
	}
	return ""
}

func (p *page) zshFlags(flags []Flag, argument string) {
	if len(flags) == 0 && argument == "" {
		p.printf("        _message 'no more arguments'\n")
		return
	}
	p.printf("        _arguments")
	for _, f := range flags {
		p.printf(" \\\n            %s", shellQuote(zshSpec(f)))
	}
	if argument != "" {
		p.printf(" \\\n            %s", shellQuote(argument))
	}
	p.printf("\n")
}

// zshSpec returns the argument of _arguments for one flag. Each flag may be repeated: some flags
// add up, and of the others the last one wins.
func zshSpec(f Flag) string {
	help := "[" + zshEscape(brief(f.Help)) + "]"
	switch {
	case f.Arg == "":
		return "*-" + f.Name + help
	case len(f.Choices) > 0:
		return "*-" + f.Name + "=" + help + ":" + zshEscape(f.Arg) + ":(" + strings.Join(f.Choices, " ") + ")"
	case f.takesFile():
		return "*-" + f.Name + "=" + help + ":" + zshEscape(f.Arg) + ":_files"
	}
	return "*-" + f.Name + "=" + help + ":" + zshEscape(f.Arg) + ": "
}

func zshEscape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}
