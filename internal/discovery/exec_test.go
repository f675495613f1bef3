//go:build unix

package discovery

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func program(t *testing.T, body string) *execSource {
	t.Helper()
	path := filepath.Join(t.TempDir(), "targets")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &execSource{mustSpec(t, "exec://"+path+"?scheme=tls")}
}

func TestExec(t *testing.T) {
	for _, test := range []struct {
		name, body, err string
		want            []string
	}{
		{"lines", "echo a:1; echo b:2", "", []string{"tls://a:1", "tls://b:2"}},
		{"list", `echo '[{"targets":["a:1"]}]'`, "", []string{"tls://a:1"}},
		{"nothing", "", "", nil},
		{"fails", "echo a:1; echo no leader >&2; exit 3", "exit status 3: no leader", nil},
		{"prints a fault", "echo cannot connect", "cannot connect", nil},
		{"hangs", "echo a:1; exec sleep 1000", "takes too long", nil},
		{"floods", "exec yes a:1", "prints more than 4194304 bytes", nil},
		{"prints too much", "yes a:1 | head -c 5000000", "more than 4194304 bytes", nil},
		{"leaves one behind with its output", "sleep 1000 & echo a:1", "", []string{"tls://a:1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			if strings.Contains(test.err, "too long") {
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			a, err := program(t, test.body).lookup(ctx)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, written(a)); diff != "" {
				t.Error(diff)
			}
		})
	}
	gone := program(t, "")
	os.Remove(gone.spec.place)
	if _, err := ask(t, gone); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}
