//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// Clients that take all places and send nothing lose them by -idle-timeout, so that others are
// served, however the clients connect.
func TestIdleClientsLoseTheirPlaces(t *testing.T) {
	t.Parallel()
	const places = 10
	path := filepath.Join(t.TempDir(), "s")
	for name, test := range map[string]struct {
		client testrig.Client
		listen []string
	}{
		"plain": {testrig.Client{}, []string{"-listen", "tcp://127.0.0.1:0"}},
		"TLS":   {testrig.Client{TLS: testrig.ClientTLS()}, testrig.TLSListenerArgs()},
		"Unix":  {testrig.Client{Network: "unix"}, []string{"-listen", "unix://" + path}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLimitTest(t, append(test.listen, "-max-connections", fmt.Sprint(places), "-idle-timeout", "3s")...)
			s.hold(test.client, places)
			served := func() bool { return test.client.Echo(t, s.Process.Listeners[0], []byte("hello")) == nil }
			if served() && s.CountLogLines("end=idle") == 0 {
				t.Error("a client was served beyond the limit")
			}
			testrig.WaitFor(t, "a client is served", served)
			testrig.WaitFor(t, "all idle clients have gone", func() bool { return s.CountLogLines("end=idle") == places })
			if log := s.Process.Stderr(); !strings.Contains(log, "client refused") {
				t.Errorf("no word about the limit in the log:\n%s", log)
			}
			s.FinishConnectionMode()
		})
	}
}
