package service

import (
	"errors"
	"strings"
	"testing"

	"linesplit/admin"
	"linesplit/target"
)

// The API's error was set before the one that it stands for, which says the same: "no such target:
// drain target a:1: there is no such target".
func TestErrorsOfTargetsSayItOnce(t *testing.T) {
	for _, args := range [][]string{
		{"-target", "10.0.0.1:1"}, {"-target", "10.0.0.1:1", "-mode", "connection"},
	} {
		s := wired(t, args...)
		for _, test := range []struct {
			err    error
			kind   error
			reason error
		}{
			{s.Drain(t.Context(), "a:1"), admin.ErrUnknown, target.ErrUnknown},
			{s.Add(t.Context(), "10.0.0.1:1"), admin.ErrExists, target.ErrExists},
			{s.Remove(t.Context(), "tcp://10.0.0.1:1"), admin.ErrLast, target.ErrLast},
		} {
			if !errors.Is(test.err, test.kind) || !errors.Is(test.err, test.reason) {
				t.Errorf("%q: %v is not %v and %v", args, test.err, test.kind, test.reason)
			}
			if strings.HasPrefix(test.err.Error(), test.kind.Error()) {
				t.Errorf("%q: %v says it twice", args, test.err)
			}
		}
	}
}
