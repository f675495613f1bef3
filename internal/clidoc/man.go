package clidoc

import (
	"io"
	"strings"
)

// Man writes the manual page, for section 1, with the man macros that groff and mandoc
// understand.
func Man(w io.Writer, p Program) error {
	out := new(page)
	out.printf(".TH %s 1 \"\" %s \"User Commands\"\n", quote(strings.ToUpper(p.Name)),
		quote(strings.TrimSpace(p.Name+" "+p.Version)))
	out.printf(".nh\n") // no hyphenation: it would break the names of flags and variables
	out.printf(".SH NAME\n%s \\- %s\n", roff(p.Name), roff(p.Summary))
	out.synopsis(p)
	out.printf(".SH DESCRIPTION\n")
	out.paragraphs(p.Text)
	out.printf(".SH OPTIONS\n")
	out.flags(p.Flags)
	out.commands(p)
	for _, s := range p.Sections {
		out.section(s)
	}
	return out.writeTo(w)
}

func (p *page) synopsis(of Program) {
	p.printf(".SH SYNOPSIS\n.B %s\n[\\fIflags\\fR]\n", roff(of.Name))
	for _, c := range of.Commands {
		p.printf(".br\n.B %s %s\n", roff(of.Name), roff(c.Name))
		switch {
		case len(c.Words) > 0:
			p.printf("%s\n", roff(strings.Join(c.Words, " | ")))
		case c.Arg != "":
			p.printf("\\fI%s\\fR\n", roff(c.Arg))
		}
		if len(c.Flags) > 0 {
			p.printf("[\\fIflags\\fR]\n")
		}
	}
}

// commands describes each command. Their texts are preformatted and printed as they are.
func (p *page) commands(of Program) {
	if len(of.Commands) == 0 {
		return
	}
	p.printf(".SH COMMANDS\n")
	for _, c := range of.Commands {
		p.printf(".SS %s\n%s.\n", quote(of.Name+" "+c.Name), roff(c.Summary))
		if c.Text != "" {
			p.printf(".PP\n")
			p.verbatim(strings.Split(strings.Trim(c.Text, "\n"), "\n"))
		}
		p.flags(c.Flags)
	}
}

// flags prints each group of flags under its heading.
func (p *page) flags(flags []Flag) {
	group := ""
	for _, f := range flags {
		if f.Group != group {
			group = f.Group
			p.printf(".PP\n.B %s\n", roff(group))
		}
		p.printf(".TP\n\\fB\\-%s\\fR", roff(f.Name))
		if f.Arg != "" {
			p.printf(" \\fI%s\\fR", roff(f.Arg))
		}
		p.printf("\n%s\n", roff(f.Help))
		if f.Default != "" {
			p.printf("(default %s)\n", roff(f.Default))
		}
	}
}

func (p *page) section(s Section) {
	p.printf(".SH %s\n", quote(s.Title))
	p.paragraphs(s.Text)
	for _, item := range s.Items {
		p.printf(".TP\n\\fB%s\\fR\n%s\n", roff(item.Word), roff(item.Meaning))
	}
	p.verbatim(s.Lines)
}

func (p *page) paragraphs(text string) {
	if text == "" {
		return
	}
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.printf(".PP\n")
		}
		p.printf("%s\n", roff(strings.Join(strings.Fields(paragraph), " ")))
	}
}

func (p *page) verbatim(lines []string) {
	if len(lines) == 0 {
		return
	}
	p.printf(".nf\n")
	for _, line := range lines {
		p.printf("%s\n", roff(line))
	}
	p.printf(".fi\n")
}

// roff escapes one line of text so that it contains no request and no escape sequence, and so
// that its hyphens can be searched for.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`,
		"…", "...").Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// quote returns text as one argument of a roff request.
func quote(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
