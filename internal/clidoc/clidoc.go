// Package clidoc writes the manual page and the shell completions of a program. It makes them
// from the tables that define the flags, so that no flag can be forgotten.
package clidoc

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Program describes a program.
type Program struct {
	Name     string
	Version  string    // may be empty
	Summary  string    // one line, without a full stop
	Text     string    // paragraphs, with an empty line between them
	Flags    []Flag    // of the program without a command, in order of their groups
	Commands []Command // the first arguments that are commands, in the order in which they are shown
	Sections []Section // of the manual page, after flags and commands
}

// Command is a first argument that has flags of its own.
type Command struct {
	Name    string
	Summary string   // one line, without a full stop
	Text    string   // preformatted; may be empty
	Arg     string   // placeholder of its argument; empty if it takes none
	Words   []string // the values that its argument may take; nil if they cannot be listed
	Flags   []Flag
}

// Flag is one flag. Users may write it with one dash or two.
type Flag struct {
	Name    string   // without its dash
	Arg     string   // placeholder of its value; empty for a boolean, which needs no value
	Default string   // empty if there is none
	Group   string   // the heading that it is listed under; may be empty
	Help    string   // one or more sentences on one line
	Choices []string // the values to offer; nil if they cannot be listed
}

// takesFile reports whether the value of f is the name of a file.
func (f Flag) takesFile() bool { return f.Arg == "FILE" }

// takesFile reports whether the argument of c is the name of a file.
func (c Command) takesFile() bool { return c.Arg == "FILE" }

// Section is a part of the manual page. Its text, in paragraphs, comes first, then its items,
// then its lines.
type Section struct {
	Title string // in capitals
	Text  string // may be empty
	Items []Item
	Lines []string // printed as they are, such as examples
}

// Item is a word and its meaning.
type Item struct{ Word, Meaning string }

// page collects output in memory, so that only writeTo can fail.
type page struct{ bytes.Buffer }

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.Buffer, format, args...) }

func (p *page) writeTo(w io.Writer) error {
	_, err := p.WriteTo(w)
	return err
}

// briefWidth is about how many bytes of text a menu of completions has room for.
const briefWidth = 72

// brief shortens a help text for a menu, at the end of a word.
func brief(help string) string {
	if len(help) <= briefWidth {
		return help
	}
	cut := strings.LastIndexByte(help[:briefWidth], ' ')
	return strings.TrimRight(help[:cut], " ,;:.(") + " …"
}

// shellName returns name in the form that it has in the names of shell functions.
func shellName(name string) string { return strings.ReplaceAll(name, "-", "_") }
