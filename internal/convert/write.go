package convert

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"linesplit/internal/config"
)

// Limits of the text in a comment, in characters.
const (
	maxQuoted  = 160 // of a quoted line
	maxComment = 300 // of an explanation
)

// write prints the document as TOML.
func (d *document) write() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by linesplit convert from the %s configuration %s.\n", originNames[d.origin], clean(d.source, maxQuoted))
	switch n := len(d.missed); n {
	case 0:
		b.WriteString("# Every line has a counterpart.\n")
	case 1:
		b.WriteString(`# One line has no counterpart; it is named below, at "no counterpart".` + "\n")
	default:
		fmt.Fprintf(&b, "# %d lines have no counterpart; they are named below, at \"no counterpart\".\n", n)
	}
	if len(d.head.settings)+len(d.head.missing) > 0 {
		b.WriteString("\n")
	}
	d.head.write(&b)
	for _, s := range d.services {
		b.WriteString("\n")
		if s.comment != "" {
			fmt.Fprintf(&b, "# %s\n", clean(s.comment, maxComment))
		}
		fmt.Fprintf(&b, "[service.%s]\n", s.name)
		s.write(&b)
	}
	return b.Bytes()
}

// write prints the settings, in the order of -help, and then the lines that have no counterpart.
func (s *section) write(b *bytes.Buffer) {
	order := map[string]int{}
	for i, o := range config.Options() {
		order[o.Name] = i
	}
	slices.SortStableFunc(s.settings, func(a, b setting) int { return order[a.key] - order[b.key] })
	for _, have := range s.settings {
		b.WriteString(render(have))
	}
	slices.SortFunc(s.missing, func(a, b *missing) int { return a.line - b.line })
	for _, m := range s.missing {
		b.WriteString("# no counterpart: " + m.String() + "\n")
	}
}

// String returns the line's number, the texts without a counterpart, and the reasons.
func (m *missing) String() string {
	text := "line " + strconv.Itoa(m.line) + ": " + clean(strings.Join(m.texts, ", "), maxQuoted)
	if len(m.whys) > 0 {
		text += " (" + clean(strings.Join(m.whys, "; "), maxComment) + ")"
	}
	return text
}

// render returns the line of a setting, or the lines of a list. It writes a list of one entry as a
// string.
func render(have setting) string {
	items, isList := have.value.([]item)
	if isList && len(items) == 1 {
		have.value, have.comment = items[0].text, items[0].comment
		isList = false
	}
	if !isList {
		return have.key + " = " + literal(have.value) + comment(have.comment) + "\n"
	}
	width := 0
	for _, it := range items {
		width = max(width, utf8.RuneCountInString(literal(it.text)))
	}
	var b strings.Builder
	b.WriteString(have.key + " = [" + comment(have.comment) + "\n")
	for _, it := range items {
		line := "  " + literal(it.text) + ","
		if it.comment != "" {
			line += strings.Repeat(" ", min(40, width-utf8.RuneCountInString(literal(it.text)))) + comment(it.comment)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("]\n")
	return b.String()
}

// comment returns text as a comment at the end of a line, or nothing for an empty text.
func comment(text string) string {
	if text == "" {
		return ""
	}
	return " # " + clean(text, maxQuoted)
}

// literal returns a TOML value.
func literal(value any) string {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case string:
		return quoted(v)
	}
	panic(fmt.Sprintf("no TOML value for %T", value))
}

// quoted returns a TOML string: in single quotes if that saves escapes, else in double ones.
func quoted(text string) string {
	if strings.ContainsAny(text, `\"`) && !strings.ContainsRune(text, '\'') && !strings.ContainsFunc(text, isControl) {
		return "'" + text + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case isControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default: // invalid UTF-8 arrives here as U+FFFD
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError }

// clean returns text for a comment: one line of at most limit characters, all of them printable.
func clean(text string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n == limit {
			b.WriteString("…")
			break
		}
		if n++; strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteByte(' ')
		}
	}
	return strings.TrimSpace(b.String())
}

// durationText returns a duration as linesplit's flags take it, such as 1m30s or 2h.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Bounds of durations that linesplit's flags take.
const (
	minDuration = time.Millisecond
	maxDuration = 365 * 24 * time.Hour
)

// within returns the nearest duration that linesplit's flags take.
func within(d time.Duration) time.Duration {
	return min(max(d, minDuration), maxDuration)
}
