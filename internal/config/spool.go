package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/flags"
)

// Spool says where and how a service in line mode keeps lines on disk.
type Spool struct {
	Dir        string        // of this service alone; empty: there is no spool
	Size       int64         // limit of all segment files, in bytes
	Always     bool          // lines are written to the files before a target gets them
	Sync       time.Duration // longest time from a write to its sync; 0: at once
	DropOldest bool          // drops the oldest lines, in place of waiting, when Size is used up
}

// minSpool is the lowest -spool-size, in bytes: eight segments of 2 MiB, each of which holds the
// longest line of the default -max-line.
const minSpool = 16 * humanize.MiByte

// spoolOf reads -spool and the settings -spool-….
func spoolOf(s *flags.Set) Spool {
	p := Spool{
		Dir:        s.Text("spool"),
		Size:       s.Size("spool-size", minSpool, 16*humanize.TiByte),
		Always:     flags.Parsed(s, "spool-mode", parseSpoolMode),
		Sync:       flags.Parsed(s, "spool-sync", parseSpoolSync),
		DropOldest: flags.Parsed(s, "spool-full", parseSpoolFull),
	}
	if p.Dir == "" {
		for _, name := range []string{"spool-mode", "spool-size", "spool-full", "spool-sync"} {
			unused(s, name, "only valid with -spool")
		}
		return Spool{}
	}
	if s.Name() != "" {
		p.Dir = filepath.Join(p.Dir, s.Name())
	}
	return p
}

func parseSpoolMode(text string) (always bool, err error) {
	switch text {
	case "overflow":
		return false, nil
	case "always":
		return true, nil
	}
	return false, errors.New("write overflow or always")
}

func parseSpoolFull(text string) (dropOldest bool, err error) {
	switch text {
	case "wait":
		return false, nil
	case "drop-oldest":
		return true, nil
	}
	return false, errors.New("write wait or drop-oldest")
}

func parseSpoolSync(text string) (time.Duration, error) {
	if text == "write" {
		return 0, nil
	}
	const least, most = time.Millisecond, time.Minute
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("write a duration from %v to %v such as 200ms, or write to sync at once", least, most)
	}
	return d, nil
}

// checkSpool judges the settings that must agree with a spool.
func checkSpool(s *flags.Set, c Config) {
	if c.Spool.Dir == "" {
		return
	}
	if s.OK("max-line", "spool-size") && int64(c.Lines.MaxLine) > c.Spool.Size/16 {
		s.Fail("spool-size", fmt.Errorf("must be at least 16 times -max-line, which is %s", s.Text("max-line")))
	}
	if info, err := os.Stat(c.Spool.Dir); err == nil && !info.IsDir() {
		s.Fail("spool", errors.New("must be a directory, and is a file"))
	}
	if c.ReusePort {
		s.Fail("spool", errors.New("not valid with -reuse-port, since two processes cannot use one spool: "+
			"restart under socket activation instead (-listen systemd:)"))
	}
	if c.Keys.Rule == nil {
		return
	}
	for _, g := range c.Groups {
		if !g.Required {
			failGroup(s, g.Name, "required", errors.New("with -key and -spool every group is required: lines that it "+
				"cannot take wait in the spool"))
		}
	}
}
