package simulate

import (
	"fmt"
	"io"
	"os"
	"time"
)

// How often progress shows: a line that is overwritten on a terminal, lines of their own elsewhere.
const (
	liveInterval  = 200 * time.Millisecond
	plainInterval = 2 * time.Second
)

// console writes a story with a progress line below it. It belongs to one goroutine.
type console struct {
	w     io.Writer
	live  bool      // w is a terminal
	start time.Time // of the story
	shown time.Time // when progress showed last
}

func newConsole(w io.Writer) *console {
	now := time.Now()
	return &console{w: w, live: isTerminal(w), start: now, shown: now}
}

// isTerminal takes any character device for a terminal: nobody reads what goes to the others.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// print writes text as it is.
func (c *console) print(text string) {
	c.clear()
	io.WriteString(c.w, text)
}

// say tells what happens now.
func (c *console) say(format string, args ...any) {
	c.print(c.clock() + "  " + fmt.Sprintf(format, args...) + "\n")
}

// due says whether progress would show again.
func (c *console) due() bool {
	interval := plainInterval
	if c.live {
		interval = liveInterval
	}
	return time.Since(c.shown) >= interval-liveInterval/4
}

// progress shows text, until the next progress or the next word.
func (c *console) progress(text string) {
	c.shown = time.Now()
	c.print(c.clock() + "  " + text)
	if !c.live {
		io.WriteString(c.w, "\n")
	}
}

// clear takes the progress line away. \x1b[K empties the line from the cursor on.
func (c *console) clear() {
	if c.live {
		io.WriteString(c.w, "\r\x1b[K")
	}
}

func (c *console) clock() string {
	return fmt.Sprintf("%6.1fs", time.Since(c.start).Seconds())
}
