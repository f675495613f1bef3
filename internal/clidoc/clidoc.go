// Package clidoc writes the manual page and the shell completions of a program from the tables that its flags come
// from, so that none of them can be forgotten there.
package clidoc

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Program is what there is to say about a program.
type Program struct {
	Name     string
	Version  string    // may be empty
	Summary  string    // what it is, without a full stop
	Text     string    // what it does, in paragraphs with an empty line between them
	Flags    []Flag    // of the program without a command; those of a group stand together
	Commands []Command // what may stand in the first place, in the order in which they are shown
	Sections []Section // of the manual page, behind flags and commands
}

// Command is a first argument with flags of its own.
type Command struct {
	Name    string
	Summary string   // what it does, without a full stop
	Text    string   // as it is to be printed, line by line; may be empty
	Words   []string // one of which is its argument, where it takes one
	Flags   []Flag
}

// Flag is one flag. It may be written with one dash or two.
type Flag struct {
	Name    string   // without a dash
	Arg     string   // what stands for its value; empty for a boolean, which may stand without one
	Default string   // empty where there is none
	Group   string   // the heading it stands under; may be empty
	Help    string   // a sentence or more on one line
	Choices []string // the values to offer; none where they cannot be told
}

// takesFile reports whether its value is the name of a file.
func (f Flag) takesFile() bool { return f.Arg == "FILE" }

// Section is a part of the manual page: first the text, in paragraphs, then the items.
type Section struct {
	Title string // in capitals
	Text  string // may be empty
	Items []Item
	Lines []string // printed as they are; examples
}

// Item is a word with what it means.
type Item struct{ Word, Meaning string }

// page gathers text, so that writing it can fail in one place only.
type page struct{ bytes.Buffer }

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.Buffer, format, args...) }

func (p *page) writeTo(w io.Writer) error {
	_, err := p.WriteTo(w)
	return err
}

// briefWidth is about what a menu of completions has room for, in bytes.
const briefWidth = 72

// brief shortens a help text for a menu, between two words.
func brief(help string) string {
	if len(help) <= briefWidth {
		return help
	}
	cut := strings.LastIndexByte(help[:briefWidth], ' ')
	return strings.TrimRight(help[:cut], " ,;:.(") + " …"
}

// shellName is a program's name as part of the name of a shell function.
func shellName(name string) string { return strings.ReplaceAll(name, "-", "_") }
