package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestSpoolFlags(t *testing.T) {
	clearEnv(t)
	c := mustParse(t, "-spool", "lines", "-spool-size", "1GiB", "-spool-mode", "always", "-spool-full", "drop-oldest",
		"-spool-sync", "50ms")
	want := Spool{Dir: "lines", Size: 1 << 30, Always: true, Sync: 50 * time.Millisecond, DropOldest: true}
	if c.Spool != want {
		t.Errorf("%+v, want %+v", c.Spool, want)
	}
	if c := mustParse(t, "-spool", "lines", "-spool-sync", "write"); c.Spool.Sync != 0 {
		t.Errorf("sync %v, want 0", c.Spool.Sync)
	}
}

func TestBadSpools(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	checkBadInput(t, []badInput{
		{"size without a directory", []string{"-spool-size", "1GiB"}, []string{"-spool-size"}},
		{"mode", []string{"-spool", "d", "-spool-mode", "all"}, []string{`-spool-mode "all": write overflow or always`}},
		{"when full", []string{"-spool", "d", "-spool-full", "drop"}, []string{`-spool-full "drop": write wait or drop-oldest`}},
		{"sync", []string{"-spool", "d", "-spool-sync", "never"}, []string{`-spool-sync "never": write a duration from 1ms to 1m0s`}},
		{"size", []string{"-spool", "d", "-spool-size", "15MiB"}, []string{`-spool-size "15MiB": out of bounds`}},
		{"longest line", []string{"-spool", "d", "-spool-size", "16MiB", "-max-line", "2MiB"}, []string{"must be at least 16 times -max-line"}},
		{"a file", []string{"-spool", file}, []string{"must be a directory, and is a file"}},
		{"two processes", []string{"-spool", "d", "-reuse-port"}, []string{"two processes cannot use one spool"}},
		{"connection mode", []string{"-spool", "d", "-mode", "connection"}, []string{"only valid with -mode line"}},
		{"best-effort group with keys", []string{"-spool", "d", "-key", "field:1", "-group", "a=h:1?required=false"},
			[]string{"with -key and -spool every group is required"}},
	})
}

// A service that takes the place of another one cannot go on with its spool.
func TestSettingsOfASpoolNeedARestart(t *testing.T) {
	clearEnv(t)
	old, next := mustParse(t, "-spool", "a"), mustParse(t, "-spool", "b")
	names := []string{"spool", "queue"}
	if replace, restart := ByReplacement(old, next, names); len(replace) > 0 || !slices.Equal(restart, names) {
		t.Errorf("replaced: %v, restart: %v", replace, restart)
	}
	if replace, _ := ByReplacement(mustParse(t), next, names); !slices.Equal(replace, names) {
		t.Errorf("a service that has no spool does not get one: %v", replace)
	}
}
