package service

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"linesplit/listen"
)

func TestSmallReceiveBufferIsReported(t *testing.T) {
	for _, test := range []struct {
		counts listen.DatagramCounts
		want   bool
	}{
		{listen.DatagramCounts{Asked: 4 << 20, Granted: 212_992}, true},
		{listen.DatagramCounts{Asked: 4 << 20, Granted: 4 << 20}, false},
		{listen.DatagramCounts{Granted: 212_992}, false}, // systemd's, with the size of its unit
	} {
		var log bytes.Buffer
		warnOfSmallBuffer(slog.New(slog.NewTextHandler(&log, nil)), datagramListener{"udp://127.0.0.1:514", test.counts})
		if got := strings.Contains(log.String(), "net.core.rmem_max"); got != test.want {
			t.Errorf("%+v: %q", test.counts, &log)
		}
	}
}
