package clidoc

import (
	"io"
	"strings"
)

// Bash writes a completion script for bash 4 and later.
func Bash(w io.Writer, p Program) error {
	out := new(page)
	name := shellName(p.Name)
	out.printf("# Completion of %s for bash.\n_%s() {\n", p.Name, name)
	out.printf(`    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= flags=
    COMPREPLY=()
    # readline splits -flag=value into three words
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    # a flag may have one dash or two
    cur=${cur/#--/-} prev=${prev/#--/-}
    ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]}
    case $command in
`)
	for _, c := range p.Commands {
		out.printf("    %s)\n", c.Name)
		out.bashFlags(c.Flags)
		out.bashWords(c.Words, 2)
		if c.takesFile() {
			out.printf("        if [[ $cur != -?* ]]; then\n            compopt -o filenames 2>/dev/null\n" +
				"            mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n        fi\n")
		}
		out.printf("        ;;\n")
	}
	out.printf("    *)\n")
	out.bashFlags(p.Flags)
	out.bashWords(commandNames(p), 1)
	out.printf("        ;;\n    esac\n    if [[ $cur == -* ]]; then\n" +
		"        COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n    fi\n}\n")
	out.printf("complete -F _%s %s\n", name, p.Name)
	return out.writeTo(w)
}

// bashFlags completes the value of the flag before the cursor, or else sets $flags to the flags
// that may follow.
func (p *page) bashFlags(flags []Flag) {
	if len(flags) == 0 {
		return
	}
	var names, files, free []string
	p.printf("        case $prev in\n")
	for _, f := range flags {
		names = append(names, "-"+f.Name)
		switch {
		case f.Arg == "":
		case len(f.Choices) > 0:
			p.printf("        -%s)\n            COMPREPLY=($(compgen -W %s -- \"$cur\"))\n"+
				"            return\n            ;;\n", f.Name, shellQuote(strings.Join(f.Choices, " ")))
		case f.takesFile():
			files = append(files, "-"+f.Name)
		default:
			free = append(free, "-"+f.Name)
		}
	}
	if len(files) > 0 {
		p.printf("        %s)\n            compopt -o filenames 2>/dev/null\n"+
			"            mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n            return\n            ;;\n", strings.Join(files, " | "))
	}
	if len(free) > 0 {
		p.printf("        %s) return ;; # takes any value\n", strings.Join(free, " | "))
	}
	p.printf("        *) ;;\n        esac\n        flags=%s\n", shellQuote(strings.Join(names, " ")))
}

// bashWords offers words as argument number place.
func (p *page) bashWords(words []string, place int) {
	if len(words) == 0 {
		return
	}
	p.printf("        ((COMP_CWORD == %d)) && COMPREPLY=($(compgen -W %s -- \"$cur\"))\n", place,
		shellQuote(strings.Join(words, " ")))
}

func commandNames(p Program) []string {
	var names []string
	for _, c := range p.Commands {
		names = append(names, c.Name)
	}
	return names
}

func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
