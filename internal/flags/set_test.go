package flags

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSources(t *testing.T) {
	t.Setenv("APP_PORT", "2")
	t.Setenv("APP_SIZE", "2KiB")
	t.Setenv("APP_WAIT", "") // counts as unset
	s := parse(t, "port 1\nsize 1KiB\nwait 1s\ntarget b:1\ntarget c:1,d:1\n", "-port", "3")
	for name, want := range map[string]Source{"port": FromFlag, "size": FromEnv, "wait": FromFile, "target": FromFile, "deep": FromDefault} {
		if got := s.Source(name); got != want || s.Given(name) != (want != FromDefault) {
			t.Errorf("%s comes from %d, want %d; given %t", name, got, want, s.Given(name))
		}
	}
	if n, size, wait := s.Number("port", 0, 10), s.Size("size", 1, 1<<20), s.Duration("wait"); n != 3 || size != 2048 || wait != time.Second {
		t.Errorf("port %d, size %d, wait %v", n, size, wait)
	}
	if got := s.List("target"); !slices.Equal(got, []string{"b:1", "c:1", "d:1"}) {
		t.Errorf("targets %q", got)
	}
	if s.Written("target") != "b:1,c:1,d:1" || s.Err() != nil {
		t.Errorf("written %q, faults %v", s.Written("target"), s.Err())
	}
}

func TestBooleans(t *testing.T) {
	for args, want := range map[string]bool{"": false, "-deep": true, "-deep=true": true, "-deep=false": false, "-deep -deep=0": false} {
		if got := parse(t, "", strings.Fields(args)...).Bool("deep"); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}

func TestArguments(t *testing.T) {
	s := New(table())
	s.TakesArguments = true
	if err := s.ParseArgs([]string{"list", "-port", "1", "all", "--", "-x"}); err != nil {
		t.Fatal(err)
	}
	if got := s.Arguments(); !slices.Equal(got, []string{"list", "all", "-x"}) || s.Err() != nil {
		t.Errorf("%q, %v", got, s.Err())
	}

	// A negative number was an unknown flag, and then an argument was missing.
	s = New(table())
	s.TakesArguments = true
	if err := s.ParseArgs([]string{"weight", "a", "-1", "-port", "1", "-2.5"}); err != nil {
		t.Fatal(err)
	}
	if got := s.Arguments(); !slices.Equal(got, []string{"weight", "a", "-1", "-2.5"}) || s.Err() != nil {
		t.Errorf("%q, %v", got, s.Err())
	}

	s = New(table())
	s.ArgumentHint = "everything is a flag"
	if err := s.ParseArgs([]string{"list"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), `"list"`) || !strings.Contains(err.Error(), "everything is a flag") {
		t.Errorf("%v", err)
	}
}

func TestHelpIsAnsweredByTheCaller(t *testing.T) {
	for _, arg := range []string{"-help", "--help", "-h"} {
		if err := New(table()).ParseArgs([]string{"-port", "x", arg}); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// Every fault is recorded, with the value and where it comes from, and parsing goes on.
func TestFaults(t *testing.T) {
	t.Setenv("APP_SIZE", "big")
	s := parse(t, "wait soon\n", "-port", "70000", "-prot", "1")
	s.Number("port", 0, 65535)
	s.Size("size", 1, 100)
	s.Duration("wait")
	var errs Errors
	if !errors.As(s.Err(), &errs) || len(errs) != 4 {
		t.Fatalf("%v", s.Err())
	}
	for i, want := range []string{"unknown flag -prot: did you mean -port?", `-port "70000": `, "APP_SIZE", `app.conf:1: wait "soon": `} {
		if !strings.Contains(errs[i].Error(), want) {
			t.Errorf("fault %d: %v, want %q", i, errs[i], want)
		}
	}
	if s.OK("port") || !s.OK("target", "deep") {
		t.Errorf("port is OK: %t; target and deep are OK: %t", s.OK("port"), s.OK("target", "deep"))
	}
}
