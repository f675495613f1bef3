package simulate

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"linesplit/internal/simulate/console"
	"linesplit/linebuf"
)

// short is a demonstration that takes every step in little time.
var short = DemoOptions{Duration: 600 * time.Millisecond, Rate: 10_000, Stall: 10 * time.Millisecond}

func TestDemo(t *testing.T) {
	for _, tt := range []struct {
		name string
		pipe *fakePipeline
		want string // pattern of the error; "" for no error
	}{
		{name: "lossless", pipe: &fakePipeline{}},
		{name: "loses", pipe: &fakePipeline{loseEvery: 100},
			want: `^not every line arrived as it was sent: [1-9]\d* of \d+ lines lost$`},
		{name: "tears", pipe: &fakePipeline{tearEvery: 100}, want: `[1-9]\d* of \d+ lines lost; [1-9]\d* torn`},
		{name: "miscounts", pipe: &fakePipeline{misreport: 3},
			want: `: \d+ lines \(\d+ bytes\) sent, but \d+ \(\d+\) received`},
		{name: "does not start", pipe: &fakePipeline{fail: errFake},
			want: `the pipeline ended before it was ready\nport 9000 is taken`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := Demo(t.Context(), &out, tt.pipe.run, short)
			if tt.want == "" && err != nil ||
				tt.want != "" && (err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error())) {
				t.Errorf("error = %v, want %q\n%s", err, tt.want, out.String())
			}
			if tt.want == "" && !strings.Contains(out.String(), "lines arrived whole: 0 lost, 0 torn") {
				t.Errorf("no verdict:\n%s", out.String())
			}
			checkWidth(t, out.String())
		})
	}
}

func TestDemoReportsUnknownDuplicates(t *testing.T) {
	// After the kill the fake resends thousands of lines and reports them, which would hide the
	// few that it repeats without reporting. So the demonstration is interrupted before the kill.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	pipe := fakePipeline{repeatEvery: 100}
	o := short
	o.Duration = 10 * time.Second
	err := Demo(ctx, &bytes.Buffer{}, pipe.run, o)
	if !errors.Is(err, ErrNotDelivered) || !strings.Contains(err.Error(), "duplicated, but only 0 reported as resent") {
		t.Errorf("error = %v", err)
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	o := short
	o.Duration = time.Minute
	if err := Demo(ctx, &out, new(fakePipeline).run, o); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "interrupted: all ") {
		t.Errorf("does not mention the interruption:\n%s", out.String())
	}
	checkWidth(t, out.String())
}

func TestDemoKillsAndRestarts(t *testing.T) {
	var out bytes.Buffer
	if err := Demo(t.Context(), &out, new(fakePipeline).run, short); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`killed target 2: its connections are reset`, `target 2 is back`,
		`senders have stopped`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	again := regexp.MustCompile(`duplicates +([\d,]+)`).FindStringSubmatch(out.String())
	if n, _ := strconv.Atoi(strings.ReplaceAll(again[1], ",", "")); n == 0 {
		t.Errorf("the fake resends all that it has sent, but there are no duplicates:\n%s", out.String())
	}
}

func TestLiveProgressFitsATerminal(t *testing.T) {
	var out bytes.Buffer
	con := console.NewLive(&out)
	read := make([]linebuf.Count, 3)
	now := time.Now()
	m := newMeter(now, read)
	for i, down := range []bool{false, true, false} {
		for n := range read {
			read[n].Add(linebuf.Count{Lines: uint64(400_000 * n), Bytes: uint64(160_000_000 * n)})
		}
		con.Progress(m.line(now.Add(time.Duration(i+1)*time.Second), read, down))
	}
	con.Say("and now")
	for line := range strings.SplitSeq(out.String(), "\r\x1b[K") {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	for _, want := range []string{"1 ░░░░░░  0%  2 ██░░░░ 33%  3 ████░░ 67%", "2 down        3 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
}

// The first progress line covers all the time since the start, even if it comes late.
func TestFirstProgressCoversItsTime(t *testing.T) {
	begin := time.Now()
	m := newMeter(begin, make([]linebuf.Count, 2))
	read := []linebuf.Count{{Lines: 100, Bytes: 30_000_000}, {Lines: 100, Bytes: 30_000_000}}
	got := m.line(begin.Add(2*time.Second), read, false)
	if want := " 30.0 MB/s "; !strings.Contains(got, want) {
		t.Errorf("60 MB in two seconds: no %q in %q", want, got)
	}
}

func checkWidth(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(line); n > 81 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
