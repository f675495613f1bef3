// Package console prints what a command is doing: timestamped messages, and below them one line
// of progress. On a terminal the progress line is overwritten; elsewhere it is printed from time
// to time.
package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Time between two progress lines: on a terminal, where the line is overwritten, and elsewhere,
// where each is a line of its own.
const (
	LiveInterval  = 200 * time.Millisecond
	plainInterval = 2 * time.Second
)

// Console writes messages with a progress line below them. It belongs to one goroutine.
type Console struct {
	w     io.Writer
	live  bool      // overwrites the progress line, as on a terminal
	start time.Time // when the console was made
	shown time.Time // time of the last progress line
}

// New returns a console that writes to w. Its clock starts now.
func New(w io.Writer) *Console {
	return &Console{w: w, live: IsTerminal(w), start: time.Now(), shown: time.Now()}
}

// NewLive returns a console that treats w as a terminal, whatever it is.
func NewLive(w io.Writer) *Console {
	c := New(w)
	c.live = true
	return c
}

// IsTerminal reports whether w is a character device, which is taken for a terminal: the other
// character devices discard what they are given.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Live reports whether the console writes to a terminal.
func (c *Console) Live() bool { return c.live }

// Print writes text unchanged.
func (c *Console) Print(text string) {
	c.Clear()
	io.WriteString(c.w, text)
}

// Say prints a message with the time since the start.
func (c *Console) Say(format string, args ...any) {
	c.Print(c.clock() + "  " + fmt.Sprintf(format, args...) + "\n")
}

// Due reports whether it is time for the next progress line.
func (c *Console) Due() bool {
	interval := plainInterval
	if c.live {
		interval = LiveInterval
	}
	return time.Since(c.shown) >= interval-LiveInterval/4
}

// Progress shows text until the next call of Progress, Say or Print.
func (c *Console) Progress(text string) {
	c.shown = time.Now()
	c.Print(c.clock() + "  " + text)
	if !c.live {
		io.WriteString(c.w, "\n")
	}
}

// Clear removes the progress line. \x1b[K clears the line from the cursor on.
func (c *Console) Clear() {
	if c.live {
		io.WriteString(c.w, "\r\x1b[K")
	}
}

// Bar draws part, from 0 to 1, as a bar of width characters.
func Bar(part float64, width int) string {
	filled := int(min(max(part, 0), 1)*float64(width) + 0.5)
	return strings.Repeat("█", filled) + strings.Repeat("░", width-filled)
}

func (c *Console) clock() string {
	return fmt.Sprintf("%6.1fs", time.Since(c.start).Seconds())
}
