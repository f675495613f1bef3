package service

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"linesplit/admin"
	"linesplit/internal/asynclog"
	"linesplit/internal/config"
	"linesplit/relay"
)

// logFlushTimeout bounds how long the end of a run waits for the readers of its logs.
const logFlushTimeout = time.Second

// logs are the log on standard error and, in connection mode on request, the access log on standard
// output. Logging never blocks.
type logs struct {
	*slog.Logger
	level slog.LevelVar

	stdout io.Writer
	err    *asynclog.Writer
	out    atomic.Pointer[asynclog.Writer] // nil while no service has an access log
}

// newLogs starts the writer of the log; nil writers discard. The caller closes the logs.
func newLogs(cfg config.Config, stdout, stderr io.Writer) *logs {
	l := &logs{err: asynclog.New(cmp.Or(stderr, io.Discard)), stdout: cmp.Or(stdout, io.Discard)}
	l.level.Set(cfg.LogLevel)
	l.Logger = newLogger(cfg.LogFormat, l.err, slog.HandlerOptions{Level: &l.level})
	return l
}

// accessLog returns the access log of a service, or nil if it has none. Calls come one at a time.
func (l *logs) accessLog(cfg config.Config) relay.AccessLog {
	if cfg.Mode != config.ConnectionMode || cfg.AccessLog == "off" {
		return nil
	}
	out := l.out.Load()
	if out == nil {
		out = asynclog.New(l.stdout)
		l.out.Store(out)
	}
	return newAccessLog(cfg.AccessLog, cfg.Name, out)
}

// dropped counts the lines of each log that were dropped because its reader was too slow.
func (l *logs) dropped() []admin.LogDropped {
	all := []admin.LogDropped{{Log: "log", Lines: l.err.Dropped()}}
	if out := l.out.Load(); out != nil {
		all = append(all, admin.LogDropped{Log: "access", Lines: out.Dropped()})
	}
	return all
}

// close logs how many lines were dropped and waits, within limits, until the rest is written.
func (l *logs) close() {
	if out := l.out.Load(); out != nil {
		out.Close(logFlushTimeout)
	}
	for _, d := range l.dropped() {
		if d.Lines > 0 {
			l.Warn("lines of a log were dropped because its reader was too slow", "log", d.Log, "lines", d.Lines)
		}
	}
	l.err.Close(logFlushTimeout)
}

// newLogger writes text or json, with the same values in both.
func newLogger(format string, w io.Writer, o slog.HandlerOptions) *slog.Logger {
	if format != "json" {
		return slog.New(slog.NewTextHandler(w, &o))
	}
	replace := o.ReplaceAttr
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if replace != nil {
			a = replace(groups, a)
		}
		a.Value = asInText(a.Value)
		return a
	}
	return slog.New(slog.NewJSONHandler(w, &o))
}

// asInText returns the word that text has for a value that JSON would write as a number or as the
// fields of a struct: a duration is "8s", a signal "terminated", a target its address.
func asInText(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindDuration:
		return slog.StringValue(v.Duration().String())
	case slog.KindAny:
		switch a := v.Any().(type) {
		case error, fmt.Stringer:
			return slog.StringValue(fmt.Sprint(a)) // survives a nil pointer, as text does
		}
	}
	return v
}
