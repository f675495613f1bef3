package service

import (
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"linesplit/relay"
)

// accessLog writes a line for each connection at its end. It implements relay.AccessLog.
type accessLog struct{ out *slog.Logger }

// newAccessLog returns the access log of a service, which may have no name.
func newAccessLog(format, name string, w io.Writer) accessLog {
	// The level and the message would be the same in every line.
	o := slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}
	out := newLogger(format, w, o)
	if name != "" {
		out = out.With("service", name)
	}
	return accessLog{out}
}

// Log implements relay.AccessLog.
func (l accessLog) Log(c relay.Record) {
	attrs := []any{"client", c.Client, "listener", c.Listener, "target", c.Target,
		"bytes_in", c.BytesIn, "bytes_out", c.BytesOut,
		"seconds", seconds(c.Duration), "dials", c.Dials, "end", c.End}
	if c.ServerName != "" {
		attrs = append(attrs, "server_name", loggedName(c.ServerName))
	}
	l.out.Info("", attrs...)
}

// loggedName returns a server name without what is longer than any host's name.
func loggedName(name string) string {
	const most = 253 // RFC 1035, without the dot at the end
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strings.ToValidUTF8(name, string(utf8.RuneError))
}

// seconds returns a duration in seconds with six decimals at most. Duration.Seconds adds two
// numbers that are rounded already, which shows as 1.8418670000000001.
func seconds(d time.Duration) float64 { return float64(d.Round(time.Microsecond).Microseconds()) / 1e6 }
