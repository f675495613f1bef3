package service

import (
	"bytes"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client of the API, or a script with SIGHUP, that reloaded in a loop filled the log: each reload
// made a line.
func TestReloadsInALoopMakeFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, next := withFakeMode(t, "-target", "10.0.0.1:1")
		var log bytes.Buffer
		s.process.logger.Logger = slog.New(slog.NewTextHandler(&log, nil))
		const reloads = 100
		for i := range reloads {
			*next = []string{"-target", "10.0.0.1:1", "-stall-timeout", strconv.Itoa(30+i/30) + "s"}
			switch i {
			case 50:
				*next = append(*next, "-deny", "10.0.0.0/8")
			case 70:
				*next = append(*next, "-memory", "64MiB")
			}
			if _, _, err := s.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != reloadBurst+1 {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), reloadBurst+1, log.String())
		}
		last := lines[reloadBurst]
		count := regexp.MustCompile(`level=INFO .*changed="(stall-timeout, deny|deny, stall-timeout)" need_restart="" count=68$`)
		if !count.MatchString(last) {
			t.Errorf("the last line is %s", last)
		}
	})
}
