// Package console tells people what a command is doing: a story, line by line, and below it one line of progress. On a terminal that line is
// overwritten; elsewhere it is printed now and then.
package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// How often progress shows: a line that is overwritten on a terminal, lines of their own elsewhere.
const (
	LiveInterval  = 200 * time.Millisecond
	plainInterval = 2 * time.Second
)

// Console writes a story with a progress line below it. It belongs to one goroutine.
type Console struct {
	w     io.Writer
	live  bool      // w is a terminal
	start time.Time // of the story
	shown time.Time // when progress showed last
}

// New returns a console on w, whose clock begins now.
func New(w io.Writer) *Console {
	return &Console{w: w, live: IsTerminal(w), start: time.Now(), shown: time.Now()}
}

// NewLive returns a console that takes w for a terminal, whatever it is.
func NewLive(w io.Writer) *Console {
	c := New(w)
	c.live = true
	return c
}

// IsTerminal takes any character device for a terminal: nobody reads what goes to the others.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Live says whether the console writes to a terminal.
func (c *Console) Live() bool { return c.live }

// Print writes text as it is.
func (c *Console) Print(text string) {
	c.Clear()
	io.WriteString(c.w, text)
}

// Say tells what happens now.
func (c *Console) Say(format string, args ...any) {
	c.Print(c.clock() + "  " + fmt.Sprintf(format, args...) + "\n")
}

// Due says whether progress would show again.
func (c *Console) Due() bool {
	interval := plainInterval
	if c.live {
		interval = LiveInterval
	}
	return time.Since(c.shown) >= interval-LiveInterval/4
}

// Progress shows text, until the next progress or the next word.
func (c *Console) Progress(text string) {
	c.shown = time.Now()
	c.Print(c.clock() + "  " + text)
	if !c.live {
		io.WriteString(c.w, "\n")
	}
}

// Clear takes the progress line away. \x1b[K empties the line from the cursor on.
func (c *Console) Clear() {
	if c.live {
		io.WriteString(c.w, "\r\x1b[K")
	}
}

// Bar shows a part of a whole, 0 to 1, in width characters.
func Bar(part float64, width int) string {
	filled := int(min(max(part, 0), 1)*float64(width) + 0.5)
	return strings.Repeat("█", filled) + strings.Repeat("░", width-filled)
}

func (c *Console) clock() string {
	return fmt.Sprintf("%6.1fs", time.Since(c.start).Seconds())
}
